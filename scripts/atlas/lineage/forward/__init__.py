"""What hangs on a thing: found by what statements say, followed forward, withdrawn."""
