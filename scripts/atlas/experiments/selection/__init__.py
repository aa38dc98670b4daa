"""How well models do that were composed for held-out tasks."""
