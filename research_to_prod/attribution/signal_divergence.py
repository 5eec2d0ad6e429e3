"""Whether the signals that were live are the model's: those of its code on the bars as they were known then.

Belongs here: running a strategy's signals again, and comparing. Doesn't: what a divergence costs (``waterfall``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from research_to_prod.research.bars import Bars
from research_to_prod.research.strategy import Strategy, StrategyParameters


class SignalTime(NamedTuple):
    """Which signal: of which market, decided on the bar that closed at ``at``."""

    strategy: str
    symbol: str
    at: datetime


@dataclass(frozen=True)
class SignalDivergence:
    """A live signal that the model, run again on the bars as known then, doesn't give; None: one side has none."""

    signal: SignalTime
    live: float | None
    rerun: float | None


def rerun_signals(
    name: str, strategy: Strategy, parameters: StrategyParameters, bars: Bars, start: datetime
) -> dict[SignalTime, float]:
    """Return the target weights that the strategy gives on bars that close after ``start``, by signal.

    Parameters
    ----------
    bars
        As known at the time, warm-up included; whoever reads them from an old version of the lake sees what live saw.
    """
    step = bars.ts[1] - bars.ts[0]
    weights = strategy.target_positions(bars, parameters)
    closes = [datetime.fromisoformat(f"{each}+00:00") for each in (bars.ts + step).astype("datetime64[us]")]
    return {
        SignalTime(name, symbol, at): float(weights[row, column])
        for row, at in enumerate(closes)
        if at > start
        for column, symbol in enumerate(bars.symbols)
    }


def signal_divergences(
    live: Mapping[SignalTime, float], rerun: Mapping[SignalTime, float], tolerance: float = 0.0
) -> tuple[SignalDivergence, ...]:
    """Return every signal on which live and the model run again differ, in order of time; the target is none at all.

    Look-ahead, stale data and changed code show here first. A signal that one side lacks is a divergence, and so is
    one that is not a number.
    """
    found = []
    for signal in sorted({*live, *rerun}, key=lambda each: (each.at, each)):
        ours, model = live.get(signal), rerun.get(signal)
        # Written so that NaN differs from everything.
        if ours is None or model is None or not abs(ours - model) <= tolerance:
            found.append(SignalDivergence(signal, ours, model))
    return tuple(found)
