"""Activations: what bases and models compute and write on the probes, as it is stored."""
