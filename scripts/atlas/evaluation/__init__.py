"""Evaluation: what a checkpoint makes of held-out texts, conversations and questions."""
