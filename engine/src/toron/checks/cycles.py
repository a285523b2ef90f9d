"""Strongly connected components and shortest ways in graphs.

Tarjan, "Depth-first search and linear graph algorithms" (SIAM J. Comput. 1972), without recursion;
ways by breadth, under a rule for which steps may follow each other. What a cycle means belongs to
`dependencies`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, TypeVar

Node = TypeVar("Node", bound=Hashable)
Step = TypeVar("Step")

_END: Any = object()


class Budget:
    """How many steps searches may still look at; when it is used up, they find nothing more."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    @property
    def is_spent(self) -> bool:
        """Whether something may have been missed."""
        return self.left < 0


def components(nodes: Sequence[Node], after: Callable[[Node], Iterable[Node]]) -> list[list[Node]]:
    """The components of two nodes or more: what lies on a cycle."""
    index: dict[Node, int] = {}
    low: dict[Node, int] = {}
    unclosed: dict[Node, None] = {}
    found: list[list[Node]] = []

    def enter(node: Node) -> None:
        index[node] = low[node] = len(index)
        unclosed[node] = None
        work.append((node, iter(list(after(node)))))

    for root in nodes:
        work: list[tuple[Node, Any]] = []
        if root not in index:
            enter(root)
        while work:
            node, rest = work[-1]
            following = next(rest, _END)
            if following is _END:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    found += _closed(node, unclosed)
            elif following not in index:
                enter(following)
            elif following in unclosed:
                low[node] = min(low[node], index[following])
    return found


def _closed(node: Node, unclosed: dict[Node, None]) -> list[list[Node]]:
    component: list[Node] = []
    while True:
        last, _ = unclosed.popitem()
        component.append(last)
        if last == node:
            return [component[::-1]] if len(component) > 1 else []


def shortest(
    start: Node,
    goal: Node,
    steps: Callable[[Node], Iterable[tuple[Node, Step]]],
    rule: Callable[[int, Step], int | None],
    final: frozenset[int],
    budget: Budget,
) -> list[Step] | None:
    """The fewest steps from ``start`` to ``goal``; None when there is no way, or no budget left.

    ``rule`` is an automaton that reads the steps: from state 0 it gives the next state, or None for
    a step that may not come here. The way must end in a ``final`` state.
    """
    came: dict[tuple[Node, int], tuple[tuple[Node, int], Step] | None] = {(start, 0): None}
    queue: deque[tuple[Node, int]] = deque([(start, 0)])
    while queue and budget.left >= 0:
        place = queue.popleft()
        if place[0] == goal and place[1] in final:
            return _way(place, came)
        for node, step in steps(place[0]):
            budget.left -= 1
            state = rule(place[1], step)
            if state is not None and (node, state) not in came:
                came[node, state] = (place, step)
                queue.append((node, state))
    return None


def _way(place: tuple[Node, int], came: dict[Any, Any]) -> list[Any]:
    way = []
    while came[place] is not None:
        place, step = came[place]
        way.append(step)
    return way[::-1]
