"""Reports that people and machines read: each is rendered from plain values and written whole."""

from testops.reports.determinism import determinism_report, write_determinism
from testops.reports.snapshot_diff import write_snapshot_diff

__all__ = ["determinism_report", "write_determinism", "write_snapshot_diff"]
