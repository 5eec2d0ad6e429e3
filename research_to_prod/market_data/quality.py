"""How complete and how plausible a month of bars is, market by market.

Belongs here: measurements, each with its definition. Doesn't: thresholds and verdicts (the gates' policy has them),
reasons to doubt a month (``rules``), and rules about single bars (``bar_contract``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from research_to_prod.market_data.certificates import Certificate
from research_to_prod.market_data.contracts import CANDLE_QUARANTINE, MARKET_QUALITY
from research_to_prod.market_data.quality_policy import QualityPolicy
from research_to_prod.market_data.quarantine import CONFLICTING_DUPLICATE, DUPLICATE
from research_to_prod.market_data.series import Series, by_market, instant, runs, uncovered


def profile(
    markets: Sequence[Series],
    quarantine: pa.Table,
    month: str,
    certificates: Sequence[Certificate],
    policy: QualityPolicy,
) -> pa.Table:
    """Measure one month of every market.

    Parameters
    ----------
    markets
        The month of each market, as ``series.read_series`` gives it; those without a single row included.
    quarantine
        CANDLE_QUARANTINE of the month; rows of other markets are ignored.
    month
        ``YYYY-MM``.
    certificates
        Of the fetches that brought the rows: without one, an absent bar is unknown, never absent.
    policy
        Its ``gaps.stale_bars`` and ``returns.outlier`` say what is counted as stale and as an outlier.

    Returns
    -------
    pa.Table
        MARKET_QUALITY, one row per market, with these definitions:

        expected
            Bars on the timeframe's grid that open in the month, at or after the market's ``since``, and had ended by
            its ``until`` and the time of the fetch.
        valid, missing
            Expected bars that passed the contract; those that are not (absent, quarantined, or unknown).
        filled
            Valid bars that a declared repair filled from another market. They count as valid, and so in completeness,
            because a named person declared the repair; the bars that the venue delivered are valid - filled.
        unknown
            Expected bars that no complete certificate of the market covers.
        completeness
            valid / expected; null when nothing is expected or any bar is unknown.
        gap_runs, longest_gap_bars, gaps
            Maximal runs of consecutive missing bars within the month: their number, the length of the longest, and
            each as ``2018-02-08T01:00Z +33``. A gap across a month's end counts once in each month, with the bars that
            it misses there.
        duplicates
            Quarantined rows under ``duplicate`` or ``conflicting_duplicate``.
        zero_volume_bars
            Valid bars whose volume is 0.
        stale_runs, longest_stale_bars
            Maximal runs of at least ``stale_bars`` adjacent valid bars (on the grid) with equal closes and zero volume.
        outlier_returns
            Log returns between adjacent valid bars with a robust z-score beyond ``outlier`` against the same hour of
            the week (``series.returns_of``). Null when nothing gives them a scale: no scale, no verdict.
    """
    refused = by_market(quarantine)
    rows = [
        _measure(
            own,
            refused.get(own.key, CANDLE_QUARANTINE.empty()),
            month,
            int(uncovered(own, certificates).sum()),
            policy,
        )
        for own in markets
    ]
    return MARKET_QUALITY.conform(pa.Table.from_pylist(rows, schema=MARKET_QUALITY.arrow), month)


def _measure(own: Series, refused: pa.Table, month: str, unknown: int, policy: QualityPolicy) -> dict[str, Any]:
    market, expected = own.market, own.expected
    starts, lengths = runs(own.missing)
    stale = _stale_runs(own)
    stale = stale[stale >= policy.gaps.stale_bars.value]
    valid = len(own.bars)
    z = own.returns.z
    return {
        "venue": market.venue,
        "symbol": market.symbol,
        "timeframe": market.timeframe,
        "month": month,
        "first_expected_at": instant(own.first) if expected else None,
        "last_expected_at": instant(own.first + (expected - 1) * own.length) if expected else None,
        "expected_bars": expected,
        "valid_bars": valid,
        "filled_bars": int(own.bars.filled.sum()),
        "missing_bars": expected - valid,
        "unknown_bars": unknown,
        "gap_runs": len(starts),
        "longest_gap_bars": int(lengths.max(initial=0)),
        "duplicates": sum(
            not {DUPLICATE, CONFLICTING_DUPLICATE}.isdisjoint(rule.split(",")) for rule in refused["rule"].to_pylist()
        ),
        "quarantined_rows": refused.num_rows,
        "zero_volume_bars": int((own.bars.volume == 0).sum()),
        "stale_runs": len(stale),
        "longest_stale_bars": int(stale.max(initial=0)),
        "outlier_returns": None if z is None else int((np.abs(z) > policy.returns.outlier.value).sum()),
        "completeness": valid / expected if expected and not unknown else None,
        "gaps": "; ".join(
            f"{instant(own.first + int(start) * own.length):%Y-%m-%dT%H:%MZ} +{length}"
            for start, length in zip(starts, lengths, strict=True)
        ),
    }


def _stale_runs(own: Series) -> np.ndarray:
    """Return the lengths in bars of the runs of adjacent bars with one close and no volume, of two bars or more."""
    return runs(own.still)[1] + 1
