"""A database on SQLite has one runner, from whatever folder it is started."""

import subprocess
import sys
from pathlib import Path

from tests.unit.runner.test_versions import planned

from testops.wiring import roles
from testops.wiring.versions import running

CHILD = """
import sys
from pathlib import Path
from testops.domain.errors import BadInput
from testops.storage.database import open_database
from testops.wiring import roles

folder, data, url = map(str, sys.argv[1:])
settings = roles.settings_for(Path(folder), {"TESTOPS_DATABASE_URL": url}, data=Path(data))
try:
    settings.data.mkdir(exist_ok=True)
    with roles.only_runner(settings, open_database(url)):
        print("works")
except BadInput:
    print("refused")
"""


def test_a_second_runner_of_a_sqlite_database_is_refused_whatever_its_data_folder(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/one.db"
    settings = roles.settings_for(tmp_path, {"TESTOPS_DATABASE_URL": url}, data=tmp_path / "first")

    def another() -> str:
        arguments = [str(tmp_path), str(tmp_path / "second"), url]
        done = subprocess.run(
            [sys.executable, "-c", CHILD, *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    with (
        roles.open_store(settings, may_migrate=True) as store,
        roles.only_runner(settings, store.database),
    ):
        assert another() == "refused"
    assert another() == "works"


def test_a_runner_of_ours_refuses_what_was_planned_for_another_engine(tmp_path: Path) -> None:
    settings = roles.settings_for(tmp_path, {}, data=tmp_path / "data")
    with roles.open_store(settings, may_migrate=True) as store:
        worker = roles.runner_of(store, "token", roles.Beside())
        refusal = worker._ports.refusal

        assert refusal(planned(running().engine)) == ""
        assert "planned for engine toron-v2.5H+.1" in refusal(planned("toron-v2.5H+.1"))
