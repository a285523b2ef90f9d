"""Toron: deterministic simulation of unmodified asyncio programs."""

__version__ = "2.5.1"
ENGINE_VERSION = "toron-v2.5H+.1"
