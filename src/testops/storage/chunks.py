"""The parts of a simulation: created and queued in one transaction, settled once each."""

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from testops.domain.event import EventType, NewEvent
from testops.domain.execution import Chunk, ChunkSubmission, Taken
from testops.storage.database import Database, column_text
from testops.storage.events import append
from testops.storage.tables import seed_chunk

# Behind every stage of its own priority, so that seeds never keep a whole run from starting.
_RANK_STEP = 100_000_000

SubmitChunk = Callable[[sa.Connection, ChunkSubmission], None]


class ChunkStore:
    """Chunks by SQL; `submit` puts each into the durable queue."""

    def __init__(self, database: Database, submit: SubmitChunk) -> None:
        self._database = database
        self._submit = submit

    def split(self, taken: Taken, ranges: Sequence[tuple[int, int]]) -> None:
        """Queue the chunks `ranges`, unless an earlier execution of the stage did."""
        run_id, attempt = taken.run.run_id, taken.run.attempt
        with self._database.write() as connection:
            said = NewEvent(
                EventType.STAGE_LOG,
                {"stage": "sim", "text": f"its seeds are executed in {len(ranges)} chunks"},
            )
            append(connection, self._database, run_id, [said], fence=taken.fence)
            known = sa.select(sa.func.count()).where(
                seed_chunk.c.run_id == run_id, seed_chunk.c.attempt == attempt
            )
            if connection.execute(known).scalar_one():
                return
            for number, (first, end) in enumerate(ranges):
                here = {"run_id": run_id, "attempt": attempt, "number": number}
                connection.execute(sa.insert(seed_chunk).values(**here, first=first, end=end))
                rank = taken.run.priority * _RANK_STEP + number + 1
                self._submit(connection, ChunkSubmission(run_id, attempt, number, rank))

    def all(self, run_id: str, number: int) -> Sequence[Chunk]:
        """The chunks of attempt `number`, in order."""
        columns = ("run_id", "attempt", "number", "first", "end", "sha256", "problem")
        wanted = (
            sa.select(*(seed_chunk.c[name] for name in columns))
            .where(seed_chunk.c.run_id == run_id, seed_chunk.c.attempt == number)
            .order_by(seed_chunk.c.number)
        )
        with self._database.read() as connection:
            return [Chunk(*row) for row in connection.execute(wanted)]

    def settle(self, chunk: Chunk, executor_id: str) -> None:
        """Keep what a chunk came to; the first to say it wins, and all would say the same."""
        problem = None if chunk.problem is None else column_text(chunk.problem)
        with self._database.write() as connection:
            connection.execute(
                sa.update(seed_chunk)
                .where(
                    seed_chunk.c.run_id == chunk.run_id,
                    seed_chunk.c.attempt == chunk.attempt,
                    seed_chunk.c.number == chunk.number,
                    seed_chunk.c.sha256.is_(None),
                    seed_chunk.c.problem.is_(None),
                )
                .values(sha256=chunk.sha256, problem=problem, executor_id=executor_id)
            )
