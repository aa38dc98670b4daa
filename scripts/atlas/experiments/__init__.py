"""Experiments: tables with their figures and the sentences that they allow."""
