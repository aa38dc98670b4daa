"""Silhouettes of several pools side by side."""
