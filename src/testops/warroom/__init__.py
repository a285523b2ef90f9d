"""Turns what stages measured into go or no-go, each with its reason."""
