"""Models that are looked up by a few examples of their task."""
