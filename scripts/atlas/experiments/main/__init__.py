"""The main table: silhouettes of all spaces, pool by pool, and their mean."""
