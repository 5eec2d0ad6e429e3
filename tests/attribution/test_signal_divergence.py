"""The target of signal divergence is none: whatever is not the model's signal is named."""

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

import research_to_prod
from research_to_prod.attribution.signal_divergence import (
    SignalDivergence,
    SignalTime,
    rerun_signals,
    signal_divergences,
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
