"""Runs a suite from start to verdict. Showing it belongs to the CLI, judging it to `warroom`."""
