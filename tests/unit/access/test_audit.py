"""What a reader of the chain can tell, on rows that are only values."""

from dataclasses import replace

import pytest
from tests.support.access import LOCAL, SIGNING_KEY, ManualClock

from testops.access.audit import (
    GENESIS,
    NOTHING,
    Entry,
    Row,
    Signer,
    Verified,
    Verifier,
    clean,
    entry_of,
    link,
    resumption,
)

SIGNER = Signer(SIGNING_KEY)


def chain(count: int) -> list[Row]:
    rows: list[Row] = []
    for number in range(count):
        after = SIGNER.head(rows[-1]) if rows else NOTHING
        entry = Entry(f"2026-01-02T03:04:{number:02d}.000Z", "key", "1", "ci", f"act.{number}")
        rows.append(link(entry, after))
    return rows


def forged(rows: list[Row]) -> list[Row]:
    """The same contents, chained anew by somebody who knows how."""
    again: list[Row] = []
    for row in rows:
        after = Signer(None).head(again[-1]) if again else NOTHING
        again.append(link(row.entry, after))
    return again


def verified(
    rows: list[Row],
    *,
    of: list[Row] | None = None,
    signer: Signer = SIGNER,
    expected: dict[int, str] | None = None,
) -> Verified:
    """What is found in `rows` beside the head that was written for `of`."""
    verifier = Verifier(signer, expected=expected)
    verifier.read(rows)
    return verifier.done(SIGNER.head((of or rows)[-1]))


def test_an_untouched_chain_holds() -> None:
    rows = chain(10)
    found = verified(rows)
    assert (found.holds, found.count, found.findings) == (True, 10, ())
    assert rows[0].previous == GENESIS


def test_an_empty_log_holds() -> None:
    assert Verifier(SIGNER).done(None).holds


def test_a_changed_row_is_named() -> None:
    rows = chain(10)
    rows[4] = replace(rows[4], entry=replace(rows[4].entry, actor_name="somebody else"))
    assert verified(rows).findings == ("row 5 was changed: its content does not have its hash",)


def test_a_changed_row_with_a_hash_of_its_own_breaks_the_next() -> None:
    rows = chain(10)
    other = replace(rows[4].entry, outcome="refused")
    rows[4] = link(other, SIGNER.head(rows[3]))
    assert verified(rows, of=chain(10)).findings == (
        "row 6 does not follow row 5: one of them was replaced",
    )


def test_a_removed_row_is_missing() -> None:
    rows = chain(10)
    removed = rows[:4] + rows[5:]
    assert verified(removed, of=rows).findings == ("row 5 is missing",)
    assert verified(rows[:2] + rows[5:], of=rows).findings == ("rows 3 to 5 are missing",)
    assert verified(rows[3:], of=rows).findings == ("rows 1 to 3 are missing",)


def test_an_inserted_row_does_not_fit() -> None:
    rows = chain(10)
    planted = link(Entry("2026-01-02T03:04:05.000Z", "key", "1", "ci", "x"), SIGNER.head(rows[3]))
    moved = [replace(row, seq=row.seq + 1) for row in rows[4:]]
    found = verified([*rows[:4], planted, *moved], of=rows)
    assert not found.holds
    assert "row 6 does not follow row 5: one of them was replaced" in found.findings
    twice = verified([*rows[:5], planted, *rows[5:]], of=rows)
    assert not twice.holds


def test_rows_in_another_order_do_not_fit() -> None:
    rows = chain(4)
    swapped = [rows[0], replace(rows[2], seq=2), replace(rows[1], seq=3), rows[3]]
    assert not verified(swapped, of=rows).holds


def test_a_cut_end_is_seen_by_the_head() -> None:
    rows = chain(10)
    assert verified(rows[:7], of=rows).findings == ("rows 8 to 10 are missing at the end",)
    assert verified([], of=rows).findings == ("rows 1 to 10 are missing at the end",)


def test_a_head_that_was_cut_as_well_has_not_our_signature() -> None:
    rows = chain(10)[:7]
    verifier = Verifier(SIGNER)
    verifier.read(rows)
    forged_head = replace(SIGNER.head(chain(10)[-1]), seq=7, hash=rows[-1].hash)
    assert verifier.done(forged_head).findings == (
        "the signature of the head is wrong: it was not written by TestOps",
    )
    unsigned = replace(forged_head, signature="", signer="")
    assert verifier.done(unsigned).findings[-1] == (
        "the head is not signed, although there is a signing key here"
    )


def test_a_history_that_was_rewritten_whole_has_not_our_signature() -> None:
    rows = chain(10)
    rows[2] = replace(rows[2], entry=replace(rows[2].entry, action="nothing"))
    again = forged(rows)
    verifier = Verifier(SIGNER)
    verifier.read(again)
    old = SIGNER.head(chain(10)[-1])
    assert not verifier.done(replace(old, hash=again[-1].hash)).holds


def test_rows_behind_the_head_were_added_by_somebody_else() -> None:
    rows = chain(10)
    assert verified(rows, of=rows[:8]).findings == ("rows 9 to 10 are added behind the head",)


def test_without_a_signing_key_the_answer_says_what_it_does_not_know() -> None:
    rows = chain(3)
    unsigned = Verifier(Signer(None))
    unsigned.read(rows)
    found = unsigned.done(Signer(None).head(rows[-1]))
    assert found.holds
    assert "can rewrite the log" in found.remarks[0]
    keyless = verified(rows, signer=Signer(None))
    assert keyless.holds
    assert "which is not here" in keyless.remarks[0]


def test_a_head_signed_with_another_key_is_found() -> None:
    rows = chain(3)
    found = verified(rows, signer=Signer(b"another" * 8))
    assert found.findings == (f"the head is signed with the key {SIGNER.name}, not with ours",)


def test_a_log_that_went_on_behind_a_strange_head_says_so_until_somebody_confirms_it() -> None:
    rows = chain(3)
    strange = replace(SIGNER.head(rows[-1]), signature="0" * 64)
    rows.append(link(resumption(strange, SIGNER, at="2026-01-02T03:04:05.000Z"), strange))
    rows.append(link(rows[0].entry, SIGNER.head(rows[-1])))
    [finding] = verified(rows).findings
    assert finding.startswith("rows may be missing before row 4: the signature of the head was")
    assert not verified(rows, expected={2: rows[1].hash}).holds
    assert verified(rows, expected={3: rows[2].hash}).holds
    assert verified(rows, expected={5: rows[4].hash}).holds


def test_a_log_put_back_as_a_whole_is_found_by_a_noted_head_only() -> None:
    rows = chain(10)
    noted = {10: rows[-1].hash}
    assert verified(rows, expected=noted).holds
    put_back = rows[:6]
    assert verified(put_back).holds
    assert verified(put_back, expected=noted).findings == (
        "row 10 was noted elsewhere and is missing: the log was cut or put back",
    )
    other = forged([*rows[:9], replace(rows[9], entry=replace(rows[9].entry, action="x"))])
    assert "not the one that was noted" in verified(other, expected=noted).findings[0]


def test_a_thousand_broken_rows_are_not_a_thousand_findings() -> None:
    rows = [replace(row, hash="0" * 64) for row in chain(50)] * 20
    assert len(verified(rows, of=rows).findings) == 20


@pytest.mark.parametrize("text", ["line\nline", "nul\0", "esc\x1b[31m", "\ud800", "\u202etxt.exe"])
def test_text_from_outside_cannot_forge_a_line_or_break_a_database(text: str) -> None:
    kept = clean(text)
    assert kept.isprintable()
    assert "\N{REPLACEMENT CHARACTER}" in kept
    kept.encode("utf-8")


def test_text_from_outside_is_cut() -> None:
    entry = entry_of(
        LOCAL, "act", ManualClock().now(), target="x" * 5000,
        detail={str(number): "y" * 5000 for number in range(100)},
    )  # fmt: skip
    assert len(entry.target) == 201
    assert len(entry.detail) == 16
    assert all(len(str(value)) == 201 for value in entry.detail.values())


def test_a_key_of_the_signer_is_named_and_not_told() -> None:
    assert SIGNER.name
    assert SIGNER.name not in SIGNING_KEY.hex()
    assert Signer(None).name == ""
