"""Whether the signals that were live are the model's: those of its code on the bars as they were known then.

Belongs here: running a strategy's signals again, and comparing. Doesn't: what a divergence costs (``waterfall``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

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


@dataclass(frozen=True)
class SignalParity:
    """How many signals of some days were compared with the model run again, and which of them differ."""

    compared: int
    diverging: tuple[SignalDivergence, ...]


def signal_parity(
    name: str,
    decisions: pa.Table,
    rerun: Mapping[SignalTime, float],
    step: timedelta,
    since: datetime,
    tolerance: float,
    largest_unknown: float,
) -> SignalParity | None:
    """Hold each decision's signal against the model's, and each change of the model's signal against the decisions.

    A signal on which the model changed its mind and the desk decided nothing is a difference too. None where more than
    a share ``largest_unknown`` of the decisions has no signal on record, or the model could not be run again there.

    Parameters
    ----------
    decisions
        ``DECISIONS`` rows of whole days from ``since`` on, of any strategies.
    rerun
        The model's signals by the time at which their bar closed, those of the bar before ``since`` among them.
    step
        Length of a bar: a decision rests on the last one that had closed.
    """
    own = decisions.filter(pc.equal(decisions["strategy"], name)).sort_by("decided_at")
    live: dict[SignalTime, float] = {}
    unknown = 0
    for row in own.select(["symbol", "decided_at", "signal"]).to_pylist():
        at = row["decided_at"] - (row["decided_at"] - _EPOCH) % step
        signal = SignalTime(name, row["symbol"], at)
        if row["signal"] is None or signal not in rerun:
            unknown += 1
        else:
            live[signal] = row["signal"]
    if unknown > largest_unknown * own.num_rows:
        return None
    changed = {
        signal
        for signal, weight in rerun.items()
        if signal.at >= since and not abs(weight - rerun.get(signal._replace(at=signal.at - step), weight)) <= tolerance
    }
    model = {signal: rerun[signal] for signal in live.keys() | changed}
    return SignalParity(len(model), signal_divergences(live, model, tolerance))


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
