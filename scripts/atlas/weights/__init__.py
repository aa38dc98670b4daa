"""Weights on disk: safetensors, row blocks of large ones, adapters, and the cards beside them."""
