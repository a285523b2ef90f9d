"""One module per stage: each drives a tool, parses what it wrote, and answers a typed outcome."""
