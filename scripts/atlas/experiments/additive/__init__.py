"""Whether embeddings are additive: mixtures against their parts."""
