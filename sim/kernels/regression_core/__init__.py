"""The kernels that every release of this repository must pass."""
