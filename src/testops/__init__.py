"""Ryuzen TestOps: one command qualifies a release, one seed reproduces any failure."""
