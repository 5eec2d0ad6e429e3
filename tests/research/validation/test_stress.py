"""Stress: L* is where the edge is first lost, and an edge that gains by waiting is suspect."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.research.metrics import annualised_sharpe_ratio, sharpe_ratio
from research_to_prod.research.validation.stress import KEPT, LatencyStress, cost_stress, latency_stress

HOUR = timedelta(hours=1)
DELAYS = (1, 2, 3, 4, 6)


def curve(*means: float, bar: timedelta = HOUR) -> LatencyStress:
    return LatencyStress(DELAYS[: len(means)], means, tuple(0.0 for _ in means), bar, improves=False)


@pytest.mark.parametrize(
    ("means", "largest"),
    [
        ((10.0, 9.0, 8.1, 7.9, 1.0), 3),
        ((10.0, 7.9, 9.0, 9.5, 9.9), 1),
        ((10.0, 9.0, 7.0, 9.0, 12.0), 2),
        ((10.0, 9.9, 9.8, 9.7, 9.6), 6),
        ((10.0, 12.0, 8.5, -5.0, 20.0), 3),
    ],
    ids=["falls below", "first is lost", "later recovery does not count", "all kept", "loss, then a gain"],
)
def test_the_largest_delay_is_the_last_before_the_edge_is_first_lost(means: tuple[float, ...], largest: int) -> None:
    assert curve(*means).largest_delay == largest


def test_exactly_80_percent_is_kept() -> None:
    assert curve(10.0, 8.0, 7.999).largest_delay == 2


def test_l_star_counts_only_the_delay_beyond_the_candidates_own() -> None:
    assert curve(10.0, 1.0).l_star_ms == 0
    assert curve(10.0, 9.0, 8.5, 1.0).l_star_ms == 2 * 3_600_000
    assert curve(10.0, 9.0, 1.0, bar=timedelta(minutes=1)).l_star_ms == 60_000


@pytest.mark.parametrize("mean", [0.0, -1.0, math.nan])
def test_without_a_net_edge_there_is_no_l_star_and_the_rows_say_why(mean: float) -> None:
    stressed = curve(mean, 5.0)
    assert math.isnan(stressed.largest_delay)
    assert math.isnan(stressed.l_star_ms)
    rows = {(row.item, row.metric): row for row in stressed.measures()}
    assert rows["all", "l_star_ms"].value is None
    assert "no net edge" in rows["all", "l_star_ms"].reason
    assert rows["delay_2_bars", "retained"].value is None


@given(st.lists(st.floats(-2, 2), min_size=0, max_size=4))
def test_every_delay_up_to_the_largest_keeps_the_edge_and_the_next_does_not(later: list[float]) -> None:
    stressed = curve(1.0, *later)
    place = stressed.delays.index(int(stressed.largest_delay))
    assert all(share >= KEPT for share in stressed.retained[: place + 1])
    assert place + 1 == len(stressed.delays) or stressed.retained[place + 1] < KEPT


def noise(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.01, 730)


def test_an_edge_that_improves_with_delay_is_flagged() -> None:
    own = noise() + 0.0005
    stressed = latency_stress({1: own, 2: own + 0.001 + noise(2) / 10}, HOUR)
    assert stressed.improves
    assert ("improves_with_latency", 1.0) in {(row.metric, row.value) for row in stressed.measures()}


def test_an_edge_that_fades_with_delay_is_not_flagged() -> None:
    own = noise() + 0.002
    stressed = latency_stress({1: own, 2: own - 0.0005 + noise(2) / 10, 3: own - 0.001 + noise(3) / 10}, HOUR)
    assert not stressed.improves
    assert stressed.retained[0] == 1 > stressed.retained[1] > stressed.retained[2]


def test_a_gain_within_noise_is_rarely_flagged() -> None:
    flagged = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        own = rng.normal(0.0005, 0.01, 365)
        flagged += latency_stress({1 + k: own + rng.normal(0, 0.002, 365) for k in range(8)}, HOUR).improves
    # The level is 5 % over all delays together; 12 of 100 would be beyond three deviations.
    assert flagged < 12


@pytest.mark.parametrize("flat", [0, 1], ids=["own", "later"])
def test_a_series_that_never_traded_improves_nothing(flat: int) -> None:
    series = [noise(), noise(2)]
    series[flat] = np.zeros(730)
    assert not latency_stress({1: series[0], 2: series[1]}, HOUR).improves


def test_the_latency_rows_are_of_the_series_given() -> None:
    own, later = noise() + 0.001, noise(2) + 0.0005
    rows = {(row.item, row.metric): row.value for row in latency_stress({1: own, 4: later}, HOUR).measures()}
    assert rows["delay_4_bars", "mean"] == pytest.approx(later.mean())
    assert rows["delay_4_bars", "retained"] == pytest.approx(later.mean() / own.mean())
    assert rows["delay_1_bars", "sharpe"] == pytest.approx(annualised_sharpe_ratio(sharpe_ratio(own)))


def test_each_cost_has_its_row_and_the_base_is_that_of_the_file() -> None:
    gross = noise() + 0.003
    rows = cost_stress({multiple: gross - 0.001 * multiple for multiple in (1.0, 1.5, 2.0, 3.0)})
    values = {(row.item, row.metric): row.value for row in rows}
    assert {item for item, _ in values} == {"1.0x", "1.5x", "2.0x", "3.0x", "all"}
    assert values["all", "base_sharpe"] == values["1.0x", "sharpe"]
    means = [values[item, "mean"] for item in ("1.0x", "1.5x", "2.0x", "3.0x")]
    assert np.diff(means) == pytest.approx([-0.0005, -0.0005, -0.001])


def test_a_candidate_that_never_traded_has_costs_of_unknown_sharpe() -> None:
    rows = {(row.item, row.metric): row for row in cost_stress({1.0: np.zeros(100)})}
    assert rows["all", "base_sharpe"].value is None
    assert rows["all", "base_sharpe"].reason == "it never traded"
