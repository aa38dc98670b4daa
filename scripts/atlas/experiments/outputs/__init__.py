"""What models write."""
