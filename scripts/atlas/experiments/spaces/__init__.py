"""The family of delta activations: spaces, layers, numbers of probes."""
