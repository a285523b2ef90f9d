"""`testops init`."""

from collections.abc import Callable
from pathlib import Path


def write_starter(folder: Path, *, echo: Callable[[str], None]) -> None:
    """Write."""
    echo(str(folder))
