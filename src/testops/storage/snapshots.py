"""The bundles of a server, their reviews and their baselines, as the API reads and changes them.

Whoever changes something says which state they have seen; where it is another by now, `Outdated` is
raised and nothing is written. Of two who approve for one key at once, one wins.
"""

from collections.abc import Callable, Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from testops.domain.bundle_key import BundleKey
from testops.domain.review import Decision, Review, ReviewState
from testops.domain.snapshot import (
    Baseline,
    BundleFilter,
    KeptBundle,
    KeptReview,
    Mark,
    Outdated,
    Standing,
)
from testops.storage.database import Database
from testops.storage.run_rows import text_of
from testops.storage.snapshot_rows import (
    OPEN,
    approvals_required,
    baseline_of,
    bundle_of,
    in_workspaces,
    of_key,
    open_review,
    review_of,
    review_row,
    save_review,
    standing_of,
)
from testops.storage.snapshot_tables import baseline, bundle, bundle_run, review
from testops.storage.tables import run

Place = tuple[int, str]
MARKS = ("captured", "pinned")


class SnapshotStore:
    """Bundles, reviews and baselines by SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- bundles --------------------------------------------------------------------------------

    def get(self, identity: str, workspaces: frozenset[str] | None) -> Sequence[KeptBundle]:
        """The bundle in each of those workspaces that has it, by name."""
        wanted = (
            sa.select(bundle)
            .where(bundle.c.identity == identity, *in_workspaces(bundle.c.workspace, workspaces))
            .order_by(bundle.c.workspace)
        )
        with self._database.read() as connection:
            return [bundle_of(connection, row) for row in connection.execute(wanted).all()]

    def of_run(self, run_id: str) -> KeptBundle | None:
        """What the newest attempt of a run has left."""
        wanted = (
            sa.select(bundle)
            .join(
                bundle_run,
                sa.and_(
                    bundle_run.c.workspace == bundle.c.workspace,
                    bundle_run.c.identity == bundle.c.identity,
                ),
            )
            .join(
                run,
                sa.and_(run.c.run_id == bundle_run.c.run_id, run.c.attempt == bundle_run.c.attempt),
            )
            .where(run.c.run_id == run_id)
        )
        with self._database.read() as connection:
            row = connection.execute(wanted).first()
            return None if row is None else bundle_of(connection, row)

    def list(
        self, wanted: BundleFilter, *, after: Place | None, limit: int
    ) -> tuple[Sequence[KeptBundle], Place | None]:
        """Bundles that `wanted` lets through, newest first, and where the next page begins."""
        rows = (
            sa.select(bundle)
            .where(*_conditions(wanted))
            .order_by(bundle.c.created_ms.desc(), bundle.c.identity.desc(), bundle.c.workspace)
            .limit(limit + 1)
        )
        if after is not None:
            place = sa.tuple_(bundle.c.created_ms, bundle.c.identity)
            rows = rows.where(place < sa.tuple_(*after))
        with self._database.read() as connection:
            found = connection.execute(rows).all()
            shown = [bundle_of(connection, row) for row in found[:limit]]
        more = len(found) > limit
        return shown, (shown[-1].created_ms, shown[-1].identity) if more else None

    def mark(
        self, workspace: str, identity: str, name: str, mark: Mark | None
    ) -> KeptBundle | None:
        """Write a mark, or take it away; None where there is no such bundle any more."""
        assert name in MARKS, name
        said = None if mark is None else text_of(mark.to_json())
        with self._database.write() as connection:
            connection.execute(
                sa.update(bundle)
                .where(*_here(workspace, identity))
                .values({name: said, "version": bundle.c.version + 1})
            )
            row = connection.execute(sa.select(bundle).where(*_here(workspace, identity))).first()
            return None if row is None else bundle_of(connection, row)

    # --- baselines ------------------------------------------------------------------------------

    def baselines(
        self,
        workspaces: frozenset[str] | None,
        suite: str | None = None,
        profile: str | None = None,
    ) -> Sequence[Baseline]:
        """What is in force, by workspace and key, each with what was before it."""
        columns = [baseline.c[name] for name in _BASELINE_KEY]
        wanted = (
            sa.select(baseline)
            .where(*in_workspaces(baseline.c.workspace, workspaces))
            .order_by(*columns, baseline.c.number.desc())
        )
        for column, value in ((baseline.c.suite, suite), (baseline.c.profile, profile)):
            if value is not None:
                wanted = wanted.where(column == value)
        by_key: dict[tuple[str, ...], list[Baseline]] = {}
        with self._database.read() as connection:
            for row in connection.execute(wanted):
                place = tuple(str(getattr(row, name)) for name in _BASELINE_KEY)
                by_key.setdefault(place, []).append(baseline_of(row))
        return [
            Baseline(
                first.workspace,
                first.key,
                first.number,
                first.identity,
                first.approvals,
                first.at,
                first.provenance,
                history=rest,
            )
            for first, *rest in by_key.values()
        ]

    def standing(self, kept: KeptBundle) -> Standing:
        """What an approval of the bundle would meet now."""
        with self._database.read() as connection:
            return standing_of(connection, kept)

    def other_engine_baseline(self, workspace: str, key: BundleKey) -> Baseline | None:
        """The newest baseline of the suite and profile under another engine, if there is one."""
        wanted = (
            sa.select(baseline)
            .where(
                baseline.c.workspace == workspace,
                baseline.c.suite == key.suite,
                baseline.c.profile == key.profile,
                baseline.c.engine_version != key.engine_version,
            )
            .order_by(baseline.c.at.desc(), baseline.c.number.desc())
            .limit(1)
        )
        with self._database.read() as connection:
            row = connection.execute(wanted).first()
        return None if row is None else baseline_of(row)

    # --- reviews --------------------------------------------------------------------------------

    def review(self, review_id: str) -> KeptReview | None:
        with self._database.read() as connection:
            row = review_row(connection, review_id, lock=False)
        return None if row is None else review_of(row)

    def reviews(
        self,
        workspaces: frozenset[str] | None,
        *,
        state: str | None,
        after: Place | None,
        limit: int,
    ) -> tuple[Sequence[KeptReview], Place | None]:
        """Reviews, newest first, and where the next page begins."""
        rows = (
            sa.select(review)
            .where(*in_workspaces(review.c.workspace, workspaces))
            .order_by(review.c.created_ms.desc(), review.c.review_id.desc())
            .limit(limit + 1)
        )
        if state is not None:
            rows = rows.where(review.c.state == state)
        if after is not None:
            place = sa.tuple_(review.c.created_ms, review.c.review_id)
            rows = rows.where(place < sa.tuple_(*after))
        with self._database.read() as connection:
            found = connection.execute(rows).all()
        shown = [review_of(row) for row in found[:limit]]
        more = len(found) > limit
        return shown, (shown[-1].created_ms, shown[-1].review_id) if more else None

    def open(self, workspace: str, new: Review, cause: str | None = None) -> KeptReview:
        """The review of that change: the one that there is, or `new`."""
        with self._database.write() as connection:
            return open_review(connection, self._database, new, workspace=workspace, cause=cause)

    def decide(
        self, review_id: str, version: int, change: Callable[[Review], Review]
    ) -> KeptReview:
        """The review after `change`; `Outdated` when it is not of that version any more."""
        with self._database.write() as connection:
            row = review_row(connection, review_id, lock=True)
            if row is None or row.version != version:
                raise Outdated
            kept = review_of(row)
            return save_review(connection, kept, change(kept.review))

    def approve(self, kept: KeptBundle, seen: Standing, decision: Decision) -> KeptReview:
        """One approval more; where it was the last that was missing, the bundle is the baseline.

        `Outdated` when the standing is not `seen` any more; `IllegalMove` when a group was
        rejected, or this person has approved already.
        """
        workspace = kept.workspace
        with self._database.write() as connection:
            self._take_turn(connection, kept)
            now = standing_of(connection, kept)
            if now.tag != seen.tag or now.review is None:
                raise Outdated
            row = review_row(connection, now.review.review_id, lock=True)
            if row is None or row.version != now.review.version:
                raise Outdated
            found = review_of(row)
            # One that is missing is this one: where fewer are asked for than have approved already,
            # it comes into force by it, and not by nobody.
            required = max(
                approvals_required(connection, workspace), len(found.review.approvals) + 1
            )
            approved = found.review.requiring(required).approve(decision)
            saved = save_review(connection, found, approved)
            if saved.review.state is ReviewState.ACCEPTED:
                self._come_into_force(connection, kept, saved, now.baseline_number + 1)
            return saved

    def _take_turn(self, connection: sa.Connection, kept: KeptBundle) -> None:
        """Wait for everybody who approves for the same key.

        Whose review is whose, only the transaction decides: it may have to write every open one of
        the key, so it locks them before it writes any, and in one order.
        """
        here = sa.select(bundle.c.identity).where(*_here(kept.workspace, kept.identity))
        if connection.execute(here.with_for_update()).first() is None:
            raise Outdated
        of_one_key = (
            sa.select(review.c.review_id)
            .where(review.c.workspace == kept.workspace, *of_key(review, kept.bundle.key))
            .order_by(review.c.review_id)
        )
        connection.execute(of_one_key.with_for_update()).all()

    def _come_into_force(
        self, connection: sa.Connection, kept: KeptBundle, saved: KeptReview, number: int
    ) -> None:
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        put = (
            insert(baseline)
            .values(
                workspace=kept.workspace,
                **kept.bundle.key.to_json(),
                number=number,
                identity=kept.identity,
                approvals=text_of([one.to_json() for one in saved.review.approvals]),
                provenance=text_of(kept.bundle.provenance),
                at=self._database.moment(connection).text,
            )
            .on_conflict_do_nothing()
            .returning(baseline.c.number)
        )
        if connection.execute(put).first() is None:
            raise Outdated
        self._supersede(connection, kept)

    def _supersede(self, connection: sa.Connection, kept: KeptBundle) -> None:
        """What else was open for the key was about a baseline that is not in force any more."""
        others = sa.select(review).where(
            review.c.workspace == kept.workspace,
            *of_key(review, kept.bundle.key),
            review.c.target != kept.identity,
            review.c.state.in_(OPEN),
        )
        for row in connection.execute(others.with_for_update()).all():
            other = review_of(row)
            save_review(connection, other, other.review.superseded(kept.identity))


_BASELINE_KEY = ("workspace", "suite", "profile", "engine_version", "python")


def _here(workspace: str, identity: str) -> Sequence[sa.ColumnElement[bool]]:
    return [bundle.c.workspace == workspace, bundle.c.identity == identity]


def _conditions(wanted: BundleFilter) -> Sequence[sa.ColumnElement[bool]]:
    equal = (
        (bundle.c.suite, wanted.suite),
        (bundle.c.profile, wanted.profile),
        (bundle.c.engine_version, wanted.engine_version),
        (bundle.c.python, wanted.python),
    )
    conditions = [column == value for column, value in equal if value is not None]
    conditions += in_workspaces(bundle.c.workspace, wanted.workspaces)
    if wanted.pinned is not None:
        conditions.append(bundle.c.pinned.is_not(None) == wanted.pinned)
    if wanted.baseline is not None:
        in_force = _is_in_force()
        conditions.append(in_force if wanted.baseline else ~in_force)
    return conditions


def _is_in_force() -> sa.ColumnElement[bool]:
    newest = baseline.alias("newest")
    same_key = [newest.c[name] == baseline.c[name] for name in _BASELINE_KEY]
    highest = sa.select(sa.func.max(newest.c.number)).where(*same_key).scalar_subquery()
    return sa.exists().where(
        *(baseline.c[name] == bundle.c[name] for name in _BASELINE_KEY),
        baseline.c.identity == bundle.c.identity,
        baseline.c.number == highest,
    )
