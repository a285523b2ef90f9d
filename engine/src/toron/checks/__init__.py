"""What judges a run: the properties that a kernel declares."""
