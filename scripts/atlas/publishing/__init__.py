"""Publishing: crates of a target, and uploads to a hub."""
