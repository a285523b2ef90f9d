"""HTTP: the resources of the platform under `/v1`, their contract, and the plain pages."""
