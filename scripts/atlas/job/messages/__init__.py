"""What one sees of a run: its line, how long it may take, and what it has found."""
