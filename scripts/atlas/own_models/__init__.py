"""Models of a user's own, from their names alone to a map of them."""
