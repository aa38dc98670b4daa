"""Are embeddings additive? Mixtures against their parts."""
