"""Bills of materials, datasets and cards: what statements say, in formats that others read."""
