"""Geometry: residual streams, their spectra, subspaces and trajectories, and statistics of them."""
