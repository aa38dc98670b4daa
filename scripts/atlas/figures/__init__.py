"""Figures: what all of them share, and those of pools and comparisons."""
