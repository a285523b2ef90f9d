"""The command line: reads arguments, shows what happens, and answers with an exit code."""

from testops.cli.entry import main, run_suite_main, snapshot_compare_main

__all__ = ["main", "run_suite_main", "snapshot_compare_main"]
