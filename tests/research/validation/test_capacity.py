"""Capacity in closed form, the label of a day, and a ruined trial."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from research_to_prod.research.backtest import Backtest
from research_to_prod.research.bars import Bars
from research_to_prod.research.costs import Costs
from research_to_prod.research.trial_ledger import TrialLedger
from research_to_prod.research.trials import Terms, run_trials
from research_to_prod.research.validation.capacity import Capacity, assumed_impact, capacity_curve
from research_to_prod.research.validation.regimes import label_days
from research_to_prod.research.validation.study import trial_matrix
from tests.research.test_trial_discipline import ASKED, STRATEGY, bars, candidate, experiment


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


def test_a_ruined_trial_stays_in_the_matrix(tmp_path: Path) -> None:
    rows = run_trials(candidate(STRATEGY), STRATEGY, bars(), TrialLedger(tmp_path / "t.jsonl"), **ASKED)
    series = rows["returns"].to_pylist()
    series[1] = [-1.0, *[math.nan] * 181]
    column = rows.schema.get_field_index("returns")
    found = trial_matrix(rows.set_column(column, rows.schema.field(column), [series]))
    assert found.shape == (182, 3)
    assert found[:, 1].tolist() == [-1.0, *[0.0] * 181]
