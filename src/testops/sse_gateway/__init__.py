"""Shows runs live: the durable log of each, as Server-Sent Events or NDJSON, to many viewers."""
