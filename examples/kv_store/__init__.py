"""A replicated key-value store with a write-ahead log; see README.md beside this file."""
