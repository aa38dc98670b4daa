"""The plan: what a configuration asks for, with every reference resolved."""
