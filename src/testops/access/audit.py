"""The audit log: what one row says, how rows are chained, and what a check of the chain can tell.

Each row carries the SHA-256 of its canonical JSON (RFC 8785) with the hash of the row before in it,
so a row that is changed, removed, inserted or moved breaks the chain at its place. The end of a
chain has nothing after it: the *head* (the newest number and hash) is kept beside the rows and
signed with a key that is not in the database.

Whoever appends looks at that signature first. A head that is not ours was written by somebody
else, or before the key was changed; the log goes on, behind a row that says so and that nobody can
take out again. Otherwise the next row would sign what a forger left.

What that cannot find: somebody with both the database and the signing key can write another
history, and without a signing key the database alone is enough. A log that is put back to an older
state with the head of that time, or emptied with its head, is consistent; only a head that was
noted elsewhere (`testops audit verify --expect`) finds it. And the log says what TestOps did, not
what was done to the machine behind its back.
"""

import hashlib
import hmac
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import rfc8785

from testops.domain.access import Principal, timestamp

GENESIS = "0" * 64
RESUMED = "audit.resumed"
TEXT_LENGTH_MAX = 200
DETAIL_COUNT_MAX = 16
FINDINGS_MAX = 20
SIGNING_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Entry:
    """What happened, before it has a place in the log."""

    at: str
    actor_kind: str
    actor_id: str
    actor_name: str
    action: str
    target: str = ""
    workspace: str = ""
    outcome: str = "done"
    client: str = ""
    detail: Mapping[str, str | int | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """An entry in its place: the `seq`-th, after the row whose hash is `previous`."""

    seq: int
    entry: Entry
    previous: str
    hash: str

    def to_json(self) -> dict[str, Any]:
        return {**_body(self.seq, self.entry, self.previous), "hash": self.hash}


@dataclass(frozen=True, slots=True)
class Head:
    """The newest row. `signature` is empty when no signing key was configured."""

    seq: int
    hash: str
    signature: str
    signer: str

    def text(self) -> str:
        return f"{self.seq}:{self.hash}"


NOTHING = Head(0, GENESIS, "", "")


def entry_of(
    principal: Principal | None,
    action: str,
    at: datetime,
    *,
    target: str = "",
    workspace: str = "",
    outcome: str = "done",
    client: str = "",
    detail: Mapping[str, str | int | bool] | None = None,
) -> Entry:
    """What `principal` (None: nobody known) did; text from outside is cut and made harmless."""
    return Entry(
        at=timestamp(at),
        actor_kind="nobody" if principal is None else principal.kind,
        actor_id="" if principal is None else clean(principal.id),
        actor_name="" if principal is None else clean(principal.name),
        action=clean(action),
        target=clean(target),
        workspace=clean(workspace),
        outcome=outcome,
        client=clean(client),
        detail=_clean_detail(detail or {}),
    )


def clean(text: str) -> str:
    """`text` as the log keeps it: one line, of bounded length, that any database can store.

    Control characters would let a caller forge lines on an auditor's terminal, and PostgreSQL
    has no NUL. What stands for them says that something stood there.
    """
    if len(text) <= TEXT_LENGTH_MAX and text.isprintable():
        return text
    safe = "".join(
        "�" if unicodedata.category(char) in {"Cc", "Cs", "Cf"} else char
        for char in text[:TEXT_LENGTH_MAX]
    )
    return safe + "…" if len(text) > TEXT_LENGTH_MAX else safe


def _clean_detail(
    detail: Mapping[str, str | int | bool],
) -> dict[str, str | int | bool]:
    kept = list(detail.items())[:DETAIL_COUNT_MAX]
    return {clean(name): clean(value) if isinstance(value, str) else value for name, value in kept}


def _body(seq: int, entry: Entry, previous: str) -> dict[str, Any]:
    return {
        "seq": seq,
        "at": entry.at,
        "actor": {"kind": entry.actor_kind, "id": entry.actor_id, "name": entry.actor_name},
        "action": entry.action,
        "target": entry.target,
        "workspace": entry.workspace,
        "outcome": entry.outcome,
        "client": entry.client,
        "detail": dict(entry.detail),
        "previous": previous,
    }


def hash_of(seq: int, entry: Entry, previous: str) -> str:
    """The hash of a row, over everything in it and the hash of the row before."""
    return hashlib.sha256(rfc8785.dumps(_body(seq, entry, previous))).hexdigest()


def link(entry: Entry, after: Head) -> Row:
    """The row that `entry` becomes after the newest one."""
    seq = after.seq + 1
    return Row(seq, entry, after.hash, hash_of(seq, entry, after.hash))


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs heads; `key` None leaves them unsigned."""

    key: bytes | None

    @property
    def name(self) -> str:
        """Which key this is, without telling it."""
        return "" if self.key is None else hashlib.sha256(b"name" + self.key).hexdigest()[:16]

    def head(self, row: Row) -> Head:
        return Head(row.seq, row.hash, self._signature(row.seq, row.hash), self.name)

    def knows(self, head: Head) -> bool:
        """Whether `head` carries the signature of this key."""
        expected = self._signature(head.seq, head.hash)
        return bool(expected) and hmac.compare_digest(expected.encode(), head.signature.encode())

    def trusts(self, head: Head) -> bool:
        """Whether a row may follow `head` as if nothing had happened."""
        if head.seq == 0:
            return True
        return self.knows(head) if self.key is not None else not head.signature

    def _signature(self, seq: int, row_hash: str) -> str:
        if self.key is None:
            return ""
        said = f"testops audit head\n{seq}\n{row_hash}".encode()
        return hmac.new(self.key, said, hashlib.sha256).hexdigest()


def resumption(head: Head, signer: Signer, *, at: str) -> Entry:
    """What is noted before the log goes on behind a head that is not ours."""
    if not head.signature:
        why = "the head was not signed"
    elif head.signer == signer.name:
        why = "the signature of the head was wrong"
    else:
        why = "the head was signed with another key"
    detail = {"why": why, "signer_before": clean(head.signer), "signer": signer.name}
    return Entry(at, "testops", "", "testops", RESUMED, outcome="noted", detail=detail)


@dataclass(frozen=True, slots=True)
class Verified:
    """What a check of the whole log found; nothing is the good answer."""

    count: int
    head: Head
    findings: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return not self.findings

    def to_json(self) -> dict[str, Any]:
        return {
            "holds": self.holds,
            "count": self.count,
            "head": self.head.text(),
            "signed": bool(self.head.signature),
            "findings": list(self.findings),
            "remarks": list(self.remarks),
        }


class Verifier:
    """Reads the rows in order, once, and remembers no more than the last one."""

    def __init__(self, signer: Signer, *, expected: Mapping[int, str] | None = None) -> None:
        self._signer = signer
        self._expected = dict(expected or {})
        self._confirmed = 0
        self._resumed: list[Row] = []
        self._findings: list[str] = []
        self._last = NOTHING
        self._count = 0

    def read(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._read(row)

    def _read(self, row: Row) -> None:
        last = self._last
        if row.seq != last.seq + 1:
            self._found(f"{_rows(last.seq + 1, row.seq - 1)} missing")
        elif row.previous != last.hash:
            self._found(f"row {row.seq} does not follow row {last.seq}: one of them was replaced")
        if not _same(row):
            self._found(f"row {row.seq} was changed: its content does not have its hash")
        noted = self._expected.pop(row.seq, None)
        if noted is not None:
            self._confirm(row, noted)
        if row.entry.action == RESUMED and len(self._resumed) < FINDINGS_MAX:
            self._resumed.append(row)
        self._last = Head(row.seq, row.hash, "", "")
        self._count += 1

    def _confirm(self, row: Row, noted: str) -> None:
        if noted == row.hash:
            self._confirmed = row.seq
        else:
            self._found(f"row {row.seq} is not the one that was noted elsewhere")

    def done(self, head: Head | None) -> Verified:
        """The answer, once every row has been read."""
        self._judge_end(head or NOTHING)
        for row in self._resumed:
            # Whoever noted a later head had seen this and found it right.
            if row.seq - 1 > self._confirmed:
                why = row.entry.detail.get("why", "")
                self._found(
                    f"rows may be missing before row {row.seq}: {why} (if you changed the key "
                    f"then, note the head below, and give it with --expect)"
                )
        for seq in self._expected:
            self._found(
                f"row {seq} was noted elsewhere and is missing: the log was cut or put back"
            )
        return Verified(
            self._count, head or NOTHING, tuple(self._findings), self._remarks(head or NOTHING)
        )

    def _judge_end(self, head: Head) -> None:
        last = self._last
        if head.seq > last.seq:
            self._found(f"{_rows(last.seq + 1, head.seq)} missing at the end")
        elif head.seq < last.seq:
            self._found(f"{_rows(head.seq + 1, last.seq)} added behind the head")
        elif head.hash != last.hash:
            self._found(f"row {last.seq} is not the one that the head names")
        if self._signer.key is None or self._signer.trusts(head):
            return
        if not head.signature:
            self._found("the head is not signed, although there is a signing key here")
        elif head.signer == self._signer.name:
            self._found("the signature of the head is wrong: it was not written by TestOps")
        else:
            self._found(f"the head is signed with the key {clean(head.signer)}, not with ours")

    def _remarks(self, head: Head) -> tuple[str, ...]:
        if head.signature and self._signer.key is None:
            return (
                f"the head is signed with the key {clean(head.signer)}, which is not here: "
                "whether its end was cut is not known",
            )
        if not head.signature:
            return (
                "the head is not signed: whoever can write the database can rewrite the log "
                "(set TESTOPS_AUDIT_KEY)",
            )
        return ("a log put back as a whole is found only with --expect and a noted head",)

    def _found(self, what: str) -> None:
        if len(self._findings) < FINDINGS_MAX:
            self._findings.append(what)


def _same(row: Row) -> bool:
    try:
        return hash_of(row.seq, row.entry, row.previous) == row.hash
    except (rfc8785.CanonicalizationError, ValueError):
        # What was planted cannot even be written canonically.
        return False


def _rows(first: int, last: int) -> str:
    if last < first:
        return f"the order is wrong at row {first}; a row is"
    return f"row {first} is" if first == last else f"rows {first} to {last} are"
