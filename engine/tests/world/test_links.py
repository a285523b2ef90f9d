"""How long a packet takes, and whether it gets through."""

import statistics
from typing import Any

import pytest

from toron.core.choices import SeededChoices
from toron.core.clock import SECOND_NS
from toron.world.links import LOOPBACK_LATENCY, Distribution, Link, Links
from toron.world.net import Net


@pytest.fixture
def links() -> Links:
    return Links(SeededChoices(1, 0))


def test_latency_stays_in_its_range_and_fills_it(links: Links) -> None:
    links.set("a", "b", Link(latency=(0.010, 0.030)))
    drawn = [links.latency_ns("a", "b") / SECOND_NS for _ in range(2_000)]
    assert 0.010 <= min(drawn) < 0.0102
    assert 0.0298 < max(drawn) <= 0.030


def test_a_link_has_one_direction_and_loopback_is_no_link(links: Links) -> None:
    links.set("a", "b", Link(latency=(5, 5)))
    assert links.latency_ns("a", "b") == 5 * SECOND_NS
    assert links.latency_ns("b", "a") < SECOND_NS
    assert links.latency_ns("a", "a") <= LOOPBACK_LATENCY[1] * SECOND_NS


def test_a_link_draws_from_its_own_stream(links: Links) -> None:
    other = Links(SeededChoices(1, 0))
    for _ in range(10):
        other.latency_ns("c", "d")
    assert [links.latency_ns("a", "b") for _ in range(5)] == [
        other.latency_ns("a", "b") for _ in range(5)
    ]


def test_the_share_of_lost_packets_is_the_one_asked_for(links: Links) -> None:
    links.set("a", "b", Link(loss=0.1))
    assert 150 < sum(links.is_lost("a", "b", 0) for _ in range(2_000)) < 250
    assert not any(links.is_lost("b", "a", 0) for _ in range(100))


def test_a_burst_of_loss_ends_at_its_time_or_when_it_is_taken_back(links: Links) -> None:
    links.add_loss("a", "b", 1.0, 1_000)
    assert links.is_lost("a", "b", 999)
    assert not links.is_lost("a", "b", 1_000)
    links.add_loss("a", "b", None)
    assert not links.is_lost("a", "b", 999)


def test_cuts_nest_and_each_needs_its_own_mending(links: Links) -> None:
    links.cut("a", "b")
    links.cut("a", "b")
    links.mend("a", "b")
    assert links.is_cut("a", "b")
    assert not links.is_cut("b", "a")
    links.mend("a", "b")
    links.mend("a", "b")
    assert not links.is_cut("a", "b")


def test_mending_all_undoes_cuts_slowness_and_bursts_of_loss(links: Links) -> None:
    links.set("a", "b", Link(latency=(1, 1)))
    links.cut("a", "b")
    links.slow_down("a", "b", 10)
    links.add_loss("a", "b", 1.0, SECOND_NS)
    assert links.is_lost("a", "b", 0)
    assert links.latency_ns("a", "b") == 10 * SECOND_NS
    links.mend_all()
    assert not links.is_cut("a", "b")
    assert not links.is_lost("a", "b", 0)
    assert links.latency_ns("a", "b") == SECOND_NS


def test_bandwidth_queues_packets_behind_one_another(links: Links) -> None:
    links.set("a", "b", Link(bandwidth=1_000))
    assert links.transmission_ns("a", "b", 500, 0) == SECOND_NS // 2
    assert links.transmission_ns("a", "b", 500, 0) == SECOND_NS
    assert links.transmission_ns("a", "b", 500, 9 * SECOND_NS) == 9.5 * SECOND_NS
    assert links.transmission_ns("b", "a", 500, 7) == 7


def drawn(links: Links, shape: str, *numbers: float) -> list[float]:
    links.set("a", "b", Link(latency=Distribution(shape, *numbers)))
    return [links.latency_ns("a", "b") / SECOND_NS for _ in range(4_000)]


def test_each_distribution_of_latency_has_the_shape_that_its_name_says(links: Links) -> None:
    normal = drawn(links, "normal", 0.050, 0.010)
    assert 0.049 < statistics.mean(normal) < 0.051
    assert 0.009 < statistics.stdev(normal) < 0.011
    exponential = drawn(links, "exponential", 0.020)
    assert 0.019 < statistics.mean(exponential) < 0.021
    assert 0.0129 < statistics.median(exponential) < 0.0149
    lognormal = drawn(links, "lognormal", 0.010, 1.0)
    assert 0.0093 < statistics.median(lognormal) < 0.0107
    assert 0.014 < statistics.mean(lognormal) < 0.019
    pareto = drawn(links, "pareto", 0.005, 2.0)
    assert 0.005 <= min(pareto) < 0.0051
    assert 0.0066 < statistics.median(pareto) < 0.0075
    uniform = drawn(links, "uniform", 0.010, 0.030)
    assert 0.010 <= min(uniform) < max(uniform) <= 0.030


def test_no_draw_of_latency_is_negative(links: Links) -> None:
    assert min(drawn(links, "normal", 0.001, 0.010)) == 1 / SECOND_NS


@pytest.mark.parametrize(
    ("latency", "message"),
    [
        (("gauss", 1, 1), "names no distribution; known are uniform, normal"),
        (("normal", 1), "must be ('normal', mean, deviation)"),
        (("exponential", -1), "must have positive parameters"),
        (("pareto", 1, 0), "must have positive parameters"),
        (("uniform", 2, 1), "must have low before high"),
    ],
)
def test_a_wrong_distribution_is_refused_with_the_right_form(latency: Any, message: str) -> None:
    with pytest.raises(ValueError, match="latency") as caught:
        Net(None).link("a", "b", latency=latency)  # type: ignore[arg-type]
    assert message in str(caught.value)


@pytest.mark.parametrize("share", ["loss", "duplicate", "reorder"])
def test_a_share_of_packets_is_below_1(share: str) -> None:
    with pytest.raises(ValueError, match=f"{share} 1.5 must be a share"):
        Net(None).link("a", "b", **{share: 1.5})  # type: ignore[arg-type]


def test_a_cut_is_told(links: Links) -> None:
    told: list[tuple[str, str]] = []
    links.on_cut = lambda source, target: told.append((source, target))
    links.cut("a", "b")
    assert told == [("a", "b")]
