"""Up to how many models all pairs of a pool are held."""

ALL_PAIRS = 5000
TOO_MANY = f"above {ALL_PAIRS:,} models the similarities of all pairs are not stored"
