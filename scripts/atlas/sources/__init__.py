"""Sources: packages, a hub, local folders; bases, encoders, raw rows and models made elsewhere."""
