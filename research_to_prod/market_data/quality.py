"""How complete and how plausible a month of bars is, market by market.

Belongs here: measurements, each with its definition. Doesn't: thresholds and verdicts (the gates' policy has them), and
rules about single bars (``bar_contract``).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.market_data.contracts import MARKET_QUALITY
from research_to_prod.market_data.quarantine import CONFLICTING_DUPLICATE, DUPLICATE
from research_to_prod.market_data.universe import MarketSpec

STALE_BARS = 3
"""Bars with one close and no volume that make a stale run; two happen by chance in thin markets."""

OUTLIER_Z = 10.0
"""Robust z-score beyond which a return is an outlier."""

_MINIMUM_RETURNS = 20
"""Returns below which a month has no usable scale; a month of daily bars has 27 to 30."""

_MAD_TO_SIGMA = 1.4826  # 1 / norm.ppf(0.75): scales the MAD of a normal distribution to its standard deviation

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def profile(
    candles: pa.Table, quarantine: pa.Table, markets: Sequence[MarketSpec], month: str, as_of: datetime
) -> pa.Table:
    """Measure one month of every market.

    Parameters
    ----------
    candles, quarantine
        CANDLES and CANDLE_QUARANTINE of the month; rows of markets that are not listed are ignored.
    markets
        The markets to judge, those without a single row included.
    month
        ``YYYY-MM``.
    as_of
        Time of the fetch: a bar that had not ended by then is not expected.

    Returns
    -------
    pa.Table
        MARKET_QUALITY, one row per market, with these definitions:

        expected
            Bars on the timeframe's grid that open in the month, at or after the market's ``since``, and have ended by
            its ``until`` and ``as_of``.
        valid, missing, completeness
            Expected bars that are in ``candles``; those that are not (absent or quarantined); valid / expected,
            null when nothing is expected.
        filled
            Valid bars that a declared repair filled from another market. They count as valid, and so in completeness,
            because a named person declared the repair; the bars that the venue delivered are valid - filled.
        gap_runs, longest_gap_bars, gaps
            Maximal runs of consecutive missing bars within the month: their number, the length of the longest, and
            each as ``2018-02-08T01:00Z +33``. A gap across a month's end counts once in each month, with the bars that
            it misses there.
        duplicates
            Quarantined rows under ``duplicate`` or ``conflicting_duplicate``.
        zero_volume_bars
            Valid bars whose volume is 0.
        stale_runs, longest_stale_bars
            Maximal runs of at least 3 adjacent valid bars (on the grid) with equal closes and zero volume.
        outlier_returns
            Log returns between adjacent valid bars with ``|r - median| / (1.4826 MAD) > 10``, median and MAD over the
            month (Iglewicz and Hoaglin 1993). Null with fewer than 20 returns or a MAD of 0: no scale, no verdict.
    """
    rows = [_measure(_of(candles, market), _of(quarantine, market), market, month, as_of) for market in markets]
    return MARKET_QUALITY.conform(pa.Table.from_pylist(rows, schema=MARKET_QUALITY.arrow), month)


def _of(table: pa.Table, market: MarketSpec) -> pa.Table:
    mask = pc.equal(table["symbol"], market.symbol)
    mask = pc.and_(mask, pc.equal(table["venue"], market.venue))
    return table.filter(pc.and_(mask, pc.equal(table["timeframe"], market.timeframe)))


def _measure(
    candles: pa.Table, quarantine: pa.Table, market: MarketSpec, month: str, as_of: datetime
) -> dict[str, Any]:
    first, stop = market.bars_of(month, as_of)
    expected = (stop - first) // market.length
    slots = _slots(candles, first, market.length)
    inside = (slots >= 0) & (slots < expected)
    order = np.argsort(slots[inside], kind="stable")
    slots = slots[inside][order]
    close = candles["close"].to_numpy()[inside][order]
    volume = candles["volume"].to_numpy()[inside][order]

    missing = np.ones(expected, bool)
    missing[slots] = False
    starts, lengths = runs(missing)
    stale_lengths = _stale_runs(slots, close, volume)
    valid = expected - int(missing.sum())
    return {
        "venue": market.venue,
        "symbol": market.symbol,
        "timeframe": market.timeframe,
        "month": month,
        "first_expected_at": first if expected else None,
        "last_expected_at": stop - market.length if expected else None,
        "expected_bars": expected,
        "valid_bars": valid,
        "filled_bars": int(inside[candles["repair"].is_valid().to_numpy()].sum()),
        "missing_bars": expected - valid,
        "gap_runs": len(starts),
        "longest_gap_bars": int(lengths.max(initial=0)),
        "duplicates": sum(
            not {DUPLICATE, CONFLICTING_DUPLICATE}.isdisjoint(rule.split(","))
            for rule in quarantine["rule"].to_pylist()
        ),
        "quarantined_rows": quarantine.num_rows,
        "zero_volume_bars": int((volume == 0).sum()),
        "stale_runs": len(stale_lengths),
        "longest_stale_bars": int(stale_lengths.max(initial=0)),
        "outlier_returns": _outlier_returns(slots, close),
        "completeness": valid / expected if expected else None,
        "gaps": "; ".join(
            f"{first + int(start) * market.length:%Y-%m-%dT%H:%MZ} +{length}"
            for start, length in zip(starts, lengths, strict=True)
        ),
    }


def _slots(candles: pa.Table, first: datetime, length: timedelta) -> Integers:
    """Return the position of each bar on the grid that starts at ``first``."""
    micros: Integers = candles["ts"].cast(pa.int64()).to_numpy()
    origin = (first - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return (micros - origin) // (length // timedelta(microseconds=1))


def runs(flags: npt.NDArray[np.bool_]) -> tuple[Integers, Integers]:
    """Return the starts and lengths of the maximal runs of True in ``flags`` (n,)."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False]))))
    return edges[::2], edges[1::2] - edges[::2]


def _stale_runs(slots: Integers, close: Floats, volume: Floats) -> Integers:
    """Return the lengths in bars of the stale runs."""
    same = (np.diff(slots) == 1) & (np.diff(close) == 0) & (volume[1:] == 0) & (volume[:-1] == 0)
    bars = runs(same)[1] + 1
    return bars[bars >= STALE_BARS]


def _outlier_returns(slots: Integers, close: Floats) -> int | None:
    """Return how many returns of adjacent bars lie beyond the robust z-score, None without a scale."""
    returns = np.diff(np.log(close))[np.diff(slots) == 1]
    if len(returns) < _MINIMUM_RETURNS:
        return None
    distance = np.abs(returns - np.median(returns))
    scale = _MAD_TO_SIGMA * float(np.median(distance))
    return int((distance > OUTLIER_Z * scale).sum()) if scale > 0 else None
