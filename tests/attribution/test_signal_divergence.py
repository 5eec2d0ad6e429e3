"""The target of signal divergence is none: whatever is not the model's signal is named."""

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import research_to_prod
from research_to_prod.attribution.signal_divergence import (
    SignalDivergence,
    SignalTime,
    rerun_signals,
    signal_divergences,
    signal_parity,
)
from research_to_prod.research.bars import Bars
from research_to_prod.research.strategy import load_strategy

SIGNAL = SignalTime("carry", "BTC/USDT", datetime(2026, 1, 2, 12, tzinfo=UTC))


@pytest.mark.parametrize(
    ("live", "rerun"), [(0.5, 0.4), (None, 0.5), (0.5, None), (math.nan, 0.5), (math.nan, math.nan)]
)
def test_any_signal_that_is_not_the_models_is_a_divergence(live: float | None, rerun: float | None):
    ours, model = ({SIGNAL: each} if each is not None else {} for each in (live, rerun))
    (found,) = signal_divergences(ours, model)
    assert repr(found) == repr(SignalDivergence(SIGNAL, live, rerun))


def test_equal_signals_are_none_and_a_tolerance_is_what_is_asked():
    assert signal_divergences({SIGNAL: 0.5}, {SIGNAL: 0.5}) == ()
    assert signal_divergences({SIGNAL: 0.5}, {SIGNAL: 0.5001}, tolerance=0.001) == ()


def test_signals_run_again_are_the_strategys_on_the_bars_known_then():
    strategy = load_strategy(Path(research_to_prod.__file__).parent / "desk" / "strategies", "momentum")
    parameters = strategy.parameters.model_validate({"lookback_hours": 24, "rebalance_hours": 6})
    close = 100 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, (96, 1)), axis=0))
    ts = np.datetime64("2026-01-01", "us") + np.arange(96) * np.timedelta64(1, "h")
    bars = Bars(ts, ("BTC/USDT",), close, close, close, close, close, np.zeros_like(close))
    start = datetime(2026, 1, 3, tzinfo=UTC)
    whole = rerun_signals("carry", strategy, parameters, bars, start)
    assert min(each.at for each in whole) == start + timedelta(hours=1)
    assert len(whole) == 48
    weights = strategy.target_positions(bars, parameters)
    assert whole[SignalTime("carry", "BTC/USDT", start + timedelta(hours=1))] == weights[48, 0]
    # Later bars change no earlier signal: what was known then decides.
    assert (
        signal_divergences(
            rerun_signals("carry", strategy, parameters, bars.window(0, 72), start),
            {signal: weight for signal, weight in whole.items() if signal.at <= start + timedelta(days=1)},
        )
        == ()
    )


SINCE, HOUR = datetime(2026, 1, 1, tzinfo=UTC), timedelta(hours=1)


def model(*weights: float) -> dict[SignalTime, float]:
    """Return signals by the hour, the first one hour before the days that count."""
    return {SignalTime("carry", "BTC/USDT", SINCE + (n - 1) * HOUR): each for n, each in enumerate(weights)}


def decided(*signals: float | None, hours: tuple[int, ...] = (), strategy: str = "carry") -> pa.Table:
    at = hours or tuple(range(len(signals)))
    return pa.table(
        {
            "strategy": [strategy] * len(signals),
            "symbol": ["BTC/USDT"] * len(signals),
            "decided_at": pa.array([SINCE + n * HOUR + timedelta(seconds=1) for n in at], pa.timestamp("us", "UTC")),
            "signal": pa.array(signals, pa.float64()),
        }
    )


def parity(decisions: pa.Table, rerun: dict[SignalTime, float]) -> tuple[int, int] | None:
    found = signal_parity("carry", decisions, rerun, HOUR, SINCE, 1e-4, 0.05)
    return None if found is None else (found.compared, len(found.diverging))


def test_each_decision_is_held_against_the_model_s_signal_at_the_last_close_before_it():
    assert parity(decided(0.5, 0.5, -0.5), model(0.5, 0.5, 0.5, -0.5)) == (3, 0)
    assert parity(decided(0.5, 0.4, -0.5), model(0.5, 0.5, 0.5, -0.5)) == (3, 1)
    assert parity(decided(0.50005), model(0.5, 0.5)) == (1, 0)


def test_a_change_of_the_model_s_mind_on_which_nothing_was_decided_is_a_difference():
    assert parity(decided(0.5), model(0.5, 0.5, -0.5, -0.5)) == (2, 1)
    assert parity(decided(hours=()), model(0.5, 0.5, 0.5)) == (0, 0)


def test_decisions_of_other_strategies_are_not_the_candidate_s():
    assert parity(decided(0.1, strategy="other"), model(0.5, 0.5)) == (0, 0)


@pytest.mark.parametrize(("unknown", "known"), [(1, True), (2, False)])
def test_too_many_decisions_without_a_signal_or_a_bar_leave_parity_unknown(unknown: int, known: bool):
    twenty = [0.5] * 20
    unsaid = decided(*([None] * unknown + twenty[unknown:]))
    assert (parity(unsaid, model(*[0.5] * 21)) is not None) is known
    beyond = decided(*twenty)
    assert (parity(beyond, model(*[0.5] * (21 - unknown))) is not None) is known


def test_a_signal_that_is_not_a_number_differs_from_the_model():
    assert parity(decided(math.nan), model(0.5, 0.5)) == (1, 1)
