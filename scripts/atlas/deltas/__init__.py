"""Instruction deltas: made, stored, and added to models."""
