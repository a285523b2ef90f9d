"""Bundles, baselines and their comparison: what a run's behaviour was, and whether it still is."""

from testops.snapshots.approve import approve, baseline_path
from testops.snapshots.bundle import Bundle, read_bundle, unpack_bundle, write_bundle
from testops.snapshots.command import CompareResult, compare_command
from testops.snapshots.compare import Comparison, compare_bundles, compare_paths
from testops.snapshots.deltas import Delta
from testops.snapshots.executions import ExecutionId, execution_files, read_executions
from testops.snapshots.manifest import BundleHeader
from testops.snapshots.masks import NO_MASKS, Masks, load_masks, masks_version
from testops.snapshots.replay import Chosen, Replay, replay

__all__ = [
    "NO_MASKS",
    "Bundle",
    "BundleHeader",
    "Chosen",
    "CompareResult",
    "Comparison",
    "Delta",
    "ExecutionId",
    "Masks",
    "Replay",
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
    "replay",
    "unpack_bundle",
    "write_bundle",
]
