"""Crates: an RO-Crate of one target, with all that stands behind it."""
