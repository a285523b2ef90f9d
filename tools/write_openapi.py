"""Writes the API's contract anew: `make openapi`. A test says when it must be."""

import sys
from pathlib import Path

from testops.api.application import contract

TARGET = Path(__file__).parents[1] / "openapi" / "testops.v1.json"


def main() -> None:
    """Write it, and say where."""
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(contract(), encoding="utf-8")
    sys.stdout.write(f"wrote {TARGET.relative_to(Path.cwd())}\n")


if __name__ == "__main__":
    main()
