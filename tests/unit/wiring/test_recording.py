"""A run of the command line that a store keeps can be ended from wherever it is seen."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.platform import new_run

from testops.wiring import recording, roles


@pytest.fixture
def store(tmp_path: Path) -> Iterator[roles.Store]:
    settings = roles.settings_for(tmp_path, {}, data=tmp_path / "data")
    with roles.open_store(settings, may_migrate=True) as opened:
        yield opened


def test_a_command_line_ends_when_its_run_is_cancelled_elsewhere(
    store: roles.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned: Any = None  # What was planned is said by the line below.
    monkeypatch.setattr(recording, "new_run", lambda *_: new_run())
    kept = recording._Kept(store, planned, "cli-1", "ada")
    kept._begin()
    try:
        store.runs.request_cancel(new_run().run_id, "bob")

        with pytest.raises(KeyboardInterrupt):
            threading.Event().wait(30)
    finally:
        kept.close()
