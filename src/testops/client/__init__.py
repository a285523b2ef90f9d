"""Follows a run from outside, over HTTP, however often the connection breaks."""
