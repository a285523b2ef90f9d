"""Bundles, reviews and baselines in a database: written with the result, and by one at a time."""

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.support.platform import GREEN, Stores, at_once, new_run, report

from testops.domain.bundle_key import BundleKey
from testops.domain.errors import BadInput, IllegalMove
from testops.domain.execution import Fenced, OpenedReview, StageRecord, Taken
from testops.domain.review import Group, GroupState, Review, decided
from testops.domain.snapshot import (
    BundleFilter,
    KeptBundle,
    Mark,
    NewBundle,
    Outdated,
)
from testops.runner.worker_ports import Place
from testops.snapshots import BundleHeader, read_bundle, write_bundle
from testops.storage import executions, snapshot_rows
from testops.storage.belonging import claim
from testops.storage.blobs import blobs_of
from testops.storage.database import Database, open_database
from testops.storage.retention import Policy, Retention
from testops.storage.snapshot_gc import BundleCollector
from testops.storage.snapshot_places import BaselinePlaces
from testops.storage.snapshot_tables import bundle_run, review
from testops.storage.snapshots import SnapshotStore
from testops.storage.tables import blob, run, workspace

RUN = "a" * 16
KEY = BundleKey("core", "offline", "toron-v2.5H+.2", "3.11")
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
ONE, TWO, THREE = "1" * 64, "2" * 64, "3" * 64


@pytest.fixture
def stores(database_url: str) -> Iterator[Stores]:
    database = open_database(database_url)
    opened = Stores(database)
    opened.runs.create(new_run())
    yield opened
    database.close()


@pytest.fixture
def snapshots(stores: Stores) -> SnapshotStore:
    return SnapshotStore(stores.database)


def taken_by(stores: Stores, executor: str = "one", run_id: str = RUN) -> Taken:
    taken = stores.executions.take(run_id, 1, executor)
    assert taken is not None
    return taken


def new_bundle(identity: str = ONE, key: BundleKey = KEY) -> NewBundle:
    return NewBundle(identity, key, 2**64 - 1, 7, "m" * 64, identity, 100, {"failing": 0}, {})


def sim(identity: str = ONE, key: BundleKey = KEY) -> StageRecord:
    return replace(report("sim"), bundle=new_bundle(identity, key))


def moved(base: str | None, target: str, *fields: str, digest: str | None = None) -> Review:
    groups = tuple(Group("ledger", field, "changed", 2, "was 1, is 2", digest) for field in fields)
    key = BundleKey(**KEY.to_json())
    return Review(base, target, key, "2026-11-25T12:00:00Z", RUN, groups=groups)


def compared(base: str, target: str, *fields: str) -> StageRecord:
    opened = OpenedReview(moved(base, target, *fields), "regression")
    return replace(report("lint", "fail"), opened=opened)


def kept(snapshots: SnapshotStore, identity: str) -> KeptBundle:
    [found] = snapshots.get(identity, None)
    return found


def approve(snapshots: SnapshotStore, identity: str, who: str = "ada") -> None:
    """Open what has to be reviewed, and approve it."""
    found = kept(snapshots, identity)
    seen = snapshots.standing(found)
    if seen.review is None:
        snapshots.open("default", moved(seen.base, identity))
    snapshots.approve(found, snapshots.standing(found), decided(who, "fine", NOW))


def in_force(snapshots: SnapshotStore) -> list[tuple[int, str]]:
    return [(one.number, one.identity) for one in snapshots.baselines(None)]


# --- with the result of a stage -----------------------------------------------------------------


def test_a_bundle_is_there_when_its_result_is_and_says_who_left_it(
    stores: Stores, snapshots: SnapshotStore
) -> None:
    stores.executions.record(taken_by(stores), sim())
    found = kept(snapshots, ONE)
    assert (found.workspace, found.bundle.key, found.runs) == ("default", KEY, [RUN])
    assert found.bundle.sim_seed == 2**64 - 1
    of_run = snapshots.of_run(RUN)
    assert of_run is not None
    assert of_run.identity == ONE


def test_whoever_was_taken_over_registers_nothing(stores: Stores, snapshots: SnapshotStore) -> None:
    late = taken_by(stores, "one")
    taken_by(stores, "two")
    for record in (sim(), compared(ONE, TWO, "/outputs/a")):
        with pytest.raises(Fenced):
            stores.executions.record(late, record)
    assert snapshots.get(ONE, None) == []
    assert snapshots.reviews(None, state=None, after=None, limit=10) == ([], None)


def test_one_change_is_one_review_however_many_runs_show_it(
    stores: Stores, snapshots: SnapshotStore
) -> None:
    for name in ("b" * 16, "c" * 16):
        stores.runs.create(new_run(name))
        stores.executions.record(taken_by(stores, run_id=name), compared(ONE, TWO, "/outputs/a"))
    [found], _ = snapshots.reviews(None, state="pending", after=None, limit=10)
    assert (found.review.opened_by_run, found.cause, found.version) == (RUN, "regression", 1)


def test_what_was_decided_about_the_same_behaviour_holds_for_the_next_target(
    stores: Stores, snapshots: SnapshotStore
) -> None:
    digest = "d" * 64
    first = snapshots.open("default", moved(ONE, TWO, "/outputs/a", digest=digest))
    reason = decided("ada", "meant", NOW)
    snapshots.decide(first.review_id, 1, lambda one: one.decide(GroupState.ACCEPTED, reason))
    second = snapshots.open("default", moved(ONE, THREE, "/outputs/a", digest=digest))
    assert second.review.groups[0].state is GroupState.ACCEPTED
    other = snapshots.open("default", moved(TWO, THREE, "/outputs/a", digest=digest))
    assert other.review.groups[0].state is GroupState.PENDING, "of another baseline"


def _record_and_die(url: str) -> None:
    """Record a result with its bundle and its review, and be killed before the commit."""
    stores = Stores(open_database(url))

    def killed(*arguments: Any, **named: Any) -> None:
        snapshot_rows.open_review(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    executions.open_review = killed  # type: ignore[assignment,attr-defined]
    record = replace(compared(ONE, TWO, "/outputs/a"), bundle=new_bundle())
    stores.executions.record(taken_by(stores, "dies"), record)


def test_whoever_is_killed_between_result_and_review_leaves_neither(
    stores: Stores, snapshots: SnapshotStore, database_url: str
) -> None:
    child = multiprocessing.get_context("spawn").Process(
        target=_record_and_die, args=(database_url,)
    )
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    after = stores.runs.get(RUN)
    assert after is not None
    assert [stage.report for stage in after.stages] == [None, None]
    assert snapshots.get(ONE, None) == []
    assert snapshots.reviews(None, state=None, after=None, limit=10)[0] == []
    # The runner that takes over executes the stage again, and leaves all of it.
    again = taken_by(stores, "two")
    assert again.recorded == frozenset()
    stores.executions.record(again, replace(compared(ONE, TWO, "/outputs/a"), bundle=new_bundle()))
    assert kept(snapshots, ONE).runs == [RUN]
    [found], _ = snapshots.reviews(None, state="pending", after=None, limit=10)
    assert found.review.target == TWO


# --- approving ----------------------------------------------------------------------------------


def test_an_approval_comes_into_force_and_leaves_the_former_one_in_the_history(
    stores: Stores, snapshots: SnapshotStore
) -> None:
    taken = taken_by(stores)
    stores.executions.record(taken, sim(ONE))
    stores.executions.record(taken, replace(sim(TWO), stage="lint"))
    approve(snapshots, ONE)
    assert kept(snapshots, ONE).baseline == "current"
    approve(snapshots, TWO)
    [one] = snapshots.baselines(None)
    assert (one.number, one.identity) == (2, TWO)
    assert [(former.number, former.identity) for former in one.history] == [(1, ONE)]
    assert kept(snapshots, ONE).baseline == "former"
    assert [
        one.identity for one in snapshots.list(BundleFilter(baseline=True), after=None, limit=9)[0]
    ] == [TWO]


def test_of_two_bundles_for_one_key_that_are_approved_at_once_one_wins(
    stores: Stores, snapshots: SnapshotStore
) -> None:
    taken = taken_by(stores)
    stores.executions.record(taken, sim(ONE))
    stores.executions.record(taken, replace(sim(TWO), stage="lint"))
    seen = {}
    for identity in (ONE, TWO):
        snapshots.open("default", moved(None, identity))
        found = kept(snapshots, identity)
        seen[identity] = (found, snapshots.standing(found))
    won: list[str] = []
    lost: list[str] = []

    def one(number: int) -> None:
        identity = (ONE, TWO)[number % 2]
        found, standing = seen[identity]
        try:
            snapshots.approve(found, standing, decided(f"person {number}", "mine", NOW))
            won.append(identity)
        except Outdated:
            lost.append(identity)

    at_once(6, one)
    assert (len(won), len(lost)) == (1, 5)
    assert in_force(snapshots) == [(1, won[0])]
    states = {
        found.review.target: found.review.state
        for found in snapshots.reviews(None, state=None, after=None, limit=9)[0]
    }
    assert states == {won[0]: "accepted", ({ONE, TWO} - {won[0]}).pop(): "superseded"}


def test_one_person_twice_is_no_second_person(stores: Stores, snapshots: SnapshotStore) -> None:
    require(stores, 2)
    stores.executions.record(taken_by(stores), sim())
    approve(snapshots, ONE, "Ada")
    assert in_force(snapshots) == []
    with pytest.raises(IllegalMove):
        approve(snapshots, ONE, "ada ")
    approve(snapshots, ONE, "bob")
    assert in_force(snapshots) == [(1, ONE)]


def require(stores: Stores, count: int) -> None:
    with stores.database.write() as connection:
        connection.execute(sa.delete(workspace))
        values = {"kind": "path", "place": "/", "allow_commands": False}
        values |= {"created_by": "x", "created_at": "x", "approvals_required": count}
        connection.execute(workspace.insert().values(name="default", **values))


def test_the_number_of_people_is_the_one_that_is_asked_for_now(
    stores: Stores, snapshots: SnapshotStore
) -> None:
    taken = taken_by(stores)
    stores.executions.record(taken, sim(ONE))
    stores.executions.record(taken, replace(sim(TWO), stage="lint"))
    require(stores, 2)
    approve(snapshots, ONE, "ada")
    require(stores, 3)
    approve(snapshots, ONE, "bob")
    assert in_force(snapshots) == [], "a third is asked for since"
    require(stores, 1)
    approve(snapshots, ONE, "eve")
    assert in_force(snapshots) == [(1, ONE)]
    require(stores, 2)
    approve(snapshots, TWO, "ada")
    require(stores, 1)
    assert in_force(snapshots) == [(1, ONE)], "nobody has approved it since"
    approve(snapshots, TWO, "bob")
    assert in_force(snapshots) == [(2, TWO)]


def test_a_decision_about_what_has_changed_since_is_refused(
    stores: Stores, snapshots: SnapshotStore
) -> None:
    opened = snapshots.open("default", moved(ONE, TWO, "/outputs/a", "/outputs/b"))
    reason = decided("ada", "meant", NOW)

    def accept(field: str) -> None:
        snapshots.decide(
            opened.review_id,
            opened.version,
            lambda one: one.decide(GroupState.ACCEPTED, reason, field=field),
        )

    accept("/outputs/a")
    with pytest.raises(Outdated):
        accept("/outputs/b")
    found = snapshots.review(opened.review_id)
    assert found is not None
    assert [group.state for group in found.review.groups] == ["accepted", "pending"]


# --- letting go ---------------------------------------------------------------------------------


def collect(database: Database) -> list[str]:
    return list(BundleCollector(database, lambda _: 0).collect(None, dry_run=False).identities)


def forget_runs(database: Database) -> None:
    with database.write() as connection:
        connection.execute(sa.delete(run))


def test_a_bundle_goes_only_when_nothing_holds_it(stores: Stores, snapshots: SnapshotStore) -> None:
    stores.executions.record(taken_by(stores), sim())
    held = stores.database
    assert collect(held) == [], "its run is there"
    forget_runs(held)
    with held.read() as connection:
        assert connection.execute(sa.select(bundle_run)).all() == []
    for name in ("pinned", "captured"):
        snapshots.mark("default", ONE, name, Mark("ada", "why", "now"))
        assert collect(held) == [], name
        snapshots.mark("default", ONE, name, None)
    for base, target in ((ONE, TWO), (TWO, ONE)):
        opened = snapshots.open("default", moved(base, target, "/outputs/a"))
        assert collect(held) == [], "an open review is about it"
        with held.write() as connection:
            connection.execute(sa.delete(review).where(review.c.review_id == opened.review_id))
    assert collect(held) == [ONE]


def test_a_baseline_stays_and_so_does_what_was_one(
    stores: Stores, snapshots: SnapshotStore
) -> None:
    taken = taken_by(stores)
    stores.executions.record(taken, sim(ONE))
    stores.executions.record(taken, replace(sim(TWO), stage="lint"))
    approve(snapshots, ONE)
    approve(snapshots, TWO)
    forget_runs(stores.database)
    assert collect(stores.database) == []


def test_what_is_approved_while_a_collection_looks_is_not_lost(
    stores: Stores, snapshots: SnapshotStore
) -> None:
    """Whoever comes first, a baseline never names a bundle that is not kept."""
    stores.executions.record(taken_by(stores), sim())
    snapshots.open("default", moved(None, ONE))
    found = kept(snapshots, ONE)
    seen = snapshots.standing(found)
    forget_runs(stores.database)

    def one(number: int) -> None:
        if number % 2:
            collect(stores.database)
            return
        try:
            snapshots.approve(found, seen, decided(f"person {number}", "mine", NOW))
        except Outdated:
            return

    at_once(4, one)
    assert in_force(snapshots) == [(1, ONE)]
    assert snapshots.get(ONE, None) != []


# --- on the disk of a runner --------------------------------------------------------------------


def packed(folder: Path, balance: int, key: BundleKey = KEY) -> tuple[Path, str]:
    header = BundleHeader(
        key.suite, key.profile, 42, 7, key.engine_version, key.python, masks_version="0" * 64
    )
    path = folder / f"{balance}.tar.gz"
    return path, write_bundle(path, header, {"a.json": json.dumps(balance).encode()})


class Runner:
    """The disk of a runner, with bundles that were approved or not."""

    def __init__(self, stores: Stores, folder: Path) -> None:
        self.stores, self.folder = stores, folder
        self.snapshots = SnapshotStore(stores.database)
        self.blobs = blobs_of(stores.database, folder / "data")
        self.places = BaselinePlaces(stores.database, self.blobs, folder / "data")
        self.count = 0
        (folder / "project").mkdir()

    def leave(self, balance: int, key: BundleKey = KEY) -> str:
        path, identity = packed(self.folder, balance, key)
        self.count += 1
        name = f"{self.count:016x}"
        self.stores.runs.create(new_run(name))
        made = replace(
            new_bundle(identity, key), sha256=self.blobs.put(path), size=path.stat().st_size
        )
        self.stores.executions.record(
            taken_by(self.stores, run_id=name), replace(report("sim"), bundle=made)
        )
        return identity

    def golden(self, identity: str, baseline: str | None = None) -> list[str] | None:
        """The identities that the stage is given for this bundle; None: the project's folder."""
        question = {
            "suite": {
                "schema": 1,
                "name": "core",
                "seeds": {"sim": 1, "chaos": 2},
                "stages": {
                    "sim": {"kernels": {"echo": {"run": "echo.py::echo"}}},
                    "snapshot-compare": {},
                },
            }
        } | ({} if baseline is None else {"baseline": baseline})
        view = self.stores.runs.get(f"{1:016x}")
        assert view is not None
        taken = Taken(replace(view, question=question), 1, frozenset())
        place = Place(self.folder / "project", self.folder / "out")
        folder = self.places.baselines(taken, place, identity)
        if folder is None:
            return None
        return [read_bundle(path).identity for path in sorted(folder.rglob("*.tar.gz"))]


@pytest.fixture
def runner(stores: Stores, tmp_path: Path) -> Runner:
    return Runner(stores, tmp_path)


def test_the_named_baseline_goes_before_the_approved_one_and_that_before_the_project_s(
    runner: Runner,
) -> None:
    first, second = runner.leave(1), runner.leave(2)
    assert runner.golden(second) is None, "the project's own"
    approve(runner.snapshots, first)
    assert runner.golden(second) == [first]
    assert runner.golden(second, baseline=second) == [second]
    (runner.folder / "project" / "snapshots" / "golden" / "core" / "offline").mkdir(parents=True)
    assert runner.golden(second) == [first]
    approve(runner.snapshots, second)
    assert runner.golden(second) == [second], "of an attempt before nothing is left"


def test_what_is_approved_under_another_engine_speaks_where_the_project_is_silent(
    runner: Runner,
) -> None:
    older, newer = runner.leave(1), runner.leave(1, replace(KEY, engine_version="toron-v2.5H+.3"))
    approve(runner.snapshots, older)
    assert runner.golden(newer) == [older]
    (runner.folder / "project" / "snapshots" / "golden" / "core" / "offline").mkdir(parents=True)
    assert runner.golden(newer) is None


def test_a_baseline_that_is_damaged_is_no_baseline(runner: Runner) -> None:
    first, second = runner.leave(1), runner.leave(2)
    approve(runner.snapshots, first)
    sha256 = kept(runner.snapshots, first).bundle.sha256
    if runner.stores.database.is_sqlite:
        [file] = [path for path in (runner.folder / "data").rglob(sha256) if path.is_file()]
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    else:
        with runner.stores.database.write() as connection:
            damage = sa.update(blob).where(blob.c.sha256 == sha256).values(content=b"x")
            connection.execute(damage)
    with pytest.raises(BadInput, match="damaged"):
        runner.golden(second)


def test_a_baseline_whose_content_is_gone_is_no_reason_to_compare_with_another(
    runner: Runner,
) -> None:
    first, second = runner.leave(1), runner.leave(2)
    approve(runner.snapshots, first)
    with runner.stores.database.write() as connection:
        connection.execute(sa.text("DELETE FROM blob"))
    for file in (runner.folder / "data" / "blobs").rglob("*"):
        if file.is_file():
            file.unlink()
    with pytest.raises(BadInput, match="not kept any more"):
        runner.golden(second)
    with pytest.raises(BadInput, match="not kept any more"):
        runner.golden(second, baseline=THREE)
    with runner.stores.database.write() as connection:
        connection.execute(sa.text("DELETE FROM bundle WHERE identity = :one"), {"one": first})
    with pytest.raises(BadInput, match="approved and not kept"):
        runner.golden(second)


def test_retention_takes_runs_and_leaves_the_bundles_that_somebody_holds(runner: Runner) -> None:
    """A whole pass, over real contents: what is held is there byte for byte."""
    stores, snapshots = runner.stores, runner.snapshots
    held = {name: runner.leave(number) for number, name in enumerate(("baseline", "pinned"))}
    loose = runner.leave(7)
    approve(snapshots, held["baseline"])
    snapshots.mark("default", held["pinned"], "pinned", Mark("ada", "why", "now"))
    for number in range(1, runner.count + 1):
        taken = stores.executions.take(f"{number:016x}", 1, "one")
        assert taken is not None
        stores.executions.finish(taken, GREEN)
    with stores.database.write() as connection:
        connection.execute(sa.update(blob).values(created_ms=1))
        connection.execute(sa.update(run).values(finished_at="2020-01-01T00:00:00.000Z"))
    data = runner.folder / "data"
    claim(stores.database, data)
    retention = Retention(stores.database, data, lambda _: None)
    freed = retention.collect(Policy(days=1), tell=lambda _: None)
    assert (len(freed.runs), freed.bundles) == (3, 1)
    assert snapshots.get(loose, None) == []
    for name, identity in held.items():
        target = runner.folder / f"{name}.tar.gz"
        runner.blobs.fetch(kept(snapshots, identity).bundle.sha256, target)
        assert read_bundle(target).identity == identity
