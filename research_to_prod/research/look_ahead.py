"""The look-ahead test: whether a strategy's past depends on its future.

The idea of freqtrade's lookahead-analysis: perturb the data after a moment and compare the positions before it.
Belongs here: the perturbation and the comparison. Doesn't: verdicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from research_to_prod.research.bars import Bars, Floats
from research_to_prod.research.strategy import Strategy, StrategyParameters

_CUTS = 8


def look_ahead_bars(strategy: Strategy, parameters: StrategyParameters, bars: Bars) -> tuple[int, ...]:
    """Return the bars whose positions changed when only later bars did; empty for an honest strategy.

    Eight moments spread over the history are tried. After each, prices are reversed in time and scaled, volumes and
    funding permuted: nothing that a position could rest on stays what it was.
    """
    honest = strategy.decisions(bars, parameters)
    changed: set[int] = set()
    for cut in _cuts(len(bars)):
        seen = strategy.decisions(_with_another_future(bars, cut), parameters)
        changed |= set(np.flatnonzero(_differ(seen[:cut], honest[:cut])).tolist())
    return tuple(sorted(changed))


def _differ(one: Floats, other: Floats) -> npt.NDArray[np.bool_]:
    # NaN is the absence of a quote, and equal to itself here.
    return np.asarray(((one != other) & ~(np.isnan(one) & np.isnan(other))).any(axis=1), dtype=bool)


def _cuts(length: int) -> Sequence[int]:
    return sorted({int(each) for each in np.linspace(1, length - 1, _CUTS)}) if length > 1 else []


def _with_another_future(bars: Bars, cut: int) -> Bars:
    """Return the bars with everything from ``cut`` on replaced."""

    def other(values: Floats, scale: float = 1.0) -> Floats:
        return np.concatenate([values[:cut], values[cut:][::-1] * scale])

    return replace(
        bars,
        open=other(bars.open, 1.31),
        high=other(bars.high, 1.31),
        low=other(bars.low, 1.31),
        close=other(bars.close, 1.31),
        volume=other(bars.volume, 0.5),
        funding=other(bars.funding, -2.0),
    )
