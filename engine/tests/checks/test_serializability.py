"""Elle's published examples get the same verdicts, and an anomaly is named and drawn.

From Elle (Kyle Kingsbury and Peter Alvaro, github.com/jepsen-io/elle: README.markdown,
test/elle/list_append_test.clj, test/elle/rw_register_test.clj), and from their paper (VLDB 2020).
Rewritten as data of ours in Elle's own shorthand: ``ax1`` appends 1 to x, ``rx12`` reads
x = [1, 2], ``wx1`` writes 1 to the register x, ``rx_`` reads its initial state. Where Elle judges a
whole family of models we have a few levels; what they forbid is compared by name.
"""

import re
from typing import Any

import pytest

from toron.checks.history import History
from toron.checks.models import BadHistory
from toron.checks.serializability import (
    FORBIDDEN,
    LEVELS,
    Serializability,
    check_serializable,
)

ACCESS = re.compile(r"([arw])([a-z])(_|\d*)")


def accesses(text: str, *, registers: bool) -> list[list[Any]]:
    found: list[list[Any]] = []
    for kind, key, value in ACCESS.findall(text):
        if kind == "a":
            found.append(["append", key, int(value)])
        elif registers:
            found.append([kind, key, None if value in ("", "_") else int(value)])
        else:
            found.append(["r", key, [int(digit) for digit in value]])
    return found


def history_of(*texts: str, in_turn: bool = False) -> History:
    """Transactions ``[client:][!|?]accesses``; ``!`` failed, ``?`` never ended.

    They all overlap, each by a client of its own, unless ``in_turn``.
    """
    registers = any("w" in text for text in texts)
    events: list[list[dict[str, Any]]] = []
    for number, text in enumerate(texts):
        client, _, body = text.rpartition(":")
        listed = accesses(body.lstrip("!?"), registers=registers)
        kind = {"!": "fail", "?": "info"}.get(body[0], "ok")
        one = {"process": client or f"c{number}", "f": "txn", "value": listed}
        events.append([{**one, "type": "invoke"}, {**one, "type": kind}])
    if in_turn:
        return History.from_json([event for pair in events for event in pair])
    begun, ended = zip(*events, strict=True)
    return History.from_json([*begun, *ended])


def judge(*texts: str, in_turn: bool = False, **options: Any) -> Serializability:
    return check_serializable(history_of(*texts, in_turn=in_turn), **options)


READ_COMMITTED = LEVELS[1:]
SKEW = LEVELS[2:]
WRITE_SKEW = tuple(level for level in SKEW if level != "snapshot-isolation")

LISTS: dict[str, tuple[list[str], list[str], tuple[str, ...]]] = {
    "the README's example": (["ax1ry1", "ax2ay1", "rx12"], ["G1c"], READ_COMMITTED),
    "G0": (["ax1ay1", "ax2ay2", "rx12ry21"], ["G0"], LEVELS),
    "G1a": (["!ax1", "rx1"], ["G1a"], READ_COMMITTED),
    "G1b": (["ax1ax2", "rx1"], ["G1b", "G-single"], READ_COMMITTED),
    "G1b, and who reads its own is not it": (["ax1rx1ax2"], [], ()),
    "G1c": (["ax1ry1", "ax2ay1", "rx12ry1"], ["G1c"], READ_COMMITTED),
    "G-single": (["ax1ay1", "ax2ry", "rx12"], ["G-single"], SKEW),
    "G-single by a read": (["ax1ay1", "rx1ry"], ["G-single"], SKEW),
    "G2-item": (["ax1ry", "ay1rx"], ["G2-item"], WRITE_SKEW),
    "repeatable read": (["rxay1", "ryax1"], ["G2-item"], WRITE_SKEW),
    "G-nonadjacent": (["ax1", "rx1ry", "ay1", "ry1rx"], ["G-nonadjacent"], SKEW),
    "G-nonadjacent of items": (
        ["ax1at1", "rx1ry", "ay1az2", "rz2rt"],
        ["G-nonadjacent"],
        SKEW,
    ),
    "lost update": (["ax0", "rx0ax1", "rx0ax2"], ["lost-update", "G2-item"], SKEW),
    "one transaction writes twice": (["rxax1ax2", "rx12"], [], ()),
    "dirty update": (["!ax1", "ax2", "rx12"], ["G1a", "dirty-update"], READ_COMMITTED),
    "indirect dirty update": (
        ["!ax1", "?ax2", "ax3", "rx123"],
        ["G1a", "dirty-update"],
        READ_COMMITTED,
    ),
    "a failed write that nobody saw": (["!ax1"], [], ()),
    "duplicate elements": (
        ["ax1ry1", "ax2ay1", "rx121"],
        ["duplicate-elements", "G1c"],
        LEVELS,
    ),
    "contradictory orders": (
        ["ax1ry1", "ax2", "ax3ay1", "rx13", "rx123"],
        ["incompatible-order", "G1c"],
        READ_COMMITTED,
    ),
    "future read": (["rx1ax1"], ["future-read"], READ_COMMITTED),
    "future read inside": (["ax1rx01ax0ax3"], ["future-read"], READ_COMMITTED),
    "serializable figure 3 of Adya": (["az1ax1ay1", "rx1ay2", "ry12az3", "rz13"], [], ()),
    "unobserved writes follow": (
        ["ax1ay1", "ax2ay2", "ax3ay3", "rx12", "ry2"],
        ["G0", "G-single"],
        LEVELS,
    ),
    "what a crashed transaction read says nothing": (["?ax2ry", "ax1ay1", "rx12ry1"], [], ()),
    "a crashed transaction that was seen happened as a whole": (
        ["?ax1ay1", "rx1ry", "ax2"],
        ["G-single"],
        SKEW,
    ),
    "G-nonadjacent, and beside it one that is allowed": (
        ["ax1", "rx1ry", "ay1", "ry1rx", "rzat1", "rtaz1"],
        ["G-nonadjacent", "G2-item"],
        SKEW,
    ),
    "G-nonadjacent, with a shorter way back that is allowed": (
        ["rxrz1ry1", "ryax1", "rx1rzru1", "ruaz1", "ay1", "au1"],
        ["G-nonadjacent", "G2-item"],
        SKEW,
    ),
    "a triangle of antidependencies is allowed by snapshots": (
        ["rxay1", "ryaz1", "rzax1"],
        ["G2-item"],
        WRITE_SKEW,
    ),
    "one append without reads": (["rx", "ax1"], [], ()),
    "a value of nobody": (["rx5"], ["garbage-read"], READ_COMMITTED),
}


@pytest.mark.parametrize("name", LISTS)
def test_elles_histories_of_lists_get_its_verdicts(name: str) -> None:
    texts, names, violated = LISTS[name]
    judged = judge(*texts)
    assert judged.anomaly_names == names
    assert tuple(judged.violated) == violated
    for level in LEVELS:
        assert bool(judge(*texts, level=level)) == (level not in violated)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rxrx2", "own accesses say []"),
        ("rx12ax3rx12", "own accesses say [1, 2, 3]"),
        ("rx12ax3rx023", "own accesses say [1, 2, 3]"),
        ("rx12ax3rx1", "own accesses say [1, 2, 3]"),
        ("ax3rx1234", "own accesses say [... 3]"),
    ],
)
def test_elles_internal_inconsistencies_are_found(text: str, expected: str) -> None:
    judged = judge(text, "ax0", "ax1", "ax2", "ax4")
    found = [anomaly for anomaly in judged.anomalies if anomaly.name == "internal"]
    assert len(found) == 1
    assert expected in found[0].text


def test_a_consistent_transaction_is_not_internal() -> None:
    judged = judge("ry56ax3rx123ax4rx1234", "ax1", "ax2", "ay5", "ay6")
    assert "internal" not in judged.anomaly_names


REGISTERS: dict[str, tuple[list[str], list[str], tuple[str, ...]]] = {
    "G0 cannot be seen": (["wx1wy2", "wx2wy1"], [], ()),
    "G1a": (["rx1", "!wx1"], ["G1a"], READ_COMMITTED),
    "G1b": (["wx1wx2", "rx1"], ["G1b"], READ_COMMITTED),
    "G1c": (["wx1ry1", "wy1rx1"], ["G1c"], READ_COMMITTED),
    "internal": (["wx1", "wx2", "rx1rx2"], ["internal"], SKEW),
    "initial state": (["rx_ry1", "wy1wx2"], ["G-single"], SKEW),
    "writes follow reads": (["wy1", "ry1wx1wy2", "rx1ry1"], ["G-single"], SKEW),
    "lost update": (["wx3", "rx3wx1", "rx3wx2"], ["lost-update", "G2-item"], SKEW),
    "a value of nobody": (["rx5"], ["garbage-read"], READ_COMMITTED),
}


@pytest.mark.parametrize("name", REGISTERS)
def test_elles_histories_of_registers_get_its_verdicts(name: str) -> None:
    texts, names, violated = REGISTERS[name]
    judged = judge(*texts)
    assert judged.anomaly_names == names
    assert tuple(judged.violated) == violated


def test_the_version_order_of_registers_may_be_taken_from_time() -> None:
    texts = ["a:wx1wy2", "b:wx2wy1", "a:rx2", "b:ry2"]
    assert judge(*texts, in_turn=True)
    history = history_of(*texts, in_turn=True)
    # the two writers overlap, and each client reads afterwards
    assert check_serializable(history, version_order="realtime").anomaly_names == [
        "cyclic-versions",
    ]
    overlapping = History.from_json(
        [
            *({"type": "invoke", "process": p, "f": "txn", "value": v} for p, v in _WRITES),
            *({"type": "ok", "process": p, "f": "txn", "value": v} for p, v in _WRITES),
            *(
                event
                for p, v in _READS
                for event in (
                    {"type": "invoke", "process": p, "f": "txn", "value": v},
                    {"type": "ok", "process": p, "f": "txn", "value": v},
                )
            ),
        ]
    )
    for order in ("process", "realtime"):
        judged = check_serializable(overlapping, version_order=order)  # type: ignore[arg-type]
        assert judged.anomaly_names == ["G0"]


_WRITES = [("a", [["w", "x", 1], ["w", "y", 2]]), ("b", [["w", "x", 2], ["w", "y", 1]])]
_READS = [("a", [["r", "x", 2]]), ("b", [["r", "y", 2]])]


def test_a_version_order_that_contradicts_itself_is_an_anomaly() -> None:
    judged = judge("a:wx1", "a:wx2", "a:rx1", in_turn=True, version_order="process")
    assert judged.anomaly_names == ["cyclic-versions"]
    assert tuple(judged.violated) == LEVELS


def test_real_time_is_asked_for_by_the_strict_level_alone() -> None:
    texts = ["a:ax1", "b:ax2", "c:rx1", "d:rx12"]
    judged = judge(*texts, in_turn=True)
    assert judged.verdict == "pass"
    assert judged.anomaly_names == ["G-single-realtime"]
    assert judged.violated == ["strict-serializable"]
    assert not judge(*texts, in_turn=True, level="strict-serializable")


def test_the_order_of_a_client_is_asked_for_by_the_session_level() -> None:
    texts = ["a:ax1", "b:ax2", "b:rx1", "c:rx12"]
    judged = judge(*texts, in_turn=True)
    assert judged.anomaly_names == ["G-single-process"]
    assert judged.violated == ["strong-session-serializable", "strict-serializable"]


def test_a_write_that_is_read_before_its_client_made_it_breaks_the_session() -> None:
    judged = judge("a:rx1ay1", "b:ry1", "b:ax1", in_turn=True)
    assert judged.anomaly_names == ["G1c-process"]


def test_nonadjacent_antidependencies_may_need_the_order_of_a_client() -> None:
    judged = judge("a:rxrz1", "b:ax1", "b:rz", "c:az1", in_turn=True)
    assert judged.anomaly_names == ["G-nonadjacent-process"]


def test_an_anomaly_is_named_and_drawn() -> None:
    judged = judge("ax1ay1", "ax2ry", "rx12")
    assert judged.explanation.splitlines() == [
        "history is not serializable: 1 G-single",
        "G-single: (read skew) T1 -rw 'y'-> T2 -ww 'x'-> T1",
        "    T1 = c1: append x 2, read y = []  [event 1 .. 4]",
        "    T2 = c0: append x 1, append y 1  [event 0 .. 3]",
        "    T1 before T2: T1 read 'y' = [], and T2 wrote 1 after it",
        "    T2 before T1: T2 wrote 1 to 'x', and T1 wrote 2 after it",
        "this rules out repeatable-read, snapshot-isolation, serializable, "
        "strong-session-serializable, strict-serializable",
    ]
    (anomaly,) = judged.anomalies
    assert [edge.kind for edge in anomaly.cycle] == ["rw", "ww"]
    assert "T1 -> T2 [label=\"rw 'y'\"];" in anomaly.dot
    assert anomaly.dot.startswith('digraph "G-single" {')
    assert anomaly.dot.endswith("}")


def test_a_search_for_cycles_that_does_not_end_is_unknown_and_no_pass() -> None:
    judged = judge("ax1ry", "ay1rx", steps_max=0)
    assert (judged.verdict, bool(judged)) == ("unknown", False)
    assert "could not be judged (serializable)" in judged.explanation


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["ax1", "ax1"], "1 is written to 'x' twice"),
        (["wx1", "ax1"], "appends to lists or writes registers, and not both"),
    ],
)
def test_what_cannot_be_inferred_from_is_refused(texts: list[str], message: str) -> None:
    with pytest.raises(BadHistory, match=message):
        judge(*texts)


def test_a_history_of_reads_alone_is_of_what_they_read() -> None:
    for value, name in [([1], "garbage-read"), (1, "garbage-read"), (None, "")]:
        history = History()
        history.call("c", "txn", [["r", "k", None]]).ok([["r", "k", value]])
        assert check_serializable(history).anomaly_names == ([name] if name else [])


def test_a_list_that_is_read_as_something_else_is_refused() -> None:
    history = History()
    history.call("c", "txn").ok([["append", "k", 1], ["r", "k", 1]])
    with pytest.raises(BadHistory, match=r"'k' is a list, and was read as 1"):
        check_serializable(history)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (None, "the result of a transaction is a list of accesses"),
        ([["x", "k", 1]], r"\('x', 'k', 1\) is no access"),
        ([["append", "k"]], "is no access"),
    ],
)
def test_what_is_no_transaction_is_named(result: Any, message: str) -> None:
    history = History()
    history.call("c", "txn", result).ok(result)
    with pytest.raises(BadHistory, match=message):
        check_serializable(history)


def test_an_unknown_level_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadHistory, match="must be one of read-uncommitted, read-committed"):
        judge("ax1", level="acid")


def test_a_stronger_level_forbids_all_that_a_weaker_one_does() -> None:
    for weaker, stronger in [
        ("read-uncommitted", "read-committed"),
        ("read-committed", "repeatable-read"),
        ("read-committed", "snapshot-isolation"),
        ("repeatable-read", "serializable"),
        ("snapshot-isolation", "serializable"),
        ("serializable", "strong-session-serializable"),
        ("strong-session-serializable", "strict-serializable"),
    ]:
        assert set(FORBIDDEN[weaker]) <= set(FORBIDDEN[stronger])  # type: ignore[index]
