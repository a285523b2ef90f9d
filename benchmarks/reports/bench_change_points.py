"""How often noise is taken for a change, and how often a planted step is found, in 100 series each.

Every series comes from its own seed, so the figures are the same on every machine.

    python benchmarks/reports/bench_change_points.py [--series 100]
"""

import argparse
import random
from collections.abc import Callable

from testops.reports.change_points import change_points

LENGTHS = (10, 20, 30, 60)
# Of a step near the end: so many runs have the new level.
TAIL = 4

Draw = Callable[[random.Random], float]
NOISES: dict[str, Draw] = {
    "Gaussian": lambda draw: draw.gauss(100, 5),
    "exponential, outliers": lambda draw: (
        draw.expovariate(0.2) * (20 if draw.random() < 0.05 else 1)
    ),
    "rare failures": lambda draw: float(draw.random() < 0.1),
}


def series(draw: Draw, seed: str, count: int) -> list[float]:
    chance = random.Random(seed)
    return [draw(chance) for _ in range(count)]


def false_points(name: str, count: int, number: int) -> float:
    found = [
        change_points(series(NOISES[name], f"{name}-{n}-{count}", count)) for n in range(number)
    ]
    return 100 * sum(map(bool, found)) / number


def steps_found(count: int, number: int, *, deviations: int, at: int) -> tuple[float, float]:
    """Of a hundred: series with a point, and those whose first is at exactly its run."""
    found = exact = 0
    for n in range(number):
        values = series(NOISES["Gaussian"], f"step-{n}-{count}-{at}", count)
        values[at:] = [value + 5 * deviations for value in values[at:]]
        points = change_points(values)
        found += bool(points)
        exact += any(point.index == at for point in points)
    return 100 * found / number, 100 * exact / number


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--series", type=int, default=100)
    number = options.parse_args().series
    print(f"runs in a series{'':24}" + "".join(f"{count:>8}" for count in LENGTHS))
    for name in NOISES:
        said = "".join(f"{false_points(name, count, number):>6.1f} %" for count in LENGTHS)
        print(f"{'noise with a point: ' + name:40}{said}")
    for deviations, near_end in ((3, False), (5, True)):
        where = f"in the last {TAIL} runs" if near_end else "in the middle"
        rows = [
            steps_found(
                count, number, deviations=deviations, at=count - TAIL if near_end else count // 2
            )
            for count in LENGTHS
        ]
        print(
            f"{f'step of {deviations} deviations {where}':40}"
            + "".join(f"{one:>6.0f} %" for one, _ in rows)
        )
        print(f"{'  at exactly its run':40}" + "".join(f"{one:>6.0f} %" for _, one in rows))


if __name__ == "__main__":
    main()
