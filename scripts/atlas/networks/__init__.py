"""Networks in memory: which architecture, which tokens, and models put into a base."""
