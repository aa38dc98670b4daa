"""The configuration: what a user may write, section by section, and how it is checked."""
