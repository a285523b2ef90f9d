"""A schedule fires once at each of its times, however many ask, and tells what it missed."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests.api.conftest import World, problem

from testops.domain.run_view import NewRun
from testops.domain.schedule import Schedule
from testops.runner.asking import Place, run_due
from testops.storage.api_store import due_schedules
from testops.storage.api_tables import schedule, schedule_firing
from testops.storage.tables import run

SCHEDULES = "/v1/schedules"
WANTED: dict[str, Any] = {
    "name": "nightly",
    "cron": "0 3 * * *",
    "time_zone": "Europe/Berlin",
    "request": {"suite": "core", "labels": {"why": "night"}},
}


def make(client: httpx.Client, **changes: Any) -> dict[str, Any]:
    response = client.post(SCHEDULES, json=WANTED | changes)
    assert response.status_code == 201, response.text
    body: dict[str, Any] = response.json()
    return body


def test_a_schedule_is_made_read_changed_and_removed(client: httpx.Client) -> None:
    response = client.post(SCHEDULES, json=WANTED)
    assert response.status_code == 201, response.text
    made = response.json()
    assert response.headers["location"] == f"{SCHEDULES}/{made['schedule_id']}"
    # Three in the morning in Berlin, in winter or in summer.
    assert made["next_due_at"][11:] in ("02:00:00.000Z", "01:00:00.000Z")
    assert client.get(SCHEDULES).json()["schedules"] == [made]

    place = response.headers["location"]
    problem(client.put(place, json=WANTED), 428, "precondition-required")
    tag = client.get(place).headers["etag"]
    assert client.get(place, headers={"if-none-match": tag}).status_code == 304
    changed = client.put(place, json=WANTED | {"enabled": False}, headers={"if-match": tag})
    assert changed.status_code == 200, changed.text
    assert (changed.json()["enabled"], changed.json()["next_due_at"]) == (False, None)
    stale = client.put(place, json=WANTED, headers={"if-match": tag})
    problem(stale, 412, "precondition-failed")
    problem(client.delete(place, headers={"if-match": tag}), 412, "precondition-failed")

    assert client.delete(place).status_code == 204
    problem(client.get(place), 404, "not-found")


def test_a_name_is_one_schedule_of_a_workspace(client: httpx.Client) -> None:
    made = make(client)
    problem(client.post(SCHEDULES, json=WANTED), 409, "conflict")
    other = make(client, request={"suite": "core", "workspace": "other"})
    assert other["schedule_id"] != made["schedule_id"]
    held = {"if-match": "*"}
    renamed = client.put(
        f"{SCHEDULES}/{made['schedule_id']}", json=WANTED | {"name": "x"}, headers=held
    )
    problem(renamed, 409, "conflict")


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"cron": "not a cron line"}, "/cron"),
        ({"cron": "* * * * * *"}, "/cron"),
        ({"cron": "61 * * * *"}, "/cron"),
        ({"cron": "0 0 31 2 *"}, "/cron"),
        ({"time_zone": "Mars/Olympus"}, "/time_zone"),
        ({"time_zone": "../../etc/passwd"}, "/time_zone"),
        ({"request": {"suite": "nothing"}}, None),
    ],
)
def test_what_can_never_be_a_run_is_refused_today(
    client: httpx.Client, changes: dict[str, Any], pointer: str | None
) -> None:
    response = client.post(SCHEDULES, json=WANTED | changes)
    assert response.status_code == 422, response.text
    if pointer is not None:
        assert pointer in [error["pointer"] for error in response.json()["errors"]]


def plan_in(world: World) -> Callable[[Schedule, str], NewRun]:
    def place(name: str) -> Place:
        return Place(name, world.root / name, is_own=True, allow_commands=False)

    return lambda one, due_at: run_due(one, due_at, place, world.services.means)


def fire(world: World, plan: Callable[[Schedule, str], NewRun] | None = None) -> list[Any]:
    runs: Any = world.services.runs
    return list(due_schedules(world.database, runs, plan or plan_in(world)))


def move_due(world: World, schedule_id: str, *, minutes_ago: int) -> int:
    """Make the schedule due in the past, on the minute."""
    with world.database.write() as connection:
        now_ms = world.database.moment(connection).ms
        due_ms = (now_ms // 60_000 - minutes_ago) * 60_000
        connection.execute(
            sa.update(schedule)
            .where(schedule.c.schedule_id == schedule_id)
            .values(next_due_ms=due_ms)
        )
    return due_ms


def count(world: World, table: sa.Table) -> int:
    with world.database.read() as connection:
        found: int = connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
    return found


def test_a_due_schedule_makes_its_run_once_and_moves_on(client: httpx.Client, world: World) -> None:
    made = make(client, cron="* * * * *")
    assert fire(world) == []
    move_due(world, made["schedule_id"], minutes_ago=0)
    [fired] = fire(world)
    assert fire(world) == []
    shown = client.get(f"{SCHEDULES}/{made['schedule_id']}").json()
    assert shown["last"] == fired.firing.to_json()
    assert shown["last"]["missed"] == 0
    assert shown["next_due_at"] > shown["last"]["due_at"]
    run_shown = client.get(f"/v1/test-runs/{shown['last']['run_id']}").json()
    assert run_shown["labels"] == {
        "why": "night",
        "schedule": "nightly",
        "due": shown["last"]["due_at"],
    }
    assert run_shown["created_by"] == "schedule nightly"
    assert len(world.submitted) == 1


def test_times_that_were_missed_make_one_run_that_says_so(
    client: httpx.Client, world: World
) -> None:
    made = make(client, cron="* * * * *")
    move_due(world, made["schedule_id"], minutes_ago=7)
    [fired] = fire(world)
    assert fired.firing.missed == 7
    assert fire(world) == []
    assert count(world, run) == 1


def test_many_runners_that_ask_at_once_make_one_run(client: httpx.Client, world: World) -> None:
    together = threading.Barrier(8)
    plan = plan_in(world)

    def planned_together(one: Schedule, due_at: str) -> NewRun:
        # All of them have seen that it is due before the first can say that it is done.
        together.wait(10)
        return plan(one, due_at)

    for turn in range(1, 4):
        made = make(client, name=f"s{turn}", cron="* * * * *")
        move_due(world, made["schedule_id"], minutes_ago=0)
        with ThreadPoolExecutor(8) as pool:
            fired = list(pool.map(lambda _: fire(world, planned_together), range(8)))
        assert sum(len(one) for one in fired) == 1
        assert count(world, run) == turn
        assert count(world, schedule_firing) == turn


def test_a_clock_that_was_set_back_fires_nothing_twice(client: httpx.Client, world: World) -> None:
    made = make(client, cron="* * * * *")
    move_due(world, made["schedule_id"], minutes_ago=0)
    assert len(fire(world)) == 1
    move_due(world, made["schedule_id"], minutes_ago=0)
    again = fire(world)
    # But where the minute has just turned, which is another time.
    assert count(world, run) == count(world, schedule_firing) == 1 + len(again)


def test_a_schedule_that_cannot_be_planned_says_why_and_goes_on(
    client: httpx.Client, world: World
) -> None:
    made = make(client, cron="* * * * *")
    (world.root / "default" / "suites" / "core.yaml").unlink()
    move_due(world, made["schedule_id"], minutes_ago=0)
    [fired] = fire(world)
    assert fired.firing.run_id is None
    assert "there is no suite 'core'" in fired.firing.problem
    assert client.get(f"{SCHEDULES}/{made['schedule_id']}").json()["next_due_at"] is not None
    assert count(world, run) == 0


def test_what_was_changed_meanwhile_is_not_fired(client: httpx.Client, world: World) -> None:
    made = make(client, cron="* * * * *")
    move_due(world, made["schedule_id"], minutes_ago=0)
    plan = plan_in(world)

    def disabled_meanwhile(one: Schedule, due_at: str) -> NewRun:
        place = f"{SCHEDULES}/{made['schedule_id']}"
        changed = client.put(place, json=WANTED | {"enabled": False}, headers={"if-match": "*"})
        assert changed.status_code == 200
        return plan(one, due_at)

    assert fire(world, disabled_meanwhile) == []
    assert count(world, run) == 0


def test_a_run_that_cannot_be_created_leaves_the_schedule_due(
    client: httpx.Client, world: World
) -> None:
    made = make(client, cron="* * * * *")
    move_due(world, made["schedule_id"], minutes_ago=0)

    class Broken:
        def create_in(self, connection: sa.Connection, new: NewRun) -> Any:
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        due_schedules(world.database, Broken(), plan_in(world))
    assert count(world, schedule_firing) == 0
    assert len(fire(world)) == 1
