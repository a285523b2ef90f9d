"""Rows of bundles and reviews as values, and what is written in the transaction of a stage result.

A bundle is registered, and a review opened, together with the result that they come from: whoever
is killed has either left all of it or nothing, and writing it again changes nothing.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from testops.domain.bundle_key import BundleKey
from testops.domain.review import Review, ReviewState
from testops.domain.review_record import review_from_json
from testops.domain.snapshot import (
    Baseline,
    KeptBundle,
    KeptReview,
    Mark,
    NewBundle,
    Standing,
)
from testops.storage.database import Database, Moment
from testops.storage.run_rows import text_of
from testops.storage.snapshot_tables import baseline, bundle, bundle_run, review
from testops.storage.tables import workspace

OPEN = (ReviewState.PENDING.value, ReviewState.REJECTED.value)
RUNS_SHOWN_MAX = 20


def key_of(row: Any) -> BundleKey:
    """The key of a row of any table that has one."""
    return BundleKey(row.suite, row.profile, row.engine_version, row.python)


def of_key(table: sa.Table, key: BundleKey) -> Sequence[sa.ColumnElement[bool]]:
    """The conditions that choose the rows of `key`."""
    return [table.c[name] == value for name, value in key.to_json().items()]


def in_workspaces(
    column: sa.ColumnElement[str], workspaces: frozenset[str] | None
) -> Sequence[sa.ColumnElement[bool]]:
    """The conditions that choose what those workspaces have; None is every one."""
    return [] if workspaces is None else [column.in_(sorted(workspaces))]


# --- bundles ------------------------------------------------------------------------------------


def register(
    connection: sa.Connection,
    database: Database,
    new: NewBundle,
    *,
    workspace: str,
    left_by: tuple[str, int],
) -> None:
    """Keep a bundle, and which attempt left it; the same content again is the same bundle."""
    insert = sqlite.insert if database.is_sqlite else postgresql.insert
    moment = database.moment(connection)
    run_id, attempt = left_by
    connection.execute(
        insert(bundle)
        .values(
            workspace=workspace,
            identity=new.identity,
            **new.key.to_json(),
            sim_seed=str(new.sim_seed),
            chaos_seed=str(new.chaos_seed),
            masks_version=new.masks_version,
            sha256=new.sha256,
            size=new.size,
            provenance=text_of(new.provenance),
            request=text_of(new.request),
            version=1,
            created_ms=moment.ms,
            created_at=moment.text,
        )
        .on_conflict_do_nothing()
    )
    connection.execute(
        insert(bundle_run)
        .values(
            run_id=run_id,
            attempt=attempt,
            workspace=workspace,
            identity=new.identity,
            at_ms=moment.ms,
        )
        .on_conflict_do_update(
            index_elements=[bundle_run.c.run_id, bundle_run.c.attempt],
            set_={"identity": new.identity},
        )
    )


def bundle_of(connection: sa.Connection, row: Any) -> KeptBundle:
    """The bundle of a row, with the runs that left it and what it is to its key."""
    runs = (
        sa.select(bundle_run.c.run_id)
        .where(bundle_run.c.workspace == row.workspace, bundle_run.c.identity == row.identity)
        .group_by(bundle_run.c.run_id)
        .order_by(sa.func.max(bundle_run.c.at_ms).desc(), bundle_run.c.run_id)
        .limit(RUNS_SHOWN_MAX)
    )
    return KeptBundle(
        workspace=row.workspace,
        bundle=NewBundle(
            identity=row.identity,
            key=key_of(row),
            sim_seed=int(row.sim_seed),
            chaos_seed=int(row.chaos_seed),
            masks_version=row.masks_version,
            sha256=row.sha256,
            size=row.size,
            provenance=json.loads(row.provenance),
            request=json.loads(row.request),
        ),
        created_ms=row.created_ms,
        created_at=row.created_at,
        captured=_mark(row.captured),
        pinned=_mark(row.pinned),
        baseline=_baseline_word(connection, row),
        version=row.version,
        runs=list(connection.execute(runs).scalars()),
    )


def _mark(said: str | None) -> Mark | None:
    return None if said is None else Mark(**json.loads(said))


def _baseline_word(connection: sa.Connection, row: Any) -> str | None:
    current = current_baseline(connection, row.workspace, key_of(row))
    if current is not None and current.identity == row.identity:
        return "current"
    was = sa.select(baseline.c.number).where(
        baseline.c.workspace == row.workspace, baseline.c.identity == row.identity
    )
    return None if connection.execute(was.limit(1)).first() is None else "former"


# --- baselines ----------------------------------------------------------------------------------


def current_baseline(connection: sa.Connection, workspace: str, key: BundleKey) -> Baseline | None:
    """What is approved for `key`, without its history."""
    wanted = (
        sa.select(baseline)
        .where(baseline.c.workspace == workspace, *of_key(baseline, key))
        .order_by(baseline.c.number.desc())
        .limit(1)
    )
    row = connection.execute(wanted).first()
    return None if row is None else baseline_of(row)


def baseline_of(row: Any, history: Sequence[Baseline] = ()) -> Baseline:
    """What was approved, by a row."""
    return Baseline(
        workspace=row.workspace,
        key=key_of(row),
        number=row.number,
        identity=row.identity,
        approvals=json.loads(row.approvals),
        at=row.at,
        provenance=json.loads(row.provenance),
        history=history,
    )


# --- reviews ------------------------------------------------------------------------------------


def review_id_of(workspace: str, base: str | None, number: int, target: str) -> str:
    """One change is one review, however many runs show it.

    `number` is that of the approval which made `base` the baseline, 0 where the server has none:
    what was accepted once is looked at again after somebody has gone back.
    """
    said = f"{workspace}\0{base or ''}\0{number}\0{target}"
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def standing_of(connection: sa.Connection, kept: KeptBundle) -> Standing:
    """What an approval of the bundle would meet."""
    workspace, identity = kept.workspace, kept.identity
    current = current_baseline(connection, workspace, kept.bundle.key)
    if current is None or current.identity == identity:
        # What a run has compared with is then a baseline of the project's own; and of the baseline
        # itself, what it was approved against is shown.
        wanted = (
            sa.select(review)
            .where(review.c.workspace == workspace, review.c.target == identity)
            .order_by(review.c.created_ms.desc(), review.c.review_id)
            .limit(1)
        )
        row = connection.execute(wanted).first()
        base = None if row is None else row.base or None
        number = 0 if current is None else current.number
    else:
        base, number = current.identity, current.number
        review_id = review_id_of(workspace, base, number, identity)
        row = review_row(connection, review_id, lock=False)
    return Standing(
        base=base,
        baseline_number=number,
        review=None if row is None else review_of(row),
    )


def approvals_required(connection: sa.Connection, name: str) -> int:
    """How many different people must approve a baseline there."""
    wanted = sa.select(workspace.c.approvals_required).where(workspace.c.name == name)
    return connection.execute(wanted).scalar() or 1


def open_review(
    connection: sa.Connection,
    database: Database,
    new: Review,
    *,
    workspace: str,
    cause: str | None = None,
) -> KeptReview:
    """The review of that change: the one that there is, or `new`.

    A new one takes over what was decided about the very same behaviour against that baseline.
    """
    current = current_baseline(connection, workspace, new.key)
    number = current.number if current is not None and current.identity == new.base else 0
    review_id = review_id_of(workspace, new.base, number, new.target)
    known = review_row(connection, review_id, lock=True)
    if known is not None:
        kept = review_of(known)
        again = kept.review
        if again.state is ReviewState.SUPERSEDED:
            again = again.reopened()
        if again.is_open and new.groups:
            # Another run may have told a regression from nondeterminism; what is decided holds.
            again = again.renewed(new.requiring(again.approvals_required))
        return save_review(connection, kept, again) if again != kept.review else kept
    required = approvals_required(connection, workspace)
    made = new.requiring(required)
    for former in _of_same_base(connection, workspace, new):
        made = made.carried_from(former)
    moment = database.moment(connection)
    insert = sqlite.insert if database.is_sqlite else postgresql.insert
    connection.execute(
        insert(review)
        .values(
            review_id=review_id,
            workspace=workspace,
            target=made.target,
            base=made.base or "",
            **made.key.to_json(),
            state=made.state.value,
            body=text_of(made.to_json()),
            cause=cause,
            version=1,
            created_ms=moment.ms,
        )
        # Another runner may have opened it meanwhile; then it is that one.
        .on_conflict_do_nothing()
    )
    row = review_row(connection, review_id, lock=False)
    assert row is not None
    return review_of(row)


def _of_same_base(connection: sa.Connection, workspace: str, new: Review) -> Sequence[Review]:
    """Earlier reviews against the same baseline, oldest first."""
    wanted = (
        sa.select(review.c.body)
        .where(review.c.workspace == workspace, review.c.base == (new.base or ""))
        .order_by(review.c.created_ms, review.c.review_id)
    )
    if new.base is None:
        return []
    return [review_from_json(json.loads(body)) for body in connection.execute(wanted).scalars()]


def review_row(connection: sa.Connection, review_id: str, *, lock: bool) -> Any:
    """The row of a review, or None; locked against others who change it."""
    wanted = sa.select(review).where(review.c.review_id == review_id)
    return connection.execute(wanted.with_for_update() if lock else wanted).first()


def review_of(row: Any) -> KeptReview:
    """The review of a row."""
    return KeptReview(
        review_id=row.review_id,
        workspace=row.workspace,
        review=review_from_json(json.loads(row.body)),
        cause=row.cause,
        version=row.version,
        created_ms=row.created_ms,
        created_at=Moment(row.created_ms).text,
    )


def save_review(connection: sa.Connection, kept: KeptReview, changed: Review) -> KeptReview:
    """Write a transition; whoever holds the row's lock, or SQLite's, has read it just now."""
    connection.execute(
        sa.update(review)
        .where(review.c.review_id == kept.review_id, review.c.version == kept.version)
        .values(
            body=text_of(changed.to_json()),
            state=changed.state.value,
            version=kept.version + 1,
        )
    )
    row = review_row(connection, kept.review_id, lock=False)
    return review_of(row)
