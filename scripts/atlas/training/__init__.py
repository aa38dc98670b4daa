"""Training: supervised, preferences, running text and rewards, and what makes it faster."""
