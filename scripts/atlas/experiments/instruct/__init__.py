"""Bases, models, instruct and merged models side by side."""
