"""Prints how long it takes to judge histories of 10,000 operations by 8 clients, for each model.

Each history is drawn from a seed: every client has one operation open nearly all the time, and each
takes effect at a random moment of its interval. ``correct`` is that history, ``faulty`` is the same
with one wrong answer in the last tenth, so that nearly all of it has to be searched in vain.

    python engine/benchmarks/linearizability.py [--operations N] [--clients N] [--seed N]
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from typing import Any

import toron
from toron.checks import models

Draw = Callable[[random.Random, int], tuple[str, Any]]


def register_call(chance: random.Random, number: int) -> tuple[str, Any]:
    kind = chance.choice(["read", "write", "cas"])
    if kind == "cas":
        return kind, (chance.randrange(5), chance.randrange(5))
    return kind, None if kind == "read" else chance.randrange(5)


def key_value_call(chance: random.Random, number: int) -> tuple[str, Any]:
    key = f"k{chance.randrange(10)}"
    if chance.random() < 0.5:
        return "get", key
    return chance.choice([("put", (key, f"{number} ")), ("append", (key, f"{number} "))])


def queue_call(chance: random.Random, number: int) -> tuple[str, Any]:
    return chance.choice([("put", number), ("get", None)])


def set_call(chance: random.Random, number: int) -> tuple[str, Any]:
    return chance.choice(["add", "remove", "contains"]), chance.randrange(50)


def whole_set_call(chance: random.Random, number: int) -> tuple[str, Any]:
    return ("read", None) if chance.random() < 0.3 else set_call(chance, number)


def counter_call(chance: random.Random, number: int) -> tuple[str, Any]:
    return chance.choice([("add", chance.randrange(1, 9)), ("read", None)])


def lock_call(chance: random.Random, number: int) -> tuple[str, Any]:
    return chance.choice(["acquire", "release"]), None


OBJECTS: dict[str, tuple[models.Model, Draw]] = {
    "register": (models.Register(0), register_call),
    "key-value, 10 keys": (models.KeyValue(), key_value_call),
    "queue": (models.Queue(), queue_call),
    "set, element by element": (models.Set(), set_call),
    "set, read whole": (models.Set(), whole_set_call),
    "counter": (models.Counter(), counter_call),
    "lock": (models.Lock(), lock_call),
    "semaphore": (models.Semaphore(3), lock_call),
}


class Objects:
    """The real thing: what each operation answers when it takes effect."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.value: Any = 0
        self.values: dict[str, Any] = {}
        self.items: list[Any] = []
        self.members: set[Any] = set()
        self.owner: Any = None
        self.permits = 3

    def apply(self, client: str, op: str, arg: Any) -> Any:
        """Do ``op`` now and return its answer."""
        if self.name in ("lock", "semaphore"):
            return self.lock(client, op)
        if self.name.startswith("set"):
            return self.set(op, arg)
        if self.name.startswith("key"):
            return self.key_value(op, arg)
        if self.name == "queue":
            if op == "put":
                self.items.append(arg)
                return None
            return self.items.pop(0) if self.items else None
        if op == "read":
            return self.value
        if op == "cas":
            swaps = self.value == arg[0]
            self.value = arg[1] if swaps else self.value
            return swaps
        self.value = self.value + arg if op == "add" else arg
        return None

    def key_value(self, op: str, arg: Any) -> Any:
        if op == "get":
            return self.values.get(arg)
        before = self.values.get(arg[0]) or "" if op == "append" else ""
        self.values[arg[0]] = before[-20:] + arg[1] if op == "put" else before + arg[1]
        return None

    def set(self, op: str, arg: Any) -> Any:
        if op == "read":
            return set(self.members)
        has = arg in self.members
        if op == "contains":
            return has
        (self.members.add if op == "add" else self.members.discard)(arg)
        return has == (op == "remove")

    def lock(self, client: str, op: str) -> bool:
        if self.name == "semaphore":
            may = self.permits > 0 if op == "acquire" else self.permits < 3
            self.permits += (-1 if op == "acquire" else 1) if may else 0
            return may
        may = self.owner is None if op == "acquire" else self.owner == client
        if may:
            self.owner = client if op == "acquire" else None
        return may


def rows_of(name: str, draw: Draw, operations: int, clients: int, seed: int) -> list[list[Any]]:
    """Operations with their times, in the order in which they took effect."""
    chance = random.Random(seed)
    free_at = [0.0] * clients
    calls: list[tuple[float, float, float, str, str, Any]] = []
    for number in range(operations):
        client = min(range(clients), key=free_at.__getitem__)
        begin = free_at[client] + chance.random() * 0.1
        end = begin + 0.2 + chance.random()
        free_at[client] = end
        op, arg = draw(chance, number)
        calls.append((chance.uniform(begin, end), begin, end, f"c{client}", op, arg))
    world = Objects(name)
    return [
        [client, op, arg, world.apply(client, op, arg), begin, end]
        for _, begin, end, client, op, arg in sorted(calls, key=lambda call: call[:3])
    ]


_LIES: dict[type, Callable[[Any], Any]] = {
    bool: lambda answer: not answer,
    int: lambda answer: answer + 1_000_003,
    str: lambda answer: answer + "!",
    set: lambda answer: answer ^ {-1},
}


def spoil(rows: list[list[Any]]) -> None:
    """One wrong answer in the last tenth."""
    for row in rows[len(rows) * 9 // 10 :]:
        lie = _LIES.get(type(row[3]))
        if lie is not None and row[1] in ("read", "get", "contains", "acquire"):
            row[3] = lie(row[3])
            return
    raise ValueError("no answer to spoil")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only")
    options = parser.parse_args()
    print(f"{options.operations} operations, {options.clients} clients, seed {options.seed}")
    for name, (model, draw) in OBJECTS.items():
        if options.only not in (None, name):
            continue
        rows = rows_of(name, draw, options.operations, options.clients, options.seed)
        for kind in ("correct", "faulty"):
            if kind == "faulty":
                spoil(rows)
            history = toron.History.of(map(tuple, rows))
            begin, begin_cpu = time.perf_counter(), time.process_time()
            judged = toron.check_linearizable(history, model)
            seconds, cpu = time.perf_counter() - begin, time.process_time() - begin_cpu
            print(f"  {name:<24} {kind:<8} {judged.verdict:<8} {seconds:6.2f} s", end="")
            print(f"  {cpu:6.2f} CPU s  {judged.steps:>9,} steps", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
