"""Experiments: a folder for each kind of table, with its entry, its table and what it says."""
