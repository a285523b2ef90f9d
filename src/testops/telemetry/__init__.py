"""What a run tells while it goes, and what time it is; showing either belongs to the CLI."""
