"""The desk's live feed held against the vendor's bars: do they agree, and how old were quotes when they came.

A backtest on one market says nothing of trading on another. The quote that stood in the desk's feed when a bar closed
must hold the bar's close, give or take a tick; a bar or a quote that one side lacks agrees with nothing.

Belongs here: that comparison, a day of quotes at a time. Doesn't: reading the quotes, thresholds (``implementation``,
``latency``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.gates.evidence import LatencySamples
from research_to_prod.research.bars import Bars, Floats
from research_to_prod.research.candidate import Candidate
from research_to_prod.values import day_bounds

OLDEST_QUOTE = timedelta(minutes=1)
"""An older one says nothing of the price at which a bar closed; majors are quoted many times a second."""
AGES_A_DAY = 5_000
"""Ages kept of a market's day, evenly spaced: a p99.9 needs 2,995 in all, and a day may have ten million quotes."""


@dataclass(frozen=True)
class FeedEvidence:
    """What some days of the desk's feed show beside the vendor's bars.

    Parameters
    ----------
    bars, agreeing_bars
        Bars that closed within the days, of all markets together, and those that the feed agrees with.
    age
        From the venue's stamp of a quote to its arrival, by our clock.
    """

    bars: int
    agreeing_bars: int
    age: LatencySamples


def feed_evidence(candidate: Candidate, quotes: Iterable[tuple[str, pa.Table]], bars: Bars) -> FeedEvidence:
    """Return what the days of ``quotes`` show, holding one day at a time.

    Parameters
    ----------
    quotes
        Each day ``YYYY-MM-DD`` in order, with its rows of ``execution.contracts.QUOTES``, of any markets.
    bars
        Of the candidate's universe, every bar that closes within the days; NaN where the vendor has none.
    """
    closes_at = _micros(bars.ts) + (_micros(bars.ts[1:2]) - _micros(bars.ts[0:1]))[0]
    total = agreeing = 0
    at: list[npt.NDArray[np.datetime64]] = []
    ages: list[Floats] = []
    for day, rows in quotes:
        start, end = (_micros(np.array([each.replace(tzinfo=None)], "datetime64[us]"))[0] for each in day_bounds(day))
        closing = (closes_at >= start) & (closes_at < end)
        for column, symbol in enumerate(bars.symbols):
            mine = pc.and_(pc.equal(rows["venue"], candidate.venue), pc.equal(rows["symbol"], symbol))
            own = rows.filter(mine).sort_by([("quoted_at", "ascending"), ("sequence", "ascending")])
            terms = candidate.instruments.get(symbol)
            agree = _agree(own, closes_at[closing], bars.close[closing, column], 0.0 if terms is None else terms.tick)
            total, agreeing = total + len(agree), agreeing + int(agree.sum())
            kept = own.take(np.unique(np.linspace(0, own.num_rows - 1, min(own.num_rows, AGES_A_DAY)).astype(int)))
            received, quoted = (kept[name].to_numpy().astype("datetime64[us]") for name in ("received_at", "quoted_at"))
            at.append(received)
            ages.append((received - quoted) / np.timedelta64(1, "ms"))
    none = np.empty(0, "datetime64[us]")
    age = LatencySamples(np.concatenate([none, *at]), np.concatenate([np.empty(0), *ages]))
    return FeedEvidence(total, agreeing, age)


def _agree(quotes: pa.Table, closed_at: npt.NDArray[np.int64], closes: Floats, tick: float) -> npt.NDArray[np.bool_]:
    """Return, for each close, whether the last quote until then holds it."""
    if not quotes.num_rows:
        return np.zeros(len(closes), bool)
    quoted = _micros(quotes["quoted_at"].to_numpy())
    bid, ask = (quotes[name].to_numpy() for name in ("bid", "ask"))
    last = np.searchsorted(quoted, closed_at, side="right") - 1
    found = (last >= 0) & (closed_at - quoted[last] <= OLDEST_QUOTE // timedelta(microseconds=1))
    step = (tick or _tick(bid, ask)) * (1 + 1e-9)
    # NaN, where the vendor has no bar, is in no interval.
    inside: npt.NDArray[np.bool_] = found & (closes >= bid[last] - step) & (closes <= ask[last] + step)
    return inside


def _tick(bid: Floats, ask: Floats) -> float:
    """Return the smallest step between a day's prices, where the candidate does not state the market's tick."""
    prices = np.unique(np.concatenate([bid, ask]))
    steps = np.diff(prices)
    steps = steps[steps > 1e-10 * prices[-1]]
    return float(steps.min()) if len(steps) else 0.0


def _micros(times: npt.NDArray[np.datetime64]) -> npt.NDArray[np.int64]:
    return times.astype("datetime64[us]").astype(np.int64)
