"""Bundles, baselines and their comparison: what a run's behaviour was, and whether it still is."""

from testops.snapshots.approve import approve, baseline_path
from testops.snapshots.bundle import Bundle, read_bundle, unpack_bundle, write_bundle
from testops.snapshots.command import CompareResult, compare_command
from testops.snapshots.compare import Comparison, Delta, compare_bundles, compare_paths
from testops.snapshots.executions import ExecutionId, execution_files, read_executions
from testops.snapshots.manifest import BundleHeader, BundleKey
from testops.snapshots.masks import Masks, load_masks, masks_version

__all__ = [
    "Bundle",
    "BundleHeader",
    "BundleKey",
    "CompareResult",
    "Comparison",
    "Delta",
    "ExecutionId",
    "Masks",
    "approve",
    "baseline_path",
    "compare_bundles",
    "compare_command",
    "compare_paths",
    "execution_files",
    "load_masks",
    "masks_version",
    "read_bundle",
    "read_executions",
    "unpack_bundle",
    "write_bundle",
]
