"""The platform's own store on a simulated host: SQLite on its disk, the real tables, the real code.

Shared by the kernels that run the platform; what is asked of the store, and how, is theirs.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.schema import CreateIndex, CreateTable

from testops.domain.run import DEFAULT_WORKSPACE, Build
from testops.domain.run_view import NewRun
from testops.domain.seeds import Seeds
from testops.storage.database import Database, open_database
from testops.storage.tables import (
    artifact,
    attempt,
    lease,
    run,
    run_event,
    stage_execution,
    stage_result,
    turn,
)

# Who was buried and who was not heard is what these kernels are about, and no news on a terminal.
logging.getLogger("testops").addHandler(logging.NullHandler())

PATH = "/var/lib/testops/testops.db"
_TABLES = [run, attempt, stage_result, stage_execution, run_event, lease, turn, artifact]


def open_here(*more: sa.Table) -> Database:
    """The database of the acting host, with the tables that runs need and `more`. Blocks.

    The tables come at once or not at all: the power may go while they are made.
    """
    database = open_database(f"sqlite:///{PATH}")
    with database.write() as connection:
        for table in (*_TABLES, *more):
            connection.execute(CreateTable(table, if_not_exists=True))
            # Not by `create_all`: a table's indexes are a set, and the file would have its order.
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                connection.execute(CreateIndex(index, if_not_exists=True))
    return database


def run_id_for(name: str) -> str:
    """The id of the run called `name` in a kernel."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def new_run(name: str, *, stages: Mapping[str, Any], **more: Any) -> NewRun:
    """The question called `name`, about a suite of these `stages`."""
    seeds = Seeds(1, 2)
    suite = {"schema": 1, "name": "demo", "seeds": seeds.to_json(), "stages": dict(stages)}
    question = {
        "suite": suite,
        "profile": {"network": {"policy": "loopback-only"}},
        "stages": list(stages),
        "sim_seeds": [],
        "salt": name,
    }
    return NewRun(
        run_id=run_id_for(name),
        workspace=DEFAULT_WORKSPACE,
        suite="demo",
        suite_shown="demo",
        profile="offline",
        seeds=seeds,
        question=question,
        build=Build(commit=None, dirty=None),
        engine_version="simulated",
        reproduce=f"testops run demo --salt {name}",
        created_by="kernel",
        **more,
    )
