"""Models of different periods, before and after a delta."""
