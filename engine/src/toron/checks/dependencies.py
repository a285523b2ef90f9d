"""Finds cycles among transactions, names them, and draws them.

A cycle of "came before" cannot be laid out in one order, and which kinds of edges it needs says
what went wrong: Adya's G0 (writes only), G1c (and reads), G-single (one anti-dependency: read
skew), G-nonadjacent (several, no two in a row: forbidden by snapshot isolation), G2-item (any).
One that needs the order of a client or of real time is named so: ``G-single-realtime``.

The names are those of Adya, "Weak consistency" (1999), and of Kingsbury and Alvaro's Elle; that
snapshot isolation forbids exactly the cycles without adjacent anti-dependencies is from Cerone and
Gotsman, "Analysing snapshot isolation" (PODC 2016).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from toron.checks.cycles import Budget, components, shortest
from toron.checks.history import shown
from toron.checks.transactions import Anomaly, Edge, Transaction

_MEANINGS = {
    "G0": "write cycle",
    "G1c": "circular information flow",
    "G-single": "read skew",
    "G-nonadjacent": "no snapshot explains it",
    "G2-item": "anti-dependency cycle, such as write skew",
}
_WAYS_COMPARED = 20


@dataclass(frozen=True, slots=True)
class _Search:
    """One kind of cycle: an edge that it needs, and what the way back may be made of."""

    name: str
    """What it finds, or ends with."""
    needs: str
    kinds: frozenset[str]
    rule: Callable[[int, Edge], int | None]
    final: frozenset[int]


def _without_rw(state: int, edge: Edge) -> int | None:
    return None if edge.kind == "rw" else 0


def _one_rw(state: int, edge: Edge) -> int | None:
    """Exactly one anti-dependency: state 1 once it was seen."""
    if edge.kind != "rw":
        return state
    return 1 if state == 0 else None


def _more_rw(state: int, edge: Edge) -> int | None:
    """At least one more anti-dependency: state 1 once it was seen."""
    return 1 if edge.kind == "rw" else state


def _not_in_a_row(state: int, edge: Edge) -> int | None:
    """After an anti-dependency, another kind first: 0 just after the first, 3 after a later one."""
    if edge.kind == "rw":
        return 3 if state in (1, 2) else None
    return 1 if state in (0, 1) else 2


_PLAIN = ("ww", "wr", "rw")
_START, _DONE = frozenset([0]), frozenset([1])


def _searches(extra: tuple[str, ...]) -> list[_Search]:
    """From the worst to the mildest; ``extra`` edges are used, and the last of them is needed."""
    if not extra:
        return [
            _Search("G0", "ww", frozenset(["ww"]), _without_rw, _START),
            _Search("G1c", "wr", frozenset(["ww", "wr"]), _without_rw, _START),
            _Search("G-single", "rw", frozenset(_PLAIN), _without_rw, _START),
            _Search("G-nonadjacent", "rw", frozenset(_PLAIN), _not_in_a_row, frozenset([2])),
            _Search("G2-item", "rw", frozenset(_PLAIN), _more_rw, _DONE),
        ]
    need, kinds = extra[-1], frozenset((*_PLAIN, *extra))
    return [
        _Search(need, need, kinds - {"rw"}, _without_rw, _START),
        _Search(need, need, kinds, _one_rw, _DONE),
        _Search(need, need, kinds, _more_rw, _DONE),
    ]


class Dependencies:
    """The edges between transactions."""

    def __init__(self, transactions: Sequence[Transaction], edges: Sequence[Edge]) -> None:
        self._transactions = transactions
        self._edges: list[dict[int, dict[str, Edge]]] = [{} for _ in transactions]
        for edge in edges:
            self._edges[edge.source].setdefault(edge.target, {}).setdefault(edge.kind, edge)

    def anomalies(self, budget: Budget) -> Iterator[Anomaly]:
        """A shortest cycle of each kind in each component, those of the data first.

        Those that need the order of clients or of time are looked for where the data alone has no
        cycle, because they say less.
        """
        broken: set[int] = set()
        for extra in ((), ("process",), ("process", "realtime")):
            found_here: list[int] = []
            for search in _searches(extra):
                for component in self._components(search.kinds):
                    if not extra or broken.isdisjoint(component):
                        cycle = self._cycle(search, component, budget)
                        if cycle is not None:
                            found_here += component
                            yield self._anomaly(cycle)
            broken.update(found_here)

    def _components(self, kinds: frozenset[str]) -> list[list[int]]:
        def after(number: int) -> list[int]:
            edges = self._edges[number].items()
            return [target for target, by_kind in edges if not kinds.isdisjoint(by_kind)]

        return components(range(len(self._edges)), after)

    def _cycle(self, search: _Search, component: list[int], budget: Budget) -> list[Edge] | None:
        """The shortest of some cycles of this kind."""
        inside = set(component)

        def steps(number: int) -> Iterator[tuple[int, Edge]]:
            for target, by_kind in self._edges[number].items():
                if target in inside:
                    for kind, edge in by_kind.items():
                        if kind in search.kinds:
                            yield target, edge

        found: list[list[Edge]] = []
        for number in component:
            for target, edge in steps(number):
                if edge.kind != search.needs:
                    continue
                way = shortest(target, number, steps, search.rule, search.final, budget)
                walk = simple([edge, *way]) if way is not None else ()
                found += [cycle for cycle in walk if name_of(cycle).endswith(search.name)]
                if len(found) >= _WAYS_COMPARED or (found and len(found[-1]) == 2):
                    return min(found, key=len)
        return min(found, key=len, default=None)

    def _anomaly(self, cycle: list[Edge]) -> Anomaly:
        name = name_of(cycle)
        numbers = {edge.source: f"T{place}" for place, edge in enumerate(cycle, 1)}
        drawn = "".join(f"{numbers[edge.source]} -{edge.label()}-> " for edge in cycle)
        lines = [f"{drawn}{numbers[cycle[0].source]}"]
        for number, short in numbers.items():
            lines.append(f"  {short} = {self._transactions[number]}")
        for edge in cycle:
            source, target = numbers[edge.source], numbers[edge.target]
            lines.append(f"  {source} before {target}: {_because(edge, source, target)}")
        meaning = _MEANINGS.get(name)
        text = f"({meaning}) " if meaning else ""
        return Anomaly(
            name,
            text + "\n".join(lines),
            tuple(self._transactions[number] for number in numbers),
            tuple(cycle),
            self._dot(name, cycle, numbers),
        )

    def _dot(self, name: str, cycle: list[Edge], numbers: dict[int, str]) -> str:
        lines = [f"digraph {_quoted(name)} {{", "  rankdir=LR;", "  node [shape=box];"]
        for number, short in numbers.items():
            label = _quoted(f"{short}  {self._transactions[number]}")
            lines.append(f"  {short} [label={label}];")
        for edge in cycle:
            label = _quoted(edge.label())
            lines.append(f"  {numbers[edge.source]} -> {numbers[edge.target]} [label={label}];")
        return "\n".join([*lines, "}"])


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def simple(walk: Sequence[Edge]) -> Iterator[list[Edge]]:
    """The cycles that a closed walk is made of, each passing a transaction only once."""
    path: list[Edge] = []
    for edge in walk:
        path.append(edge)
        for place, earlier in enumerate(path):
            if earlier.source == edge.target:
                yield path[place:]
                del path[place:]
                break


def name_of(cycle: Sequence[Edge]) -> str:
    """What a cycle of these edges is called."""
    kinds = [edge.kind for edge in cycle]
    rw = kinds.count("rw")
    if rw == 0:
        name = "G1c" if "wr" in kinds else "G0"
    elif rw == 1:
        name = "G-single"
    else:
        pairs = zip(kinds, [*kinds[1:], kinds[0]], strict=True)
        name = "G2-item" if ("rw", "rw") in pairs else "G-nonadjacent"
    for order in ("realtime", "process"):
        if order in kinds:
            return f"{name}-{order}"
    return name


def _because(edge: Edge, source: str, target: str) -> str:
    key, before, after = shown(edge.key), shown(edge.before), shown(edge.after)
    if edge.kind == "ww":
        return f"{source} wrote {before} to {key}, and {target} wrote {after} after it"
    if edge.kind == "wr":
        return f"{target} read {after} in {key}, which {source} wrote"
    if edge.kind == "rw":
        return f"{source} read {key} = {before}, and {target} wrote {after} after it"
    if edge.kind == "process":
        return f"the same client ran {source} and then {target}"
    return f"{source} had ended when {target} began"


def session_edges(transactions: Sequence[Transaction]) -> Iterator[Edge]:
    """Each client's transactions in their order."""
    last: dict[object, Transaction] = {}
    for transaction in transactions:
        if transaction.failed:
            continue
        client = transaction.operation.client
        if client in last:
            yield Edge("process", last[client].number, transaction.number)
        if transaction.ok:  # nobody knows when another ended, so nothing follows it
            last[client] = transaction


def realtime_edges(transactions: Sequence[Transaction]) -> Iterator[Edge]:
    """From each that had ended to each that began after it, those left out that follow anyway."""
    events: list[tuple[int, int]] = []
    for place, transaction in enumerate(transactions):
        operation = transaction.operation
        if not transaction.failed:
            events.append((operation.invoked, place))
            if operation.returned is not None:
                events.append((operation.returned, place))
    frontier: dict[int, None] = {}
    before: dict[int, list[int]] = {}
    for _, place in sorted(events):
        if place not in before:
            before[place] = list(frontier)
            for earlier in before[place]:
                number = transactions[earlier].number
                yield Edge("realtime", number, transactions[place].number)
        else:
            for earlier in before[place]:
                frontier.pop(earlier, None)
            frontier[place] = None
