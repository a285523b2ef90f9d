"""Chooses the seeds of a run: flag before environment before the suite's own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from testops.domain.errors import BadInput
from testops.domain.seeds import Seeds, parse_seed, parse_seed_range
from testops.domain.suite import SeedPair

RANDOM = "random"


@dataclass(frozen=True, slots=True)
class SeedFlags:
    """What the command line said; None where it said nothing."""

    sim: str | None = None
    chaos: str | None = None
    sim_range: str | None = None


@dataclass(frozen=True, slots=True)
class SeedChoice:
    """The pair of the run, and the range of sim seeds where one was asked for."""

    seeds: Seeds
    sim_range: range | None


@dataclass(frozen=True, slots=True)
class SeedsSaid:
    """What somebody said about seeds, by flag or environment; None where they left it open."""

    sim: int | None
    chaos: int | None
    sim_range: range | None


def choose_seeds(
    flags: SeedFlags,
    environment: Mapping[str, str],
    own: SeedPair,
    draw: Callable[[], int],
) -> SeedChoice:
    """The seeds of the run; `draw` is called only for `random`, and never otherwise."""
    said = seeds_said(flags, environment, draw)
    seeds = Seeds(
        sim=own.sim if said.sim is None else said.sim,
        chaos=own.chaos if said.chaos is None else said.chaos,
    )
    return SeedChoice(seeds, said.sim_range)


def seeds_said(
    flags: SeedFlags, environment: Mapping[str, str], draw: Callable[[], int]
) -> SeedsSaid:
    """What does not depend on the suite; `--seed random` draws both seeds."""
    if flags.sim is not None and flags.sim_range is not None:
        raise BadInput(
            "--seed and --seeds were both given", fix="give one: --seeds A:B begins at seed A"
        )
    sim_range = None
    if flags.sim_range is not None:
        sim_range = parse_seed_range(flags.sim_range, where="--seeds")
    drawn = flags.sim == RANDOM
    chaos = _chosen(flags.chaos, "--chaos-seed", environment, "CHAOS_SEED", draw)
    if chaos is None and drawn:
        chaos = draw()
    if sim_range is not None:
        sim: int | None = sim_range.start
    else:
        sim = _chosen(flags.sim, "--seed", environment, "SIM_SEED", draw)
    return SeedsSaid(sim, chaos, sim_range)


def _chosen(
    flag: str | None,
    flag_name: str,
    environment: Mapping[str, str],
    variable: str,
    draw: Callable[[], int],
) -> int | None:
    if flag == RANDOM:
        return draw()
    if flag is not None:
        return parse_seed(flag, where=flag_name)
    if variable in environment:
        return parse_seed(environment[variable], where=variable)
    return None
