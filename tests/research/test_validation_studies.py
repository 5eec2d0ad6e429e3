"""Neighbourhood, stress, capacity, regimes and the table of all: what each says and what it refuses to say."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from pydantic import Field

from research_to_prod.gates.validation_statistics import assess_significance
from research_to_prod.research.backtest import Backtest
from research_to_prod.research.bars import Bars
from research_to_prod.research.contracts import VALIDATION
from research_to_prod.research.costs import Costs
from research_to_prod.research.strategy import StrategyParameters
from research_to_prod.research.trial_ledger import TrialLedger
from research_to_prod.research.trials import Terms, run_trials
from research_to_prod.research.validation.capacity import Capacity, assumed_impact, capacity_curve
from research_to_prod.research.validation.measures import missing_measures, unknown, validation_table
from research_to_prod.research.validation.neighbourhood import compare_neighbours, neighbours_of
from research_to_prod.research.validation.regimes import label_days, regime_table
from research_to_prod.research.validation.stress import latency_stress
from research_to_prod.research.validation.study import trial_matrix, validate_candidate
from tests.research.test_trial_discipline import ASKED, MAKER, STRATEGY, bars, candidate, experiment

HOUR = timedelta(hours=1)


class Parameters(StrategyParameters):
    hours: int = Field(default=5, ge=1)
    width: float = Field(default=1.0, le=1.15)
    fade: bool = True
    side: Literal["both", "long"] = "both"
    target: float | None = None
    shift: float = 0.0


def noise(mean: float = 0.001, seed: int = 0, days: int = 400) -> np.ndarray:
    series = np.random.default_rng(seed).normal(0, 0.01, days)
    return series - series.mean() + mean


def test_neighbours_are_rounded_distinct_within_bounds_and_of_numbers_only() -> None:
    found = neighbours_of(Parameters())
    assert {name: (each.hours, round(each.width, 9)) for name, each in found.items()} == {
        "hours:-20%": (4, 1.0), "hours:+10%": (6, 1.0),
        "width:-20%": (5, 0.8), "width:-10%": (5, 0.9), "width:+10%": (5, 1.1),
    }  # fmt: skip


def test_a_needle_has_a_low_median_ratio_and_a_plateau_one_near_one() -> None:
    needle = compare_neighbours(noise(0.002), {"a": noise(0.0002), "b": noise(-0.0005), "c": noise(0.0001)})
    assert needle.median_ratio == pytest.approx(0.05, rel=1e-6)
    assert needle.minimum < 0
    assert compare_neighbours(noise(), {"a": noise(), "b": noise()}).median_ratio == pytest.approx(1)


@pytest.mark.parametrize(
    ("own", "near", "reason"),
    [
        (noise(-0.001), {"a": noise()}, "own Sharpe ratio is -"),
        (noise(), {}, "no neighbours"),
        (noise(), {"a": noise(), "b": np.zeros(400)}, "b never traded"),
    ],
)
def test_a_ratio_that_means_nothing_is_a_null_with_its_reason(
    own: np.ndarray, near: dict[str, np.ndarray], reason: str
) -> None:
    (ratio,) = (each for each in compare_neighbours(own, near).measures() if each.metric == "median_ratio")
    assert ratio.value is None
    assert reason in ratio.reason


def test_l_star_is_the_largest_delay_before_the_first_that_loses_a_fifth() -> None:
    means = {1: 1.0, 2: 0.9, 3: 0.81, 4: 0.79, 6: 0.95}
    curve = latency_stress({delay: noise(0.001 * mean) for delay, mean in means.items()}, HOUR)
    assert (curve.largest_delay, curve.l_star_ms) == (3, 2 * 3_600_000)
    assert latency_stress({2: noise(), 3: noise(0.0001)}, HOUR).l_star_ms == 0
    nothing = latency_stress({1: noise(-0.001), 2: noise(-0.002)}, HOUR)
    assert math.isnan(nothing.largest_delay)
    assert math.isnan(nothing.l_star_ms)


def test_an_edge_that_grows_with_latency_smells_and_luck_does_not() -> None:
    own = noise()
    assert latency_stress({1: own, 2: own + noise(0.0005, seed=1) / 3 + 0.0004}, HOUR).improves
    assert not latency_stress({1: own, 2: own.copy()}, HOUR).improves
    alarms = [
        latency_stress({1: own, **{k: own + 0.3 * np.random.default_rng(k * 999 + n).normal(0, 0.01, 400)
                                   for k in range(2, 9)}}, HOUR).improves
        for n in range(200)
    ]  # fmt: skip
    assert np.mean(alarms) < 0.1


def traded(units: list[float], price: float = 100.0, volume: float = 1000.0) -> tuple[Backtest, Bars]:
    """Return a run of one bar a day that holds ``units``, and its bars."""
    ones = np.ones((len(units), 1))
    ts = np.datetime64("2024-01-01", "us") + np.arange(len(units)) * np.timedelta64(1, "D")
    flat = ones * price
    history = Bars(ts, ("A/B",), flat, flat, flat, flat, ones * volume, 0 * ones)
    nothing = np.zeros(len(units))
    equity = 1000 * 1.01 ** np.arange(1, len(units) + 1)
    held = np.array(units)[:, None]
    return Backtest(ts, 1000.0, equity, *[nothing] * 10, held, 1), history


def test_capacity_by_hand() -> None:
    # One buy of 10 units at 100 of an equity of 1000: the whole capital. At 4000 it is 40 of the bar's 1000 units.
    curve = capacity_curve(*traded([10.0] * 5), capital=4000.0, impact=0.05)
    cost = 0.05 * math.sqrt(40 / 1000) / 5
    assert (curve.edge, curve.impact) == (pytest.approx(0.01), pytest.approx(cost))
    assert curve.mean(4.0) == pytest.approx(0.01 - 2 * cost)
    assert curve.retained(1.0) == pytest.approx((0.01 - cost) / 0.01)
    assert curve.retained(curve.capacity / 4000) == pytest.approx(0.5)


def test_capacity_is_of_a_constant_capital_not_of_what_it_grew_to() -> None:
    early, late = (capacity_curve(*traded(units), capital=1000.0, impact=0.05)
                   for units in ([5.0] * 400, [0.0] * 399 + [5.0 * 1.01**399]))  # fmt: skip
    assert late.impact == pytest.approx(early.impact)


def test_the_engine_charges_the_same_impact_while_little_has_grown(tmp_path: Path) -> None:
    asked = experiment(STRATEGY, TrialLedger(tmp_path / "trials.jsonl"))
    free, charged = asked.backtests([Terms(impact=0.0), Terms(impact=1e-5)])
    ours = capacity_curve(free, asked.bars, 1000.0, 1e-5).impact * 182
    growth = np.concatenate(([1000.0], charged.equity[:-1])) / 1000
    assert ours == pytest.approx(float((charged.impact_cost / 1000 / growth**1.5).sum()), rel=1e-3)


def test_without_an_edge_or_in_bars_without_volume_there_is_no_capacity() -> None:
    dry = capacity_curve(*traded([10.0] * 5, volume=0.0), capital=1000.0, impact=0.05)
    assert {each.value for each in dry.measures() if each.item == "all"} == {None}
    assert math.isnan(Capacity(1000.0, -0.01, 0.001).capacity)
    assert math.isnan(Capacity(1000.0, -0.01, 0.001).retained(1.0))


def test_a_candidate_without_impact_is_assumed_to_move_the_price_by_a_bars_deviation() -> None:
    history = bars()
    assert assumed_impact(Costs(), history) == pytest.approx(0.01, rel=0.05)
    assert assumed_impact(Costs(impact=0.5), history) == 0.5


def test_the_label_of_a_day_does_not_change_with_anything_from_that_day_on() -> None:
    history, day = bars(), 100
    other = Bars(
        **{**history.__dict__, "close": np.where(np.arange(len(history))[:, None] < day * 24, history.close, 7.0)}
    )
    one, two = label_days(history), label_days(other)
    assert np.array_equal(one["trend_up"][: day + 1], two["trend_up"][: day + 1])
    assert one["trend_up"][:31].sum() == one["trend_down"][:31].sum() == 0


def test_labels_part_the_days_and_their_shares_of_the_profit_add_up() -> None:
    labels, returns = label_days(bars()), noise(0.001, days=182)
    thirds = [labels[f"volatility_{each}"].sum() for each in ("low", "mid", "high")]
    assert sum(thirds) == 182 - 31
    assert max(thirds) - min(thirds) <= 1
    # 2024-01-06 was a Saturday.
    assert np.flatnonzero(labels["weekend"])[:3].tolist() == [5, 6, 12]
    shares = {each.item: each.value for each in regime_table(returns, labels) if each.metric == "share_of_pnl"}
    assert shares["weekday"] + shares["weekend"] == pytest.approx(1)
    assert {each.value for each in regime_table(-returns, labels) if each.metric == "share_of_pnl"} == {None}


def test_a_ruined_trial_stays_in_the_matrix(tmp_path: Path) -> None:
    rows = run_trials(candidate(STRATEGY), STRATEGY, bars(), TrialLedger(tmp_path / "t.jsonl"), **ASKED)
    series = rows["returns"].to_pylist()
    series[1] = [-1.0, *[math.nan] * 181]
    column = rows.schema.get_field_index("returns")
    found = trial_matrix(rows.set_column(column, rows.schema.field(column), [series]))
    assert found.shape == (182, 3)
    assert found[:, 1].tolist() == [-1.0, *[0.0] * 181]


@pytest.mark.parametrize("strategy", [STRATEGY, MAKER], ids=lambda each: each.name)
def test_all_studies_together_are_complete_and_the_same_each_time(strategy: object, tmp_path: Path) -> None:
    tables = []
    for name in ("one", "two"):
        ledger = TrialLedger(tmp_path / f"{name}.jsonl")
        trials = run_trials(candidate(strategy), strategy, bars(), ledger, **ASKED)
        made = validate_candidate(experiment(strategy, ledger), trials)
        found = assess_significance(made.returns, made.own, candidate(strategy).sha256)
        tables.append(validation_table("some_candidate", [*made.measures, *found.measures]))
    assert tables[0].equals(tables[1])
    assert missing_measures(tables[0]) == []
    assert tables[0].schema.names == VALIDATION.arrow.names
    assert {row["reason"] == "" for row in tables[0].to_pylist() if row["value"] is not None} == {True}


def test_another_searchs_trials_are_refused(tmp_path: Path) -> None:
    ledger = TrialLedger(tmp_path / "trials.jsonl")
    trials = run_trials(candidate(STRATEGY), STRATEGY, bars(), ledger, **ASKED)
    with pytest.raises(ValueError, match="not those of some_candidate's search"):
        validate_candidate(experiment(STRATEGY, ledger), trials.slice(1))


def test_a_missing_number_is_named_and_a_null_needs_a_reason() -> None:
    rows = validation_table("a", unknown("cpcv", "too few days"))
    missing = missing_measures(rows)
    assert "selection spa_consistent" in missing
    assert not [each for each in missing if each.startswith("cpcv")]
    silent = rows.set_column(5, "reason", [[""] * rows.num_rows])
    assert "cpcv quantile_05" in missing_measures(silent)


def test_a_search_of_one_trial_has_no_probability_of_overfitting_but_says_why() -> None:
    series = noise()
    found = assess_significance(series[:, None], series, "a" * 64)
    (pbo,) = (each for each in found.measures if each.metric == "pbo")
    assert (pbo.value, found.overfitting) == (None, None)
    assert "1 trials are too few" in pbo.reason


def test_trials_that_never_traded_are_left_out_and_counted() -> None:
    returns = np.stack([noise(seed=n) for n in range(5)] + [np.zeros(400)], axis=1)
    numbers = {each.metric: each.value for each in assess_significance(returns, returns[:, 0], "a" * 64).measures}
    assert (numbers["n_trials"], numbers["idle_trials"]) == (5, 1)
    assert numbers["pbo"] is not None
