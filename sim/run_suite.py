"""`python sim/run_suite.py --suite NAME --profile NAME`: a door into testops.cli."""

import importlib.util
import os
import sys
from pathlib import Path

if importlib.util.find_spec("testops") is None:
    venv = Path(__file__).resolve().parent.parent / ".venv"
    if not (venv / "bin/python").exists() or Path(sys.prefix).resolve() == venv:
        sys.stderr.write("error: testops is not installed; `make testops-regression` does it\n")
        sys.exit(2)
    os.execv(venv / "bin/python", [str(venv / "bin/python"), *sys.argv])  # noqa: S606 - no shell

from testops.cli import run_suite_main

if __name__ == "__main__":
    run_suite_main()
