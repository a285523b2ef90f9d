"""Bundles on a server: found, kept, approved by people, and let go only when nobody holds them."""

import hashlib
import io
import tarfile
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests.api.conftest import ClientOf, World, problem
from tests.api.test_snapshots import bundle

from testops.domain.access import Role
from testops.domain.review import Cause, Group, Review
from testops.domain.verdict import Verdict
from testops.storage.snapshot_tables import bundle as bundle_table
from testops.storage.tables import blob, run, workspace

SNAPSHOTS = "/v1/snapshots"


class Left:
    """Runs of the API's world, each with a bundle of one balance."""

    def __init__(self, client: httpx.Client, world: World) -> None:
        self.client, self.world = client, world
        self.count = 0

    def __call__(self, balance: int, workspace: str = "default", **header: Any) -> tuple[str, str]:
        """A run that left such a bundle: its id, and the identity of the bundle."""
        self.count += 1
        asked = {"suite": "core", "salt": f"{self.count}", "workspace": workspace}
        run_id = self.client.post("/v1/test-runs", json=asked).json()["run_id"]
        content, identity = bundle(self.world.root, balance, **header)
        files = {f"snapshots/run-{run_id}.tar.gz": content}
        self.world.execute(run_id, Verdict.PASS, files=files, identity=identity)
        return run_id, identity


@pytest.fixture
def left(client: httpx.Client, world: World) -> Left:
    return Left(client, world)


def approve(client: httpx.Client, identity: str, **more: Any) -> httpx.Response:
    """Approve what is there now."""
    seen = client.get(f"{SNAPSHOTS}/{identity}")
    headers = {"if-match": seen.headers["etag"]}
    body = {"why": "it is right"} | more
    return client.post(f"{SNAPSHOTS}/{identity}/approve", json=body, headers=headers)


def in_force(client: httpx.Client) -> list[str]:
    return [one["identity"] for one in client.get(f"{SNAPSHOTS}/baselines").json()["baselines"]]


# --- finding ------------------------------------------------------------------------------------


def test_a_bundle_says_what_it_holds_and_where_it_comes_from(
    client: httpx.Client, left: Left
) -> None:
    run_id, identity = left(100)
    again, _ = left(100)
    shown = client.get(f"{SNAPSHOTS}/{identity}").json()
    assert (shown["suite"], shown["profile"], shown["python"]) == ("core", "offline", "3.11")
    assert shown["runs"] == [again, run_id]
    assert shown["provenance"]["run_id"] == run_id
    assert shown["provenance"]["commit"] == "c" * 40
    assert (shown["provenance"]["executions"], shown["provenance"]["failing"]) == (1, 0)
    assert (shown["baseline"], shown["review"], shown["captured"]) == (None, None, None)


def test_bundles_are_listed_newest_first_by_pages_and_filters(
    client: httpx.Client, left: Left
) -> None:
    identities = [left(balance)[1] for balance in (1, 2, 3)]
    assert approve(client, identities[0]).status_code == 200
    client.put(f"{SNAPSHOTS}/{identities[1]}/pin", json={"why": "a case of ours"})

    def listed(**query: Any) -> list[str]:
        found = client.get(SNAPSHOTS, params=query)
        assert found.status_code == 200, found.text
        return [one["identity"] for one in found.json()["snapshots"]]

    assert listed() == identities[::-1]
    assert listed(baseline=True) == [identities[0]]
    assert listed(baseline=False) == [identities[2], identities[1]]
    assert listed(pinned=True) == [identities[1]]
    assert listed(suite="core", engine="toron-v2.5H+.2", python="3.11") == identities[::-1]
    assert listed(profile="other") == []
    first = client.get(SNAPSHOTS, params={"limit": 2})
    rest = client.get(first.headers["link"].partition(">")[0][1:])
    assert [one["identity"] for one in rest.json()["snapshots"]] == [identities[0]]
    assert rest.json()["next_cursor"] is None


def test_the_content_is_the_file_that_the_run_left_whole_or_in_part(
    client: httpx.Client, left: Left, world: World
) -> None:
    _, identity = left(100)
    content, _ = bundle(world.root, 100)
    url = f"{SNAPSHOTS}/{identity}/content"
    whole = client.get(url)
    assert whole.content == content
    assert whole.headers["content-type"] == "application/gzip"
    assert whole.headers["etag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    part = client.get(url, headers={"range": "bytes=2-9"})
    assert (part.status_code, part.content) == (206, content[2:10])
    same = client.get(url, headers={"if-none-match": whole.headers["etag"]})
    assert same.status_code == 304
    with tarfile.open(fileobj=io.BytesIO(whole.content)) as tar:
        assert "manifest.json" in tar.getnames()


def test_what_is_another_s_is_not_there(client_of: ClientOf, left: Left) -> None:
    run_id, identity = left(100)
    stranger = client_of(Role.MAINTAINER, frozenset({"other"}))
    why = {"why": "because"}
    asked = [
        stranger.get(f"{SNAPSHOTS}/{identity}"),
        stranger.get(f"{SNAPSHOTS}/{identity}?workspace=default"),
        stranger.get(f"{SNAPSHOTS}/{identity}/content"),
        stranger.post(SNAPSHOTS, json={"run": run_id, **why}),
        stranger.put(f"{SNAPSHOTS}/{identity}/pin", json=why),
        stranger.delete(f"{SNAPSHOTS}/{identity}/pin"),
        stranger.delete(f"{SNAPSHOTS}/{identity}/capture"),
        stranger.post(f"{SNAPSHOTS}/{identity}/verify"),
        stranger.post(f"{SNAPSHOTS}/{identity}/replay", json={}),
        stranger.post(f"{SNAPSHOTS}/{identity}/approve", json=why, headers={"if-match": "*"}),
        stranger.post(f"{SNAPSHOTS}/{identity}/reject", json=why, headers={"if-match": "*"}),
    ]
    for response in asked:
        problem(response, 404, "not-found")
    assert stranger.get(SNAPSHOTS).json()["snapshots"] == []
    assert stranger.get(f"{SNAPSHOTS}/baselines").json()["baselines"] == []


def test_a_bundle_of_two_workspaces_is_named_with_its_workspace(
    client: httpx.Client, client_of: ClientOf, left: Left
) -> None:
    _, identity = left(100)
    left(100, workspace="other")
    body = problem(client.get(f"{SNAPSHOTS}/{identity}"), 409, "conflict")
    assert "?workspace=" in body["detail"]
    here = client.get(f"{SNAPSHOTS}/{identity}?workspace=other")
    assert here.json()["workspace"] == "other"
    own = client_of(Role.VIEWER, frozenset({"other"}))
    assert own.get(f"{SNAPSHOTS}/{identity}").json()["workspace"] == "other"


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        (Role.VIEWER, set()),
        (Role.OPERATOR, {"capture", "verify", "replay"}),
        (Role.MAINTAINER, {"capture", "verify", "replay", "pin", "approve", "reject", "gc"}),
    ],
)
def test_each_role_may_do_its_part(
    client_of: ClientOf, left: Left, role: Role, allowed: set[str]
) -> None:
    run_id, identity = left(100)
    caller = client_of(role)
    why = {"why": "because"}
    answers = {
        "capture": caller.post(SNAPSHOTS, json={"run": run_id, **why}),
        "verify": caller.post(f"{SNAPSHOTS}/{identity}/verify"),
        "replay": caller.post(f"{SNAPSHOTS}/{identity}/replay", json={}),
        "pin": caller.put(f"{SNAPSHOTS}/{identity}/pin", json=why),
        "approve": caller.post(f"{SNAPSHOTS}/{identity}/approve", json=why),
        "reject": caller.post(f"{SNAPSHOTS}/{identity}/reject", json=why),
        "gc": caller.post(f"{SNAPSHOTS}/gc", json={"dry_run": True}),
    }
    assert {name for name, answer in answers.items() if answer.status_code != 403} == allowed
    assert caller.get(f"{SNAPSHOTS}/{identity}").status_code == 200


# --- approving ----------------------------------------------------------------------------------


def test_who_approves_is_the_caller_and_it_is_audited(
    client: httpx.Client, left: Left, world: World
) -> None:
    _, identity = left(100)
    shown = approve(client, identity, why="the first").json()
    assert shown["baseline"] == "current"
    [approval] = shown["review"]["approvals"]
    assert (approval["who"], approval["why"]) == ("maintainer-all", "the first")
    [kept] = client.get(f"{SNAPSHOTS}/baselines").json()["baselines"]
    assert (kept["identity"], kept["number"], kept["approvals"]) == (identity, 1, [approval])
    assert kept["provenance"]["commit"] == "c" * 40
    [entry] = [one for one in world.audited() if one.action == "snapshot.approve"]
    assert (entry.actor_name, entry.target, entry.detail["why"]) == (
        "maintainer-all",
        identity,
        "the first",
    )
    lied = client.post(f"{SNAPSHOTS}/{identity}/approve", json={"why": "x", "who": "the boss"})
    problem(lied, 422, "invalid-request")


def test_an_approval_shows_what_has_moved_and_keeps_the_history(
    client: httpx.Client, left: Left
) -> None:
    first, second = left(100)[1], left(99)[1]
    approve(client, first)
    shown = approve(client, second, why="the fee is gone").json()
    groups = {(one["field"], one["state"]) for one in shown["review"]["groups"]}
    assert ("/outputs/balance", "accepted") in groups
    assert shown["review"]["base"] == first
    [kept] = client.get(f"{SNAPSHOTS}/baselines").json()["baselines"]
    assert (kept["identity"], kept["number"]) == (second, 2)
    assert [one["identity"] for one in kept["history"]] == [first]
    assert client.get(f"{SNAPSHOTS}/{first}").json()["baseline"] == "former"
    # Back again: that is looked at anew, and is number 3.
    assert approve(client, first).json()["baseline"] == "current"
    assert in_force(client) == [first]
    problem(approve(client, first), 409, "conflict")
    assert approve(client, second).json()["baseline"] == "current"


def test_nobody_approves_what_they_have_not_seen(client: httpx.Client, left: Left) -> None:
    first, second = left(100)[1], left(99)[1]
    url = f"{SNAPSHOTS}/{second}"
    tag = client.get(url).headers["etag"]
    body = {"why": "because"}
    problem(client.post(f"{url}/approve", json=body), 428, "precondition-required")
    left(99)
    approve(client, first)
    stale = client.post(f"{url}/approve", json=body, headers={"if-match": tag})
    problem(stale, 412, "precondition-failed")
    assert in_force(client) == [first]


def test_another_run_with_the_same_behaviour_takes_no_approval_back(
    client: httpx.Client, left: Left
) -> None:
    _, identity = left(100)
    tag = client.get(f"{SNAPSHOTS}/{identity}").headers["etag"]
    left(100)
    newer = client.get(f"{SNAPSHOTS}/{identity}")
    assert newer.headers["etag"] != tag, "the page has changed"
    answer = client.post(
        f"{SNAPSHOTS}/{identity}/approve", json={"why": "ok"}, headers={"if-match": tag}
    )
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("same", [True, False])
def test_of_those_who_approve_at_once_one_wins(
    client: httpx.Client, client_of: ClientOf, left: Left, same: bool
) -> None:
    first = left(100)[1]
    targets = [first, first] if same else [first, left(99)[1]]
    callers = [client_of(Role.MAINTAINER), client_of(Role.MAINTAINER, frozenset({"default"}))]
    tags = [client.get(f"{SNAPSHOTS}/{one}").headers["etag"] for one in targets]
    barrier, answers = threading.Barrier(2), [0, 0]

    def one(number: int) -> None:
        barrier.wait(10)
        answers[number] = (
            callers[number]
            .post(
                f"{SNAPSHOTS}/{targets[number]}/approve",
                json={"why": "me"},
                headers={"if-match": tags[number]},
            )
            .status_code
        )

    threads = [threading.Thread(target=one, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(answers) in ([200, 412], [200, 409]), answers
    [kept] = client.get(f"{SNAPSHOTS}/baselines").json()["baselines"]
    assert (kept["number"], len(kept["approvals"])) == (1, 1)


def test_two_people_must_approve_where_the_workspace_says_so(
    client: httpx.Client, client_of: ClientOf, left: Left, world: World
) -> None:
    world.services.workspaces.require_approvals("default", 2)  # type: ignore[attr-defined]
    _, identity = left(100)
    shown = approve(client, identity).json()
    assert (shown["baseline"], shown["review"]["state"]) == (None, "pending")
    assert in_force(client) == []
    body = problem(approve(client, identity), 409, "conflict")
    assert "another person" in body["detail"]
    second = client_of(Role.MAINTAINER, frozenset({"default"}))
    shown = approve(second, identity, why="seen too").json()
    assert shown["baseline"] == "current"
    assert [one["why"] for one in shown["review"]["approvals"]] == ["it is right", "seen too"]
    listed = client.get("/v1/workspaces").json()["workspaces"]
    assert {one["name"]: one["approvals_required"] for one in listed}["default"] == 2


@pytest.mark.parametrize(
    ("identical", "refused"), [(979, True), (980, False), (None, True), (1000, False)]
)
def test_a_new_engine_minor_needs_a_run_that_was_deterministic(
    client: httpx.Client, left: Left, world: World, identical: int | None, refused: bool
) -> None:
    approve(client, left(100)[1])
    world.identical = identical
    _, identity = left(100, engine_version="toron-v2.5H+.3")
    answer = approve(client, identity)
    if refused:
        body = problem(answer, 409, "conflict")
        assert "at least 98 %" in body["detail"]
        assert len(in_force(client)) == 1
    else:
        assert answer.status_code == 200, answer.text
        assert len(in_force(client)) == 2


def test_what_no_run_reaches_twice_is_not_approved_unawares(
    client: httpx.Client, left: Left, world: World
) -> None:
    first, moved = left(100)[1], left(99)[1]
    approve(client, first)
    kept = world.services.snapshots.get(moved, None)[0]
    group = Group("k", "/outputs/balance", "drifted", 1, "was 100", cause=Cause.NONDETERMINISM)
    key = kept.bundle.key
    at = "2026-11-25T10:00:00Z"
    world.services.snapshots.open("default", Review(first, moved, key, at, None, groups=(group,)))
    body = problem(approve(client, moved), 409, "conflict")
    assert "two executions of one seed disagree" in body["detail"]
    assert in_force(client) == [first]
    assert approve(client, moved, allow_failing=True).status_code == 200
    assert in_force(client) == [moved]


def test_what_did_not_pass_is_not_approved_unawares(client: httpx.Client, left: Left) -> None:
    _, identity = left(100, verdict="fail")
    body = problem(approve(client, identity), 409, "conflict")
    assert "1 of its 1 executions did not pass" in body["detail"]
    assert approve(client, identity, allow_failing=True).status_code == 200


@pytest.mark.parametrize("why", ["", "   ", "a\nb", "x" * 2001])
def test_a_decision_has_a_reason(client: httpx.Client, left: Left, why: str) -> None:
    _, identity = left(100)
    problem(approve(client, identity, why=why), 422, "invalid-request")
    assert in_force(client) == []


# --- reviewing ----------------------------------------------------------------------------------


def opened(client: httpx.Client, left: Left) -> tuple[dict[str, Any], str]:
    """A review that is open: the first baseline against a bundle that moved; its ETag."""
    approve(client, left(100)[1])
    _, moved = left(99)
    seen = client.get(f"{SNAPSHOTS}/{moved}")
    client.post(
        f"{SNAPSHOTS}/{moved}/reject",
        json={"why": "not yet"},
        headers={"if-match": seen.headers["etag"]},
    )
    [review] = [
        one
        for one in client.get(f"{SNAPSHOTS}/reviews").json()["reviews"]
        if one["target"] == moved
    ]
    return review, client.get(f"{SNAPSHOTS}/reviews/{review['review_id']}").headers["etag"]


def test_what_was_rejected_cannot_be_approved(client: httpx.Client, left: Left) -> None:
    review, _ = opened(client, left)
    assert review["state"] == "rejected"
    assert {one["state"] for one in review["groups"]} == {"rejected"}
    body = problem(approve(client, review["target"]), 409, "conflict")
    assert "rejected" in body["detail"]
    listed = client.get(f"{SNAPSHOTS}/reviews", params={"state": "rejected"}).json()["reviews"]
    assert [one["review_id"] for one in listed] == [review["review_id"]]


def test_groups_are_decided_one_by_one_by_whoever_has_seen_them(
    client: httpx.Client, left: Left, world: World
) -> None:
    world.services.workspaces.require_approvals("default", 2)  # type: ignore[attr-defined]
    _, first = left(100)
    approve(client, first)
    world.services.workspaces.require_approvals("default", 1)  # type: ignore[attr-defined]
    # Nothing is in force yet, so this is a first baseline, without anything that moved.
    [review] = client.get(f"{SNAPSHOTS}/reviews").json()["reviews"]
    assert review["groups"] == []
    url = f"{SNAPSHOTS}/reviews/{review['review_id']}"
    tag = client.get(url).headers["etag"]
    decide = {"decision": "accept", "why": "fine"}
    problem(client.post(f"{url}/decisions", json=decide), 428, "precondition-required")
    stale = client.post(f"{url}/decisions", json=decide, headers={"if-match": '"0.9.' + "0" * 17})
    problem(stale, 412, "precondition-failed")
    nothing = client.post(f"{url}/decisions", json=decide, headers={"if-match": tag})
    problem(nothing, 409, "conflict")
    same = client.get(url, headers={"if-none-match": tag})
    assert same.status_code == 304


def test_a_group_that_is_not_there_is_not_decided(client: httpx.Client, left: Left) -> None:
    review, tag = opened(client, left)
    url = f"{SNAPSHOTS}/reviews/{review['review_id']}/decisions"
    wrong = {"decision": "accept", "why": "fine", "groups": [{"kernel": "nobody"}]}
    body = problem(client.post(url, json=wrong, headers={"if-match": tag}), 422, "invalid-request")
    assert body["errors"][0]["pointer"] == "/groups"
    back = {"decision": "accept", "why": "fine", "groups": [{"field": "/outputs/balance"}]}
    body = problem(client.post(url, json=back, headers={"if-match": tag}), 409, "conflict")
    assert "mend the behaviour" in body["detail"]


def test_a_review_of_another_workspace_is_not_there(
    client: httpx.Client, client_of: ClientOf, left: Left
) -> None:
    review, tag = opened(client, left)
    stranger = client_of(Role.MAINTAINER, frozenset({"other"}))
    url = f"{SNAPSHOTS}/reviews/{review['review_id']}"
    problem(stranger.get(url), 404, "not-found")
    asked = {"decision": "accept", "why": "mine"}
    answer = stranger.post(f"{url}/decisions", json=asked, headers={"if-match": tag})
    problem(answer, 404, "not-found")
    assert stranger.get(f"{SNAPSHOTS}/reviews").json()["reviews"] == []


# --- keeping ------------------------------------------------------------------------------------


def age(world: World) -> None:
    """Make every content older than what a collection spares."""
    with world.database.write() as connection:
        connection.execute(sa.update(blob).values(created_ms=1))


def forget_runs(world: World) -> None:
    """What retention does to runs that nobody keeps."""
    with world.database.write() as connection:
        connection.execute(sa.delete(run))


def test_what_nobody_holds_goes_and_what_somebody_holds_stays(
    client: httpx.Client, left: Left, world: World
) -> None:
    loose = left(1)[1]
    captured_run, captured = left(2)
    pinned, former, current = left(3)[1], left(4)[1], left(5)[1]
    made = client.post(SNAPSHOTS, json={"run": captured_run, "why": "a customer's case"})
    assert (made.status_code, made.json()["captured"]["why"]) == (201, "a customer's case")
    again = client.post(SNAPSHOTS, json={"run": captured_run, "why": "again"})
    assert again.status_code == 200
    assert again.headers["location"] == made.headers["location"]
    client.put(f"{SNAPSHOTS}/{pinned}/pin", json={"why": "keep"})
    approve(client, former)
    approve(client, current)

    nothing = client.post(f"{SNAPSHOTS}/gc", json={}).json()
    assert nothing["identities"] == [], "their runs are kept"
    forget_runs(world)
    age(world)
    would = client.post(f"{SNAPSHOTS}/gc", json={"dry_run": True}).json()
    assert (would["identities"], would["dry_run"]) == ([loose], True)
    assert client.get(f"{SNAPSHOTS}/{loose}").status_code == 200
    gone = client.post(f"{SNAPSHOTS}/gc", json={}).json()
    assert gone["identities"] == [loose]
    assert gone["bytes_freed"] == would["bytes_freed"] > 0
    problem(client.get(f"{SNAPSHOTS}/{loose}"), 404, "not-found")
    for identity in (captured, pinned, former, current):
        content = client.get(f"{SNAPSHOTS}/{identity}/content")
        assert content.status_code == 200
    assert client.delete(f"{SNAPSHOTS}/{captured}/capture").json()["captured"] is None
    assert client.delete(f"{SNAPSHOTS}/{pinned}/pin").json()["pinned"] is None
    rest = client.post(f"{SNAPSHOTS}/gc", json={}).json()
    assert sorted(rest["identities"]) == sorted([captured, pinned])


def test_both_sides_of_an_open_review_stay(client: httpx.Client, left: Left, world: World) -> None:
    review, _ = opened(client, left)
    forget_runs(world)
    age(world)
    assert client.post(f"{SNAPSHOTS}/gc", json={}).json()["identities"] == []
    assert client.get(f"{SNAPSHOTS}/{review['target']}").status_code == 200


def test_contents_that_are_young_are_removed_later_and_said_so(
    client: httpx.Client, left: Left, world: World
) -> None:
    left(1)
    forget_runs(world)
    gone = client.post(f"{SNAPSHOTS}/gc", json={}).json()
    assert (gone["bundles"], gone["bytes_freed"]) == (1, 0)
    assert gone["bytes_waiting"] > 0


def test_a_collection_reaches_only_the_caller_s_workspaces(
    client_of: ClientOf, left: Left, world: World
) -> None:
    left(1)
    forget_runs(world)
    stranger = client_of(Role.MAINTAINER, frozenset({"other"}))
    assert stranger.post(f"{SNAPSHOTS}/gc", json={}).json()["identities"] == []
    refused = stranger.post(f"{SNAPSHOTS}/gc", json={"workspace": "default"})
    assert refused.status_code == 403


def test_a_byte_that_has_changed_is_found(client: httpx.Client, left: Left, world: World) -> None:
    _, identity = left(100)
    url = f"{SNAPSHOTS}/{identity}/verify"
    whole = client.post(url).json()
    assert (whole["ok"], whole["found"], whole["problem"]) == (True, identity, "")
    sha256 = client.get(f"{SNAPSHOTS}/{identity}").json()["sha256"]
    [file] = [path for path in (world.root / "blobs").rglob(sha256) if path.is_file()]
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    damaged = client.post(url).json()
    assert not damaged["ok"]
    assert damaged["problem"]
    assert str(world.root) not in str(damaged)
    file.unlink()
    assert not client.post(url).json()["ok"]


def test_removing_a_workspace_takes_what_was_approved_there_along(
    client: httpx.Client, left: Left, world: World, tmp_path: Path
) -> None:
    approve(client, left(100)[1])
    assert world.services.workspaces.remove("default")  # type: ignore[attr-defined]
    assert in_force(client) == []
    assert client.get(f"{SNAPSHOTS}/reviews").json()["reviews"] == []
    with world.database.read() as connection:
        assert connection.execute(sa.select(workspace.c.name)).scalars().all()
        assert connection.execute(sa.select(bundle_table.c.identity)).scalars().all()


# --- running against one ------------------------------------------------------------------------


def test_a_replay_is_a_run_of_that_bundle_s_question_against_that_bundle(
    client: httpx.Client, left: Left, world: World
) -> None:
    run_id, identity = left(100)
    answer = client.post(f"{SNAPSHOTS}/{identity}/replay", json={})
    assert answer.status_code == 202, answer.text
    made = answer.json()
    assert answer.headers["location"] == f"/v1/test-runs/{made['run_id']}"
    assert made["run_id"] != run_id
    assert [stage["name"] for stage in made["stages"]] == ["sim", "snapshot-compare"]
    view = world.services.runs.get(made["run_id"])
    assert view is not None
    assert view.question["baseline"] == identity
    assert client.post(f"{SNAPSHOTS}/{identity}/replay", json={}).status_code == 200
    world.execute(made["run_id"])
    again = client.post(f"{SNAPSHOTS}/{identity}/replay", json={})
    assert (again.status_code, again.json()["attempt"]) == (202, 2)


def test_a_bundle_is_replayed_when_no_run_of_it_is_left(
    client: httpx.Client, left: Left, world: World
) -> None:
    run_id, identity = left(100)
    client.post(SNAPSHOTS, json={"run": run_id, "why": "keep"})
    forget_runs(world)
    assert client.post(f"{SNAPSHOTS}/{identity}/replay", json={}).status_code == 202


def test_a_replay_by_another_engine_is_refused_unless_it_is_wanted(
    client: httpx.Client, left: Left
) -> None:
    _, identity = left(100, engine_version="toron-v2.5H+.1")
    url = f"{SNAPSHOTS}/{identity}/replay"
    body = problem(client.post(url, json={}), 409, "conflict")
    assert "allow_other_engine" in body["detail"]
    assert client.post(url, json={"allow_other_engine": True}).status_code == 202


COMPARING = {
    "schema": 1,
    "name": "core",
    "seeds": {"sim": 42, "chaos": 7},
    "stages": {"sim": {"kernels": {"echo": {"run": "sim/echo.py::echo"}}}, "snapshot-compare": {}},
}


def test_a_run_names_its_baseline_by_a_bundle_or_a_run(client: httpx.Client, left: Left) -> None:
    run_id, identity = left(100)
    plain = client.post("/v1/test-runs", json={"suite": COMPARING}).json()["run_id"]
    named = [
        client.post("/v1/test-runs", json={"suite": COMPARING, "baseline": name}).json()["run_id"]
        for name in (run_id, identity)
    ]
    assert named[0] == named[1] != plain
    rerun = client.post(f"/v1/test-runs/{named[0]}/cancel")
    assert rerun.status_code == 200
    again = client.post(f"/v1/test-runs/{named[0]}/rerun", json={"mode": "same"})
    assert again.json()["run_id"] == named[0], "the question names it still"


def test_a_baseline_that_cannot_be_compared_with_is_refused(
    client: httpx.Client, left: Left
) -> None:
    run_id, identity = left(100)
    for name in ("f" * 64, "f" * 16):
        asked = {"suite": COMPARING, "baseline": name}
        body = problem(client.post("/v1/test-runs", json=asked), 422, "invalid-request")
        assert body["errors"][0]["pointer"] == "/baseline"
    elsewhere = {"suite": COMPARING, "baseline": identity, "workspace": "other"}
    problem(client.post("/v1/test-runs", json=elsewhere), 422, "invalid-request")
    without = {"suite": "core", "baseline": run_id}
    body = problem(client.post("/v1/test-runs", json=without), 422, "invalid-suite")
    assert "snapshot-compare" in body["detail"]


def test_a_schedule_names_a_bundle_and_not_what_a_run_may_leave_next(
    client: httpx.Client, left: Left
) -> None:
    run_id, identity = left(100)
    asked = {
        "name": "nightly",
        "cron": "0 3 * * *",
        "request": {"suite": COMPARING, "baseline": run_id},
    }
    made = client.post("/v1/schedules", json=asked).json()
    assert made["request"]["baseline"] == identity
