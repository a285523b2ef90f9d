"""Flag before environment before the suite; only `random` draws."""

from collections.abc import Mapping

import pytest

from testops.domain.errors import BadInput
from testops.domain.seeds import Seeds
from testops.domain.suite import SeedPair
from testops.runner.seeding import SeedChoice, SeedFlags, choose_seeds

OWN = SeedPair(sim=42, chaos=7)


def never() -> int:
    raise AssertionError("a seed was drawn that nobody asked for")


def choose(
    flags: SeedFlags, environment: Mapping[str, str] | None = None, drawn: int | None = None
) -> SeedChoice:
    return choose_seeds(flags, environment or {}, OWN, never if drawn is None else lambda: drawn)


def test_without_flag_and_variable_the_suites_own_seeds_are_used() -> None:
    assert choose(SeedFlags()).seeds == Seeds(42, 7)


def test_a_variable_goes_before_the_suite_and_a_flag_before_the_variable() -> None:
    environment = {"SIM_SEED": "1", "CHAOS_SEED": "2"}
    assert choose(SeedFlags(), environment).seeds == Seeds(1, 2)
    assert choose(SeedFlags(sim="3"), environment).seeds == Seeds(3, 2)
    assert choose(SeedFlags(sim="3", chaos="0"), environment).seeds == Seeds(3, 0)


@pytest.mark.parametrize("name", ["SIM_SEED", "CHAOS_SEED"])
@pytest.mark.parametrize("value", ["", "x", "-1", str(2**64)])
def test_a_bad_variable_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(BadInput, match=f"^{name}: "):
        choose(SeedFlags(), {name: value})


def test_a_bad_variable_that_a_flag_overrides_is_not_looked_at() -> None:
    assert choose(SeedFlags(sim="5"), {"SIM_SEED": "x"}).seeds.sim == 5


def test_a_range_begins_at_its_first_seed() -> None:
    choice = choose(SeedFlags(sim_range="9:12"), {"SIM_SEED": "1"})
    assert choice.seeds.sim == 9
    assert choice.sim_range == range(9, 12)


def test_a_seed_and_a_range_exclude_each_other() -> None:
    with pytest.raises(BadInput, match="were both given"):
        choose(SeedFlags(sim="1", sim_range="1:2"))


def test_random_draws_both_but_leaves_a_chaos_seed_that_was_given() -> None:
    assert choose(SeedFlags(sim="random"), drawn=99).seeds == Seeds(99, 99)
    assert choose(SeedFlags(sim="random", chaos="3"), drawn=99).seeds == Seeds(99, 3)
    assert choose(SeedFlags(sim="random"), {"CHAOS_SEED": "4"}, drawn=99).seeds == Seeds(99, 4)
