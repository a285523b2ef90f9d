"""A project with one finished run: a real bundle, and the record that names it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testops.snapshots import BundleHeader, execution_files, write_bundle
from testops.warroom.certificate_keys import draw_private_pem

RUN_ID = "0123456789abcdef"
ENGINE = "toron-v2.5H+.2"
COMMIT = "c" * 40
_MASKS = "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"


@dataclass(frozen=True)
class Execution:
    """One execution, as the engine tells it."""

    kernel: str
    sim_seed: int
    outcome: Mapping[str, Any]
    chaos_seed: int = 7
    identical: bool = True
    first_divergence: None = None


@dataclass(frozen=True)
class Finished:
    """The project, and where its files are."""

    root: Path

    @property
    def bundle(self) -> Path:
        return self.root / f"snapshots/run-{RUN_ID}.tar.gz"

    @property
    def record_file(self) -> Path:
        return self.root / f"snapshots/runs/{RUN_ID}/attempt-1.json"

    @property
    def data(self) -> Path:
        return self.root / ".testops"

    @property
    def record(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self.record_file.read_text())
        return loaded

    def change(self, **changes: Any) -> None:
        """The record says otherwise from now on."""
        self.record_file.write_text(json.dumps(self.record | changes))


def finished_project(
    root: Path,
    *,
    suite: str = "core",
    engine: str = ENGINE,
    commit: str | None = COMMIT,
    determinism: float = 100.0,
) -> Finished:
    """A project in `root` in which one run has passed; its key is drawn as well."""
    made = Finished(root)
    (root / "suites").mkdir(parents=True, exist_ok=True)
    identity = write_run_bundle(made.bundle, engine=engine)
    made.record_file.parent.mkdir(parents=True)
    body = record_of(identity, suite=suite, engine=engine, commit=commit, determinism=determinism)
    made.record_file.write_text(json.dumps(body))
    made.data.mkdir(mode=0o700)
    key = made.data / "certificate.key"
    key.touch(mode=0o600)
    key.write_bytes(draw_private_pem())
    return made


def write_run_bundle(
    path: Path, *, engine: str = ENGINE, digest: str = "a" * 64, python: str = "3.11"
) -> str:
    """A bundle of two executions; its identity."""
    outcome = {
        "verdict": "pass",
        "trace_digest": digest,
        "outputs": {"balance": 100},
        "properties": {},
        "failure": None,
        "steps": 10,
        "virtual_ns": 1_000,
        "python": "3.11",
    }
    header = BundleHeader("core", "offline", 2**64 - 1, 7, engine, python, _MASKS)
    executions = [Execution("ledger", seed, outcome) for seed in (2**64 - 1, 0)]
    return write_bundle(path, header, execution_files(executions, sources=None))


def gate(metric: str, verdict: str = "pass", **more: Any) -> dict[str, Any]:
    """One judged rule of the sim stage."""
    return {
        "stage": "sim",
        "metric": metric,
        "op": ">=",
        "threshold": 98,
        "severity": "block",
        "verdict": verdict,
        "value": 100.0,
        "reason": f"{metric} is 100 (>= 98)",
        **more,
    }


def record_of(
    identity: str | None,
    *,
    suite: str = "core",
    engine: str = ENGINE,
    commit: str | None = COMMIT,
    determinism: float = 100.0,
) -> dict[str, Any]:
    """The JSON of a run that passed."""

    def stage(name: str, state: str = "ran", verdict: str | None = "pass") -> dict[str, Any]:
        numbers = {"determinism_percent": determinism, "executions": 2.0} if name == "sim" else {}
        return {
            "name": name,
            "state": state,
            "verdict": verdict,
            "attempts": 1,
            "metrics": numbers,
            "findings": [],
            "artifacts": [],
            "notes": [],
            "reason": "",
        }

    return {
        "run_id": RUN_ID,
        "state": "finished",
        "verdict": "pass",
        "attempt": 1,
        "suite": suite,
        "profile": "offline",
        "seeds": {"sim": 2**64 - 1, "chaos": 7},
        "stages": [stage("lint"), stage("sim"), stage("load", "not_in_suite", None)],
        "gates": [gate("determinism_percent")],
        "reproduce": "testops run core --seed 18446744073709551615 --chaos-seed 7",
        "exit_code": 0,
        "bundle": f"snapshots/run-{RUN_ID}.tar.gz",
        "bundle_identity": identity,
        "build": {"commit": commit, "dirty": None},
        "engine_version": engine,
        "started_at": "2026-11-25T18:00:00+00:00",
        "finished_at": "2026-11-25T18:00:09+00:00",
        "reason": "",
    }
