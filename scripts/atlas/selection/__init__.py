"""Selection: models found for a task by a few examples, ranked, composed and tried."""
