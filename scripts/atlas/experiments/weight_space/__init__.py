"""What rewards and solutions change in the weights of a base, and what is forgotten."""
