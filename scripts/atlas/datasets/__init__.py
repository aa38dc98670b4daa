"""Datasets: raw rows cut into splits, and the rows that a model is trained on."""
