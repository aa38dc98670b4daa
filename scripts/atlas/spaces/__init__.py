"""Embedding spaces: one file each."""
