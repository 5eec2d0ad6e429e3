"""The neighbourhood: near parameter sets that the strategy allows, each of them a trial, compared without flattery."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

import research_to_prod
from research_to_prod.research.bars import Bars, Floats
from research_to_prod.research.candidate import Candidate
from research_to_prod.research.strategy import StrategyParameters, load_strategy
from research_to_prod.research.trial_ledger import TrialLedger
from research_to_prod.research.trials import Experiment
from research_to_prod.research.validation.measures import WHOLE, Measure
from research_to_prod.research.validation.neighbourhood import Neighbourhood, compare_neighbours, neighbours_of


class Parameters(StrategyParameters):
    lookback: int = Field(default=50, ge=2, le=100)
    leverage: float = Field(default=1.0, gt=0, le=5)
    skew: float = 0.0
    limit: float | None = None
    both_sides: bool = True
    kind: str = "plain"


def moved(own: Parameters) -> dict[str, int | float]:
    """Return what each neighbour's own parameter has become."""
    return {name: getattr(near, name.split(":")[0]) for name, near in neighbours_of(own).items()}


def by_key(found: Neighbourhood) -> dict[tuple[str, str], Measure]:
    return {(row.item, row.metric): row for row in found.measures()}


def returns(seed: int, mean: float) -> Floats:
    return np.random.default_rng(seed).normal(mean, 0.01, 200)


def test_each_numeric_parameter_is_moved_alone_by_ten_and_twenty_percent_both_ways() -> None:
    assert moved(Parameters(leverage=2.0)) == {
        "leverage:-20%": pytest.approx(1.6),
        "leverage:-10%": pytest.approx(1.8),
        "leverage:+10%": pytest.approx(2.2),
        "leverage:+20%": pytest.approx(2.4),
        "lookback:-20%": 40,
        "lookback:-10%": 45,
        "lookback:+10%": 55,
        "lookback:+20%": 60,
    }


@given(
    lookback=st.integers(2, 100),
    leverage=st.floats(0.01, 5),
    skew=st.floats(-1, 1),
    limit=st.none() | st.floats(0.1, 2),
)
def test_neighbours_are_valid_distinct_and_differ_in_one_parameter_only(
    lookback: int, leverage: float, skew: float, limit: float | None
) -> None:
    own = Parameters(lookback=lookback, leverage=leverage, skew=skew, limit=limit)
    found = neighbours_of(own)
    assert own not in found.values()
    sets = [near.model_dump_json() for near in found.values()]
    assert len(set(sets)) == len(sets)
    for name, near in found.items():
        assert isinstance(near, Parameters)
        assert type(near.lookback) is int
        assert Parameters.model_validate(near.model_dump()) == near
        changed = {key for key, value in near.model_dump().items() if value != own.model_dump()[key]}
        assert changed == {name.split(":")[0]}


def test_what_lies_outside_the_strategys_bounds_is_left_out() -> None:
    found = moved(Parameters(lookback=95, leverage=4.5))
    assert "lookback:+10%" not in found
    assert "lookback:+20%" not in found
    assert "leverage:+20%" not in found
    assert found["leverage:+10%"] == pytest.approx(4.95)


def test_small_integers_have_no_neighbour_that_rounds_to_themselves_or_to_an_earlier_one() -> None:
    assert {name for name in moved(Parameters(lookback=2)) if name.startswith("lookback")} == set()
    assert {name: value for name, value in moved(Parameters(lookback=6)).items() if name.startswith("lookback")} == {
        "lookback:-20%": 5,
        "lookback:+10%": 7,
    }


def test_flags_texts_absent_values_and_zeros_are_not_moved() -> None:
    assert {name.split(":")[0] for name in moved(Parameters())} == {"leverage", "lookback"}
    assert {name.split(":")[0] for name in moved(Parameters(skew=-0.5, limit=1.0))} == {
        "leverage",
        "limit",
        "lookback",
        "skew",
    }


def test_a_plateau_has_a_median_ratio_near_one_and_a_needle_has_none_left() -> None:
    own = returns(1, 0.005)
    plateau = compare_neighbours(own, {f"a:{step}": own + 1e-5 * step for step in range(4)})
    assert plateau.median_ratio == pytest.approx(1, abs=0.01)
    needle = compare_neighbours(own, {f"a:{step}": returns(step, -0.001) for step in range(2, 6)})
    assert needle.median_ratio < 0.1
    assert needle.minimum < 0


def test_the_summary_is_the_median_over_the_own_and_the_worst() -> None:
    rows = by_key(Neighbourhood(2.0, {"a:-10%": 1.0, "a:+10%": 1.5, "b:+10%": -3.0}))
    assert rows[WHOLE, "base_sharpe"].value == 2.0
    assert rows[WHOLE, "median_ratio"].value == 0.5
    assert rows[WHOLE, "minimum_sharpe"].value == -3.0
    assert rows[WHOLE, "neighbours"].value == 3
    assert rows["a:+10%", "sharpe"].value == 1.5
    assert {key[0] for key, row in rows.items() if key[1] == "trial" and row.value == 1} == {
        "a:-10%",
        "a:+10%",
        "b:+10%",
    }


@pytest.mark.parametrize("base", [0.0, -1.0, math.nan])
def test_the_ratio_to_an_own_sharpe_ratio_that_is_not_positive_is_unknown(base: float) -> None:
    row = by_key(Neighbourhood(base, {"a:+10%": -2.0}))[WHOLE, "median_ratio"]
    assert row.value is None
    assert row.reason


def test_a_neighbour_that_never_traded_leaves_the_summary_unknown_and_is_named() -> None:
    found = compare_neighbours(returns(1, 0.005), {"a:-10%": np.zeros(200), "a:+10%": returns(2, 0.005)})
    rows = by_key(found)
    assert (rows["a:-10%", "sharpe"].value, rows["a:-10%", "sharpe"].reason) == (None, "it never traded")
    assert rows["a:-10%", "trial"].value == 1
    for metric in ("median_ratio", "minimum_sharpe"):
        assert rows[WHOLE, metric].value is None
        assert rows[WHOLE, metric].reason == "a:-10% never traded"


def test_a_day_without_a_return_leaves_the_comparison_unknown() -> None:
    holed = returns(2, 0.005)
    holed[7] = np.nan
    assert math.isnan(compare_neighbours(returns(1, 0.005), {"a:+10%": holed}).median_ratio)
    assert math.isnan(compare_neighbours(holed, {"a:+10%": returns(1, 0.005)}).median_ratio)


def test_a_strategy_without_numeric_parameters_has_an_unknown_neighbourhood() -> None:
    class Plain(StrategyParameters):
        kind: str = "plain"

    assert neighbours_of(Plain()) == {}
    rows = by_key(compare_neighbours(returns(1, 0.005), {}))
    assert rows[WHOLE, "neighbours"].value == 0
    for metric in ("median_ratio", "minimum_sharpe"):
        assert rows[WHOLE, metric].value is None
        assert "no numeric parameter" in rows[WHOLE, metric].reason


def test_every_neighbour_that_is_tried_counts_once_in_the_trial_ledger(tmp_path: Path) -> None:
    strategy = load_strategy(Path(research_to_prod.__file__).parent / "desk" / "strategies", "momentum")
    candidate = Candidate.model_validate(
        {
            "name": "some_candidate",
            "owner": "team:research",
            "hypothesis": "Prices that moved for three days keep moving for another one or two.",
            "strategy": "momentum",
            "type": "swing",
            "venue": "sandbox",
            "universe": ("BTC/USDT",),
            "timeframe": "1h",
            "window": {"start": "2024-01-01", "end": "2024-02-01"},
            "parameters": {"lookback_hours": 24, "rebalance_hours": 10},
            "search_space": {"lookback_hours": (24, 48)},
            "capital": "1000",
            "strategy_sha256": strategy.source_sha256,
        }
    )
    hours = np.arange(31 * 24)
    close = 100 * np.exp(np.cumsum(np.random.default_rng(5).normal(0, 0.01, (len(hours), 1)), axis=0))
    ts = np.datetime64("2024-01-01", "us") + hours * np.timedelta64(1, "h")
    bars = Bars(ts, ("BTC/USDT",), close, close, close, close, np.full_like(close, 1000.0), np.zeros_like(close))
    ledger = TrialLedger(tmp_path / "trials.jsonl")
    asked = Experiment(candidate, strategy, bars, ledger, "run", datetime(2026, 1, 1, tzinfo=UTC))

    near = neighbours_of(asked.own)
    assert len(near) == 12
    tried = asked.evaluate(tuple(near.values()))
    assert ledger.count("momentum", ["BTC/USDT"]) == len(near)
    assert {record.trial_id for record in ledger.records()} == {candidate.trial_id(each) for each in near.values()}
    asked.evaluate(tuple(near.values()))
    assert ledger.count("momentum", ["BTC/USDT"]) == len(near)
    found = compare_neighbours(tried[0].returns, {name: each.returns for name, each in zip(near, tried, strict=True)})
    assert sum(row.metric == "trial" for row in found.measures()) == len(near)
