"""Lineage: reading what the jobs attested: verify, trace, explain, diff."""
