"""The navigator: a pool as one page that needs no network."""
