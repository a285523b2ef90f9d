"""Reviews as files: `snapshots/reviews/<first 16 of the target's identity>.json`.

They may be committed, so that the second person finds what the first one decided. A file that
cannot be read is never overwritten; it is named, with what to do.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testops.domain.bundle_key import BundleKey
from testops.domain.errors import BadInput
from testops.domain.review import Group, Review
from testops.domain.review_fields import RECORD_FIX
from testops.domain.review_record import review_from_json
from testops.snapshots.atomic import folder_lock, replace_file
from testops.snapshots.canonical import parse
from testops.snapshots.limits import MIB, size_text
from testops.snapshots.refusal import Refusal

NAME_LENGTH = 16
_FILE_BYTES_MAX = 16 * MIB
_PREFIX_LENGTH_MIN = 4
# Ten seconds: whoever decides compares meanwhile, and a run must not wait for a stopped command.
_PATIENCE = 200


class ReviewFolder:
    """The reviews of one project."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path_of(self, target: str) -> Path:
        """Where the review of the bundle with the identity `target` stands."""
        return self.folder / f"{target[:NAME_LENGTH]}.json"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Between reading a review and writing it again, nobody else does."""
        with folder_lock(self.folder, patience=_PATIENCE):
            yield

    def of(self, target: str) -> Review | None:
        """The review of the bundle with the identity `target`; BadInput when it is damaged."""
        path = self.path_of(target)
        return _read(path) if path.exists() else None

    def all(self) -> list[Review]:
        """Every review, the oldest first."""
        reviews = [_read(path) for path in self._paths()]
        return sorted(reviews, key=lambda review: (review.opened_at, review.target))

    def called(self, name: str) -> list[Review]:
        """The reviews whose target begins with `name`, or whose file it is."""
        prefix = Path(name).name.removesuffix(".json")
        if len(prefix) < _PREFIX_LENGTH_MIN:
            return []
        paths = [path for path in self._paths() if path.stem.startswith(prefix[:NAME_LENGTH])]
        return [review for path in paths if (review := _read(path)).target.startswith(prefix)]

    def save(self, review: Review) -> Path:
        """Keep `review`, whole or not at all."""
        path = self.path_of(review.target)
        body = json.dumps(review.to_json(), indent=2, ensure_ascii=False) + "\n"
        replace_file(path, body.encode("utf-8", "backslashreplace"))
        return path

    def open(self, fresh: Review) -> Review:
        """Keep what a run found, over what was decided before; earlier targets give way to it."""
        with self.held():
            earlier = [one for one in self._open_of(fresh.key) if one.target != fresh.target]
            stored = self.of(fresh.target)
            kept = fresh if stored is None else stored.renewed(fresh)
            for one in earlier:
                kept = kept.carried_from(one)
            self.save(kept)
            # The new one first: killed in between, two are open and the next run settles it.
            for one in earlier:
                self._retire(one, fresh.target, heir=kept)
            return kept

    def settle(self, base: str, target: str, key: BundleKey) -> None:
        """A run of `target` behaved as the baseline `base` says: nothing waits any more."""
        if not self.folder.is_dir():
            return
        with self.held():
            for one in self._open_of(key):
                # The review of the baseline itself is an approval that was killed half way.
                if one.target != base:
                    self._retire(one, base if one.target == target else target)

    def supersede_others(self, of: Review) -> None:
        """`of` became the baseline: what else waited was held against another one. Hold it."""
        for one in self._open_of(of.key):
            if one.target != of.target:
                self._retire(one, of.target)

    def _retire(self, one: Review, by: str, heir: Review | None = None) -> None:
        """`one` gave way. Where nobody decided, or all that was lives on, its file says nothing.

        Whoever writes code runs it often, and each run that behaves otherwise opens a review.
        """
        alive = set() if heir is None else {_decided(group) for group in heir.groups}
        told = {_decided(group) for group in one.groups if group.decision is not None}
        if one.approvals or told - alive:
            self.save(one.superseded(by))
        else:
            self.path_of(one.target).unlink(missing_ok=True)

    def _open_of(self, key: BundleKey) -> list[Review]:
        return [one for one in self.all() if one.key == key and one.is_open]

    def _paths(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted(self.folder.glob("[0-9a-f]*.json"))


def _decided(group: Group) -> tuple[object, ...]:
    return group.kernel, group.field, group.kind, group.digest, group.state, group.decision


def _read(path: Path) -> Review:
    try:
        if path.stat().st_size > _FILE_BYTES_MAX:
            raise Refusal(f"has {size_text(path.stat().st_size)}, which no review has")
        review = review_from_json(parse(path.read_bytes()))
    except Refusal as refusal:
        raise BadInput(refusal.problem, where=str(path), fix=RECORD_FIX) from refusal
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
        raise BadInput(problem, where=str(path), fix=RECORD_FIX) from error
    except BadInput as error:
        where = f"{path}: {error.pointer or '/'}"
        raise BadInput(error.problem, where=where, fix=error.fix) from error
    if path.stem != review.target[:NAME_LENGTH]:
        problem = f"is about the bundle {review.target[:NAME_LENGTH]}, and its name says another"
        raise BadInput(problem, where=str(path), fix=RECORD_FIX)
    return review
