"""Kernels: programs under test, each with its faults, its properties and what it records."""
