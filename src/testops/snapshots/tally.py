"""Goes through the executions that two bundles share, and keeps what a report can hold of them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from testops.snapshots.bundle import Bundle
from testops.snapshots.canonical import Json
from testops.snapshots.deltas import Delta, deltas_of, hides_change, reproduce_command
from testops.snapshots.executions import (
    ExecutionId,
    ExecutionRecord,
    execution_of,
    execution_paths,
    kernel_path,
    read_execution,
    trace_path,
)
from testops.snapshots.masks import MaskAudit
from testops.snapshots.memory import Memory
from testops.snapshots.traces import Divergence, first_divergence

# What a report holds; what was found beyond is counted.
DELTAS_REPORTED_MAX = 1000
DELTAS_PER_EXECUTION_MAX = 100
DIVERGENCES_REPORTED_MAX = 20
_FIELDS_COUNTED_MAX = 5000
KERNELS = "kernels/"


@dataclass(frozen=True, slots=True)
class TraceDivergence:
    """Where the traces of one execution part."""

    execution: ExecutionId
    divergence: Divergence

    def to_json(self) -> dict[str, Json]:
        return {**self.execution.to_json(), **self.divergence.to_json()}


class Tally:
    """Collects the deltas of all executions, one execution in memory at a time."""

    def __init__(
        self, base: Bundle, target: Bundle, audit: MaskAudit, memory: Memory | None
    ) -> None:
        self.audit = audit
        self.deltas: list[Delta] = []
        self.delta_count = 0
        self.compared_count = 0
        self.hidden_trace_count = 0
        self.only_in_base: list[ExecutionId] = []
        self.only_in_target: list[ExecutionId] = []
        self.differing: list[ExecutionId] = []
        self.divergences: list[TraceDivergence] = []
        self._base = base
        self._target = target
        self._memory = memory
        self._same_python = base.header.python == target.header.python
        self._base_is_valid = _is_valid(base, memory)
        self._target_is_valid = _is_valid(target, memory)
        self._by_field: Counter[tuple[str, str, str]] = Counter()

    def run(self) -> None:
        """Compare everything that both sides have, in the order of kernels and seeds."""
        old, new = self._base.digests, self._target.digests
        for bundle, is_valid in self._sides():
            if not is_valid:
                execution_paths(bundle)
        shared = [path for path in new if path.startswith(KERNELS) and path in old]
        self.compared_count = len(shared)
        self.only_in_base = _ids(path for path in old if path not in new)
        self.only_in_target = _ids(path for path in new if path not in old)
        wanted = self._differing(shared)
        if not any(is_valid for _, is_valid in self._sides()):
            wanted |= set(shared)
        wanted |= {path for path in shared if self.audit.covers(path)}
        for identity in _ids(wanted):
            self._add(identity)
        self._require_valid()

    def _differing(self, shared: Iterable[str]) -> set[str]:
        """The shared kernel files that differ, or whose traces do."""
        old, new = self._base.digests, self._target.digests
        other = {path for path, digest in new.items() if old.get(path) != digest}
        other |= {path for path in old if path not in new}
        kernels = {kernel_path(execution_of(path)) for path in other}
        return kernels.intersection(shared)

    def _sides(self) -> Iterator[tuple[Bundle, bool]]:
        yield self._base, self._base_is_valid
        yield self._target, self._target_is_valid

    def _add(self, identity: ExecutionId) -> None:
        new = read_execution(self._target, identity)
        if self._is_equal(identity):
            if self.audit.covers(new.path):
                self.audit.apply(new.path, (dict(new.document), dict(new.document)))
        else:
            self._compare(read_execution(self._base, identity), new)

    def _is_equal(self, identity: ExecutionId) -> bool:
        """Whether both sides hold the same bytes, by the digests that were believed."""
        return all(
            self._base.digests.get(path) == self._target.digests.get(path)
            for path in (kernel_path(identity), trace_path(identity))
        )

    def _compare(self, old: ExecutionRecord, new: ExecutionRecord) -> None:
        documents: tuple[Json, Json] = (dict(old.document), dict(new.document))
        masked = self.audit.apply(new.path, documents)
        is_hidden = hides_change(documents, masked, same_python=self._same_python)
        found = deltas_of(
            masked,
            new.id,
            reproduce_command(new, self._target.header),
            same_python=self._same_python,
            is_change_hidden=is_hidden,
        )
        if not self._keep(found):
            self.hidden_trace_count += is_hidden and self._same_python
            return
        self.differing.append(new.id)
        if old.trace is not None and new.trace is not None and self._same_python:
            divergence = first_divergence(old.trace, new.trace)
            if divergence is not None and len(self.divergences) < DIVERGENCES_REPORTED_MAX:
                self.divergences.append(TraceDivergence(new.id, divergence))

    def _keep(self, found: Iterable[Delta]) -> int:
        """How many deltas one execution has; as many of them as there is room for are kept."""
        room = min(DELTAS_PER_EXECUTION_MAX, DELTAS_REPORTED_MAX - len(self.deltas))
        fields: set[tuple[str, str, str]] = set()
        count = 0
        for delta in found:
            count += 1
            if count <= room:
                self.deltas.append(delta)
            if len(fields) < _FIELDS_COUNTED_MAX:
                fields.add((delta.execution.kernel, delta.pattern or delta.field, delta.kind))
        self.delta_count += count
        is_full = len(self._by_field) >= _FIELDS_COUNTED_MAX
        self._by_field.update(one for one in fields if not is_full or one in self._by_field)
        return count

    def _require_valid(self) -> None:
        """Read what has no counterpart too, and remember that every file is an execution's."""
        missing = (self.only_in_base, self.only_in_target)
        for (bundle, is_valid), ids in zip(self._sides(), missing, strict=True):
            if is_valid:
                continue
            for identity in ids:
                read_execution(bundle, identity)
            known = self._memory.known(bundle.manifest_sha256) if self._memory else None
            if self._memory is not None and known is not None:
                self._memory.remember(bundle.manifest_sha256, replace(known, is_valid=True))

    def summary(self) -> list[Mapping[str, Json]]:
        """The fields that moved, each with the number of executions in which it did."""
        ordered = sorted(self._by_field.items(), key=lambda item: (item[0][0], -item[1], item[0]))
        return [
            {"kernel": kernel, "field": field, "kind": kind, "executions": count}
            for (kernel, field, kind), count in ordered[:DELTAS_REPORTED_MAX]
        ]


def _is_valid(bundle: Bundle, memory: Memory | None) -> bool:
    known = memory.known(bundle.manifest_sha256) if memory is not None else None
    return known is not None and known.is_valid


def _ids(paths: Iterable[str]) -> list[ExecutionId]:
    """The executions whose kernel files are among `paths`, sorted."""
    return sorted(execution_of(path) for path in paths if path.startswith(KERNELS))
