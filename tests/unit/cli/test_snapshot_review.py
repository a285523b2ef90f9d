"""A change of behaviour waits until people have decided about it, and CI never does."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.unit.snapshots.building import Recipe

from testops.cli import main
from testops.engine import ENGINE_VERSION
from testops.snapshots import approve as make_baseline
from testops.snapshots import read_bundle
from testops.snapshots.atomic import folder_lock

Say = Callable[..., tuple[int, str]]

SUITE = """\
schema: 1
name: shop
profile: offline
seeds: {sim: 42, chaos: 7}
stages:
  sim:
    seed_count: 2
    kernels:
      orders: {run: "sim/orders.py::orders"}
  snapshot-compare: {masks: masks/shop.yaml}
"""
KERNEL = """\
import toron

@toron.kernel
async def orders(world):
    await world.sleep(1)
    world.record("prices", [100, 200])
    world.record("name", "orders")
"""

SHOP = Recipe(kernels=("orders",), seeds=(42, 43), suite="shop", engine=ENGINE_VERSION)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in ("suites", "masks", "sim"):
        (tmp_path / folder).mkdir()
    (tmp_path / "suites" / "shop.yaml").write_text(SUITE)
    (tmp_path / "masks" / "shop.yaml").write_text("masks: []\n")
    (tmp_path / "sim" / "orders.py").write_text(KERNEL)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("TESTOPS_")]:
        monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def say(project: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    assert project.is_dir()

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["snapshot", *arguments])
        captured = capsys.readouterr()
        return int(str(ended.value.code)), captured.out + captured.err

    return run


def bundle(project: Path, digit: str = "0", **outputs: Any) -> str:
    """A bundle as a run leaves it; its name."""
    recipe = replace(SHOP, outputs=outputs)
    return recipe.write(project / "snapshots" / f"run-{digit * 16}.tar.gz").name


def baseline(project: Path) -> Path:
    return project / f"snapshots/golden/shop/offline/{ENGINE_VERSION}-py3.11.tar.gz"


def run_of(project: Path, digit: str = "1") -> Path:
    return project / "snapshots" / f"run-{digit * 16}.tar.gz"


def identity(path: Path) -> str:
    return read_bundle(path).identity


def compare(say: Say, name: str) -> tuple[int, str]:
    # The bundles are made here and not by the code in sim/, so executing it again tells nothing.
    masks = ("--masks", "masks/shop.yaml", "--no-reexecute")
    return say("compare", "--base", "snapshots/golden", "--target", f"snapshots/{name}", *masks)


def two_people(project: Path, text: str = "version: 1\napprovals: 2\n") -> None:
    (project / "snapshots" / "golden" / "review.yaml").write_text(text)


def changed(say: Say, project: Path) -> str:
    """The id of a review: a baseline is approved, and a run has moved two fields."""
    first = bundle(project, prices=[100, 200], at=1, name="orders")
    assert say("approve", first, "--why", "first", "--who", "ada")[0] == 0
    code, said = compare(say, bundle(project, "1", prices=[120, 200], at=2, name="orders"))
    assert code == 1
    found = re.search(r"review: .*/([0-9a-f]{16})\.json", said)
    assert found is not None, said
    return found[1]


def test_a_comparison_opens_a_review_that_says_what_moved(say: Say, project: Path) -> None:
    name = changed(say, project)
    code, said = say("review")
    assert code == 0
    assert f"{name}  PENDING  shop, offline, {ENGINE_VERSION}, Python 3.11" in said
    assert "2 groups of deltas: 2 pending; 0 of 1 approval" in said
    code, said = say("review", name)
    assert "PENDING  /outputs/prices/*  drifted in 2 executions" in said
    assert "was 100, is 120 (+20 %" in said
    assert say("review", "1" * 16)[1] == said
    body = json.loads(say("review", name, "--json")[1])
    assert body["state"] == "pending"
    assert body["opened_by_run"] == "1" * 16
    assert [one["target"] for one in json.loads(say("review", "--json")[1])["reviews"]] == [
        body["target"]
    ]


def test_a_comparison_with_somebody_elses_bundle_opens_none(say: Say, project: Path) -> None:
    one, two = bundle(project, n=1), bundle(project, "1", n=2)
    code, said = say(
        "compare",
        "--base",
        f"snapshots/{one}",
        "--target",
        f"snapshots/{two}",
        "--json",
        "--no-reexecute",
    )
    assert code == 1
    assert json.loads(said)["review"] is None
    assert not (project / "snapshots" / "reviews").exists()


def test_a_run_that_behaves_as_before_leaves_nothing_to_decide(say: Say, project: Path) -> None:
    changed(say, project)
    assert compare(say, f"run-{'0' * 16}.tar.gz")[0] == 0
    assert say("review") == (0, "no review waits for anybody\n")


def test_accepting_part_of_it_leaves_the_baseline_alone(say: Say, project: Path) -> None:
    name = changed(say, project)
    before = baseline(project).read_bytes()
    field = ("--kernel", "orders", "--field", "/outputs/prices/*")
    code, said = say("accept", name, *field, "--why", "new prices", "--who", "bob")
    assert code == 0
    assert "1 pending, 1 accepted" in said
    assert "bob: new prices" in said
    assert baseline(project).read_bytes() == before
    assert say("approve", name, "--why", "all meant", "--who", "bob")[0] == 0
    assert identity(baseline(project)).startswith(name)


def test_what_is_rejected_cannot_be_approved_until_it_is_gone(say: Say, project: Path) -> None:
    name = changed(say, project)
    before = baseline(project).read_bytes()
    field = ("--kernel", "orders", "--field", "/outputs/prices/*")
    assert say("reject", name, *field, "--why", "too dear", "--who", "bob")[0] == 0
    assert "REJECTED" in say("review")[1]
    code, said = say("approve", name, "--why", "I insist", "--who", "eve")
    assert code == 2
    assert "rejected to accepted: kernel orders, field /outputs/prices/*" in said
    # Another change beside it does not wash the rejection off.
    worse = bundle(project, "2", prices=[120, 200], at=9, name="orders")
    compare(say, worse)
    code, said = say("approve", worse, "--why", "I insist", "--who", "eve")
    assert code == 2
    assert "bob rejected it: mend the behaviour" in said
    assert baseline(project).read_bytes() == before
    # Mended: the field is as it was, and the rest can be approved.
    mended = bundle(project, "3", prices=[100, 200], at=9, name="orders")
    compare(say, mended)
    assert say("approve", mended, "--why", "mended", "--who", "eve")[0] == 0


def test_two_people_make_a_baseline_and_one_does_not(say: Say, project: Path) -> None:
    name = changed(say, project)
    two_people(project, "version: 1\napprovals: 2\npeople: [ada, bob, eve]\n")
    before = baseline(project).read_bytes()
    code, said = say("approve", name, "--why", "meant", "--who", "Ada")
    assert code == 4
    assert "not the baseline yet: 1 more approval by one of bob, eve" in said
    code, said = say("approve", name, "--why", "meant", "--who", " ADA ")
    assert code == 2
    assert "another person has to approve it" in said
    code, said = say("approve", name, "--why", "meant", "--who", "mallory")
    assert code == 2
    assert "mallory may not decide" in said
    assert baseline(project).read_bytes() == before
    code, said = say("approve", name, "--why", "meant", "--who", "bob", "--json")
    assert code == 0
    assert json.loads(said)["review"]["state"] == "accepted"
    assert identity(baseline(project)).startswith(name)
    record = json.loads(baseline(project).with_name(f"{ENGINE_VERSION}-py3.11.json").read_text())
    assert [one["who"] for one in record["approvals"]] == ["Ada", "bob"]
    assert record["provenance"]["executions"] == 2
    assert say("review") == (0, "no review waits for anybody\n")


def test_an_approval_of_somebody_who_may_not_approve_does_not_count(
    say: Say, project: Path
) -> None:
    name = changed(say, project)
    two_people(project)
    assert say("approve", name, "--why", "meant", "--who", "mallory")[0] == 4
    two_people(project, "version: 1\napprovals: 2\npeople: [ada, bob]\n")
    assert say("approve", name, "--why", "meant", "--who", "ada")[0] == 4
    assert say("approve", name, "--why", "meant", "--who", "bob")[0] == 0


def test_the_first_baseline_takes_two_people_too(say: Say, project: Path) -> None:
    (project / "snapshots" / "golden").mkdir(parents=True)
    two_people(project)
    first = bundle(project, n=1)
    assert say("approve", first, "--why", "first", "--who", "ada")[0] == 4
    assert not baseline(project).exists()
    assert say("approve", first, "--why", "first", "--who", "bob")[0] == 0
    assert baseline(project).exists()


def test_an_approval_is_of_what_was_seen_and_not_of_the_next_run(say: Say, project: Path) -> None:
    name = changed(say, project)
    two_people(project)
    say("approve", name, "--why", "meant", "--who", "ada")
    other = bundle(project, "2", prices=[1, 2], at=2, name="orders")
    compare(say, other)
    assert say("approve", other, "--why", "meant", "--who", "bob")[0] == 4


def test_a_mask_is_added_with_its_reason_and_says_what_it_hides(say: Say, project: Path) -> None:
    name = changed(say, project)
    field = ("--kernel", "orders", "--field", "/outputs/at")
    code, said = say("mask", name, *field, "--why", "a clock", "--who", "bob")
    assert code == 0
    assert "masked kernels/orders/* /outputs/at in masks/shop.yaml" in said
    assert "it hides 2 fields, 2 of them changed" in said
    assert "1 pending, 1 masked" in said
    text = (project / "masks/shop.yaml").read_text()
    assert '"/outputs/at", reason: "a clock", who: "bob"' in text
    assert "masks hid 2 fields, 2 of them changed" in say("review", name)[1]
    code, said = say("mask", name, *field, "--why", "again", "--who", "bob")
    assert code == 2
    assert "cannot go from masked to masked" in said


def test_a_mask_that_leaves_nothing_to_decide_closes_the_review(say: Say, project: Path) -> None:
    say("approve", bundle(project, at=1, n=1), "--why", "first", "--who", "ada")
    name = bundle(project, "1", at=2, n=1)
    compare(say, name)
    field = ("--kernel", "orders", "--field", "/outputs/at")
    assert say("mask", name, *field, "--why", "a clock", "--who", "bob")[0] == 0
    assert say("review")[1] == "no review waits for anybody\n"
    assert compare(say, name)[0] == 0


def test_a_mask_that_would_hide_everything_is_refused(say: Say, project: Path) -> None:
    say("approve", bundle(project, at=1), "--why", "first", "--who", "ada")
    name = bundle(project, "1", at=2)
    compare(say, name)
    field = ("--kernel", "orders", "--field", "/outputs/at")
    code, said = say("mask", name, *field, "--why", "a clock", "--who", "bob")
    assert code == 2
    assert "would hide everything that kernels/orders/42-3.json has in /outputs" in said
    assert (project / "masks/shop.yaml").read_text() == "masks: []\n"


def test_a_suite_without_a_file_of_masks_is_told_how_to_get_one(say: Say, project: Path) -> None:
    name = changed(say, project)
    suite = project / "suites/shop.yaml"
    suite.write_text(SUITE.replace("{masks: masks/shop.yaml}", "{}"))
    field = ("--kernel", "orders", "--field", "/outputs/at")
    code, said = say("mask", name, *field, "--why", "a clock", "--who", "bob")
    assert code == 2
    assert "write `snapshot-compare: {masks: masks/shop.yaml}` there" in said


def test_a_new_engine_minor_needs_the_record_of_its_run(say: Say, project: Path) -> None:
    old = replace(SHOP, engine="toron-v2.5H+.1").write(project / "old.tar.gz")
    at = datetime(2026, 11, 25, tzinfo=UTC)
    make_baseline(old, project / "snapshots" / "golden", who="ada", why="first", at=at)
    path = run_of(project, "4")
    replace(SHOP, seeds=(42,)).write(path)
    code, said = say("approve", path.name, "--why", "refresh", "--who", "ada")
    assert code == 2
    assert "a new engine minor needs a determinism verification" in said
    record = project / "snapshots/runs" / ("4" * 16) / "attempt-1.json"
    record.parent.mkdir(parents=True)
    metrics = {"executions": 1, "identical": 1, "kernels_inconclusive": 0}
    stages = [{"name": "sim", "state": "ran", "metrics": metrics}]
    body = {"run_id": "4" * 16, "attempt": 1, "state": "finished", "stages": stages}
    record.write_text(json.dumps(body | {"bundle_identity": "f" * 64}))
    assert say("approve", path.name, "--why", "refresh", "--who", "ada")[0] == 2
    record.write_text(json.dumps(body | {"bundle_identity": identity(path)}))
    assert say("approve", path.name, "--why", "refresh", "--who", "ada")[0] == 0


def test_an_approval_settles_every_other_review_of_its_baseline(say: Say, project: Path) -> None:
    changed(say, project)
    other = bundle(project, "2", prices=[7], at=1, name="orders")
    assert say("approve", other, "--why", "meant", "--who", "bob")[0] == 0
    assert say("review") == (0, "no review waits for anybody\n")


def test_a_command_that_was_stopped_half_way_holds_nobody_up_for_ever(
    say: Say, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = changed(say, project)
    monkeypatch.setattr("testops.snapshots.review_folder._PATIENCE", 2)
    with folder_lock(project / "snapshots" / "reviews"):
        code, said = say("approve", name, "--why", "meant", "--who", "bob")
        assert code == 4
        assert "another command holds it; end that one, then try again" in said
        assert compare(say, bundle(project, "2", n=1))[0] == 1


def test_a_review_that_gave_way_takes_nothing_until_its_run_is_named(
    say: Say, project: Path
) -> None:
    name = changed(say, project)
    field = ("--kernel", "orders", "--field", "/outputs/at")
    say("accept", name, *field, "--why", "a clock", "--who", "bob")
    compare(say, bundle(project, "2", prices=[7], at=7, name="orders"))
    code, said = say("approve", name, "--why", "meant", "--who", "bob")
    assert code == 2
    assert "is superseded, too late to be approved; decide about the newer target" in said
    assert say("approve", run_of(project).name, "--why", "meant", "--who", "bob")[0] == 0


def test_what_two_executions_disagree_about_is_no_baseline(say: Say, project: Path) -> None:
    name = changed(say, project)
    file = project / "snapshots/reviews" / f"{name}.json"
    body = json.loads(file.read_text())
    body["groups"][0]["cause"] = "nondeterminism"  # as executing it again would have told
    file.write_text(json.dumps(body))
    assert "cause: nondeterminism" in say("review", name)[1]
    code, said = say("approve", name, "--why", "meant", "--who", "bob")
    assert code == 2
    assert "two executions of one seed disagree" in said
    assert say("approve", name, "--why", "known", "--who", "bob", "--allow-failing")[0] == 0


def test_an_approval_that_was_killed_after_the_baseline_is_given_again(
    say: Say, project: Path
) -> None:
    name = changed(say, project)
    two_people(project)
    say("approve", name, "--why", "meant", "--who", "ada")
    file = project / "snapshots/reviews" / f"{name}.json"
    before = file.read_bytes()
    assert say("approve", name, "--why", "meant", "--who", "bob")[0] == 0
    file.write_bytes(before)  # as a kill between the two writes leaves it
    compare(say, "run-1111111111111111.tar.gz")
    assert say("approve", name, "--why", "meant", "--who", "bob")[0] == 0
    assert json.loads(file.read_text())["state"] == "accepted"


# Killed at its n-th rename or sync: of the bundle, of its record, of the review.
DYING = """
import os, signal, sys
from pathlib import Path
from testops.wiring import reviewing
from testops.wiring.review_desk import desk_around

left = [int(sys.argv[2])]

def dying(real):
    def counted(*arguments, **named):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **named)
    return counted

Path.replace, os.fsync = dying(Path.replace), dying(os.fsync)
desk = desk_around(Path.cwd())
reviewing.approve(desk, sys.argv[1], who="bob", why="meant", allow_failing=False)
"""


@pytest.mark.parametrize(
    "moments",
    [
        pytest.param((3, 7), id="some"),
        pytest.param(range(1, 10), id="all", marks=pytest.mark.long),
    ],
)
def test_an_approval_that_is_killed_anywhere_is_given_again_and_holds(
    say: Say, project: Path, moments: Iterable[int]
) -> None:
    name = changed(say, project)
    two_people(project)
    say("approve", name, "--why", "meant", "--who", "ada")
    saved = shutil.copytree(project / "snapshots", project / "saved")
    former = identity(baseline(project))
    for moment in moments:
        shutil.rmtree(project / "snapshots")
        shutil.copytree(saved, project / "snapshots")
        command = [sys.executable, "-c", DYING, name, str(moment)]
        assert subprocess.run(command, cwd=project, check=False).returncode == -signal.SIGKILL
        assert identity(baseline(project)) in (former, read_bundle(run_of(project)).identity)
        code, said = say("approve", name, "--why", "meant", "--who", "bob")
        is_done = "is accepted, too late to be approved; it was approved by ada, bob" in said
        assert code == (2 if is_done else 0), (moment, said)
        assert identity(baseline(project)).startswith(name)
        assert compare(say, run_of(project).name)[0] == 0
        assert say("review") == (0, "no review waits for anybody\n")
        record = json.loads(
            baseline(project).with_name(f"{ENGINE_VERSION}-py3.11.json").read_text()
        )
        assert [one["who"] for one in record["approvals"]] == ["ada", "bob"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("review", "nope"), "no run or bundle 'nope', nor a review"),
        (("approve", "nope", "--why", "x"), "no run or bundle 'nope', nor a review"),
        (("approve", "NAME", "--why", " "), "--why: is empty"),
        (("accept", "NAME", "--kernel", "x", "--field", "/y", "--why", "z"), "no delta of kernel"),
        (("reject", "NAME", "--kernel", "x", "--why", "z"), "no delta of kernel 'x'"),
    ],
)
def test_what_cannot_be_done_is_exit_2_in_one_line(
    say: Say, project: Path, arguments: tuple[str, ...], problem: str
) -> None:
    name = changed(say, project)
    code, said = say(*(name if one == "NAME" else one for one in arguments))
    assert code == 2
    assert problem in said
    assert len(said.splitlines()) == 1


def test_a_review_that_cannot_be_kept_does_not_change_the_comparison(
    say: Say, project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    say("approve", bundle(project, n=1), "--why", "first", "--who", "ada")
    (project / "snapshots" / "reviews").write_text("a file")
    code, said = compare(say, bundle(project, "1", n=2))
    assert code == 1
    assert "snapshot-compare: FAIL" in said
    assert "no review of this comparison is kept" in caplog.text


def test_a_real_run_opens_a_review_and_two_people_settle_it(say: Say, project: Path) -> None:
    def run() -> dict[str, Any]:
        command = [sys.executable, "-m", "testops", "run", "shop", "--json"]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
        body: dict[str, Any] = json.loads(done.stdout)
        return body

    assert say("approve", run()["run_id"], "--why", "first", "--who", "ada")[0] == 0
    two_people(project)
    source = project / "sim/orders.py"
    source.write_text(KERNEL.replace("[100, 200]", "[120, 200]"))
    moved = run()
    assert moved["exit_code"] == 1
    assert "/outputs/prices/*" in say("review", moved["run_id"])[1]
    assert say("approve", moved["run_id"], "--why", "meant", "--who", "ada")[0] == 4
    assert say("approve", moved["run_id"], "--why", "meant", "--who", "bob")[0] == 0
    assert run()["exit_code"] == 0
    records = list((project / "snapshots/golden/shop/offline").glob("*.json"))
    provenance = json.loads(records[0].read_text())["provenance"]
    assert provenance["run_id"] == moved["run_id"]
    assert provenance["determinism_percent"] == 100
