"""Clusters: silhouettes, how sure they are, nearest neighbours, and maps."""
