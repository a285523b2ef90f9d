"""A history records what clients asked for and were told, and can be written and read."""

import asyncio
import json
from typing import Any

import pytest

import toron
from toron.checks.history import UNKNOWN, History, frozen


def one(history: History) -> Any:
    (operation,) = history
    return operation


def test_an_answer_ends_a_call_as_ok() -> None:
    history = History()
    with history.call("c1", "write", 7) as call:
        call.ok("done")
    operation = one(history)
    assert (operation.ending, operation.arg, operation.result) == ("ok", 7, "done")
    assert (operation.invoked, operation.returned) == (0, 1)


def test_an_exception_leaves_it_open_because_it_may_have_happened() -> None:
    history = History()
    with pytest.raises(TimeoutError), history.call("c1", "write", 7):
        raise TimeoutError
    operation = one(history)
    assert (operation.ending, operation.result, operation.returned) == ("info", UNKNOWN, None)


def test_an_exception_that_means_no_ends_it_as_failed() -> None:
    history = History()
    with pytest.raises(KeyError), history.call("c1", "get", "k", fails_on=(KeyError,)):
        raise KeyError("k")
    assert one(history).ending == "fail"


def test_a_call_that_nobody_ended_is_an_error_and_not_a_silent_answer() -> None:
    history = History("bank")
    with (
        pytest.raises(ValueError, match="bank: the call has ended and nobody said how"),
        history.call("c1", "read"),
    ):
        pass
    assert one(history).ending == "info"


def test_a_call_ends_only_once() -> None:
    history = History()
    call = history.call("c1", "read")
    call.ok(1)
    with pytest.raises(ValueError, match="'read' of 'c1' has already ended"):
        call.fail()


def test_a_client_does_one_thing_at_a_time() -> None:
    history = History()
    history.call("c1", "read")
    with pytest.raises(ValueError, match="client 'c1' calls 'write' while its 'read' is under way"):
        history.call("c1", "write", 1)


def test_a_record_does_not_change_with_the_lists_of_the_program() -> None:
    items = [1, [2]]
    history = History()
    with history.call("c1", "put", items) as call:
        call.ok({"a": items})
    items.append(3)
    assert one(history).arg == (1, (2,))
    assert one(history).result == (("a", (1, (2,))),)


def test_a_long_value_is_cut_in_an_explanation_and_a_digest_in_the_trace() -> None:
    notes: list[str] = []
    history = History(note=lambda kind, text: notes.append(text))
    for letter in "ab":
        with history.call("c1", "write", "x" * 10_000 + letter) as call:
            call.ok()
    assert len(str(history.operations[0])) < 400
    first, _, second, _ = notes
    assert max(map(len, notes)) < 200
    assert first != second


def test_what_cannot_be_compared_later_is_refused() -> None:
    class Odd:
        __hash__ = None  # type: ignore[assignment]

    with pytest.raises(TypeError, match=r"arg is a .*Odd, which cannot be compared later"):
        frozen(Odd(), "arg")


def test_record_awaits_and_returns_what_the_program_answered() -> None:
    async def main() -> None:
        history = History()

        async def read() -> list[int]:
            return [1, 2]

        assert await history.record("c1", "read", None, read()) == [1, 2]
        assert one(history).result == (1, 2)

        task = asyncio.create_task(history.record("c2", "read", None, asyncio.sleep(60)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [operation.ending for operation in history] == ["ok", "info"]

    asyncio.run(main())


def test_record_that_is_refused_leaves_no_coroutine_behind() -> None:
    async def main() -> None:
        history = History()
        history.call("c1", "read")
        with pytest.raises(ValueError, match="under way"):
            await history.record("c1", "read", None, asyncio.sleep(0))

    asyncio.run(main())


def test_what_touches_overlaps() -> None:
    first, second = History.of([("a", "write", 1, None, 0, 2), ("b", "read", None, 0, 2, 3)])
    assert second.invoked < (first.returned or 0)


def test_a_history_is_written_and_read_again() -> None:
    history = History("bank")
    first = history.call("c1", "write", ("x", 1))
    with history.call("c2", "read", "x") as call:
        call.ok([1, {"k"}])
    first.info()
    with history.call("c1", "read", "x") as call:
        call.fail()
    history.call("c3", "read", "x")
    stored = json.dumps(history.to_json())
    again = History.from_json(stored, "bank")
    assert json.dumps(again.to_json()) == stored
    assert [o.ending for o in again] == ["info", "ok", "fail", "info"]
    assert [event["type"] for event in again.to_json()] == [
        *("invoke", "invoke", "ok", "info", "invoke", "fail", "invoke"),
    ]
    assert [event["index"] for event in again.to_json()] == list(range(7))


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([{"type": "invoke", "process": 1}], "event 0 of history: no field 'f'"),
        ([{"type": "maybe", "process": 1, "f": "r"}], "type 'maybe' must be invoke, ok, fail"),
        ([{"type": "ok", "process": 1, "f": "r"}], "ok of 'r' by 1, which has not invoked it"),
    ],
)
def test_a_damaged_history_names_its_event(events: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        History.from_json(events)


def test_the_history_is_part_of_what_toron_offers() -> None:
    assert toron.History is History
    assert toron.models.Register(0).initial == 0
