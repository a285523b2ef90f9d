"""Checks the whole audit log of a store, a page at a time."""

from collections.abc import Mapping

from testops.access.audit import Signer, Verified, Verifier
from testops.access.ports import AuditStore
from testops.domain.errors import BadInput

_PAGE = 1000
_HASH_LENGTH = 64


def verify(
    store: AuditStore, signer: Signer, *, expected: Mapping[int, str] | None = None
) -> Verified:
    """What is wrong with the log; `expected` are hashes of rows that were noted elsewhere.

    Rows may be appended meanwhile: the last page and the head beside it are of one moment.
    """
    verifier = Verifier(signer, expected=expected)
    after = 0
    while True:
        rows, head = store.page(after=after, limit=_PAGE)
        verifier.read(rows)
        if len(rows) < _PAGE:
            return verifier.done(head)
        after = rows[-1].seq


def noted_head(text: str) -> tuple[int, str]:
    """The place and hash that `testops audit verify` printed as `SEQ:HASH`."""
    seq, _, row_hash = text.partition(":")
    if not seq.isdigit() or len(row_hash) != _HASH_LENGTH:
        raise BadInput(f"{text!r} is no head", where="--expect", fix="write it as SEQ:HASH")
    return int(seq), row_hash
