"""What was withdrawn, and what hangs on it."""
