"""Where the kernels are, and which of them are our own protocols."""

from __future__ import annotations

from pathlib import Path

import pytest

import toron

REPOSITORY = Path(__file__).resolve().parents[2]
KERNELS = REPOSITORY / "sim/kernels/regression_core"
OURS = ("leader_election", "replicated_log", "bank_transfers", "work_queue", "client_reconnect")


def kernel_names() -> list[str]:
    """Every kernel of regression_core; each file has one, of the file's name."""
    return sorted(file.stem for file in KERNELS.glob("*.py") if not file.stem.startswith("_"))


def reference(name: str) -> toron.KernelRef:
    """The kernel called ``name``."""
    return toron.KernelRef(KERNELS / f"{name}.py", name)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``kernel`` is each kernel in turn, ``own_protocol`` each of our own."""
    for argument, names in (("kernel", kernel_names()), ("own_protocol", list(OURS))):
        if argument in metafunc.fixturenames:
            references = [reference(name) for name in names]
            metafunc.parametrize(argument, references, ids=names)


@pytest.fixture(autouse=True)
def at_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens name a file as seen from here."""
    monkeypatch.chdir(REPOSITORY)
