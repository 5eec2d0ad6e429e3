"""What the market did after each fill: whether we were paid for the spread or picked off.

Belongs here: markouts per fill, their means with intervals, and the verdict on maker fills. Doesn't: the cost of a
whole order (``slippage``).

With side ``s``, quantity ``q``, price ``p``, mid just before the fill ``m`` and mid at the horizon ``m_h``, in quote
currency::

    spread_capture     s q (m - p)       what a maker earns at once; negative for a taker
    adverse_selection  -s q (m_h - m)    cost positive: the market moved against the fill
    net_markout        s q (m_h - p)     capture less adverse selection
    net_after_fee      net markout less the fee (a rebate is a negative fee)

the algebra of effective half-spread = realised half-spread + price impact. Fills of one parent order share its moment:
means are weighted by the square root of value, so that few large fills don't decide, and errors are clustered by parent
(20 slices of one order are one observation, not 20).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.attribution.contracts import MARKOUTS
from research_to_prod.attribution.parent_orders import fees_in_quote, is_inverse
from research_to_prod.attribution.quote_match import MAX_QUOTE_AGE, Clock, Floats, match_quotes
from research_to_prod.attribution.slippage import linear_price
from research_to_prod.values import day_bounds

HORIZONS = tuple(timedelta(seconds=each) for each in (1, 5, 10, 60, 300, 1800))
"""The noise grows with the root of time: half a basis point shows in some 28 fills at 1 s, in 50,000 at 30 min."""

MEASURES = ("spread_capture", "adverse_selection", "net_markout", "net_after_fee")
TOXICITY_HORIZON = timedelta(seconds=5)
FEWEST_FILLS = 50
FEWEST_PARENTS = 8
"""Below, a clustered standard error is itself mostly noise."""

# The quote of the very instant counts after the fill, as nothing of ours moved it; a match is strictly before.
_JUST_AFTER = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)
_BPS = 1e4


def markouts_of_fills(
    day: str, fills: pa.Table, quotes: Iterable[pa.Table], max_quote_age: timedelta = MAX_QUOTE_AGE
) -> pa.Table:
    """Return one ``MARKOUTS`` row per fill and horizon, of the fills whose longest horizon ended on ``day``.

    Parameters
    ----------
    fills
        ``FILLS`` of the day and the day before.
    quotes
        ``QUOTES`` of both days in pieces; read on the venue's clock, like the fills.
    max_quote_age
        A quote older than this measures nothing; the row is kept with the reason.
    """
    start, end = (instant - HORIZONS[-1] for instant in day_bounds(day))
    fills = fills.filter(pc.and_(pc.greater_equal(fills["filled_at"], start), pc.less(fills["filled_at"], end)))
    events = fills.select(["venue", "symbol", "filled_at"])
    for horizon in HORIZONS:
        events = events.append_column(str(horizon), pc.add(fills["filled_at"], pa.scalar(horizon + _JUST_AFTER)))
    clocks: dict[str, Clock] = dict.fromkeys(["filled_at", *map(str, HORIZONS)], "quoted_at")
    matches = match_quotes(events, clocks, quotes, max_quote_age)
    before = matches["filled_at"]
    side, quantity, price = (fills[name].cast(pa.float64()).to_numpy() for name in ("side", "quantity", "price"))
    inverse, fee = is_inverse(fills["symbol"]).to_numpy(zero_copy_only=False), fees_in_quote(fills)
    # A contract that pays in coins is valued at the fill's price.
    signed = side * quantity * np.where(inverse, price, 1.0)
    p, m = linear_price(price, inverse), linear_price(before.mid, inverse)
    kept = fills.select(
        ["venue", "symbol", "fill_id", "order_id", "strategy", "liquidity", "side", "filled_at"]
    ).append_column("matured_at", pc.add(fills["filled_at"], pa.scalar(HORIZONS[-1])))
    parts = [MARKOUTS.empty()]
    for horizon in HORIZONS:
        after = matches[str(horizon)]
        m_h = linear_price(after.mid, inverse)
        unpaid = pc.if_else(pa.array(np.isnan(fee)), "fee missing in quote currency", pa.scalar(None, pa.string()))
        reason = pc.coalesce(
            pc.binary_join_element_wise("at the fill", before.why(), ": "),
            pc.binary_join_element_wise("at the horizon", after.why(), ": "),
            unpaid,
        )
        excluded = pc.is_valid(reason).to_numpy(zero_copy_only=False)
        measured = {
            "value": np.where(inverse, quantity, quantity * price),
            "mid": before.mid,
            "mid_after": after.mid,
            "spread_capture": signed * (m - p),
            "adverse_selection": -signed * (m_h - m),
            "net_markout": signed * (m_h - p),
            "fee": fee,
            "net_after_fee": signed * (m_h - p) - fee,
        }
        part = kept.append_column("horizon_seconds", pa.array(np.full(len(side), horizon // _SECOND)))
        for name, values in {"quantity": quantity, "price": price, **measured}.items():
            unknown = np.isnan(values) | (excluded if name in MEASURES else False)
            part = part.append_column(name, pa.array(values, mask=unknown))
        parts.append(part.append_column("excluded_reason", reason).select(MARKOUTS.arrow.names).cast(MARKOUTS.arrow))
    return pa.concat_tables(parts)


@dataclass(frozen=True)
class ClusteredMean:
    """A weighted mean; the error and the interval are NaN below `FEWEST_PARENTS` clusters."""

    mean: float
    standard_error: float
    low: float
    high: float
    n: int
    clusters: int


def clustered_mean(
    values: Floats, weights: Floats, clusters: npt.NDArray[np.int64], confidence: float = 0.95
) -> ClusteredMean:
    """Return the weighted mean of (n,) values whose errors are correlated within clusters only.

    The sandwich of Liang and Zeger (1986) with the factor G / (G - 1), and Student's t with G - 1 degrees of freedom.
    """
    from scipy.special import stdtrit

    _, code = np.unique(clusters, return_inverse=True)
    groups = int(code.max()) + 1 if len(code) else 0
    mean = float(weights @ values / weights.sum()) if groups else float("nan")
    if groups < FEWEST_PARENTS:
        return ClusteredMean(mean, float("nan"), float("nan"), float("nan"), len(values), groups)
    scores = np.bincount(code, weights * (values - mean))
    error = float(np.sqrt(groups / (groups - 1) * (scores @ scores)) / weights.sum())
    reach = float(stdtrit(groups - 1, (1 + confidence) / 2)) * error
    return ClusteredMean(mean, error, mean - reach, mean + reach, len(values), groups)


_MEANS = ("mean_bps", "standard_error_bps", "low_bps", "high_bps")
_COUNTS = ("fills", "parents", "excluded")


def markout_curve(
    markouts: pa.Table, measure: str = "net_after_fee", by: Sequence[str] = ("liquidity",), confidence: float = 0.95
) -> pa.Table:
    """Return the mean of a measure in basis points of value, by group and horizon, with its interval.

    Parameters
    ----------
    markouts
        ``MARKOUTS`` rows.
    measure
        One of `MEASURES`.
    by
        Columns that make the groups.

    Returns
    -------
    pa.Table
        A row per group and ``horizon_seconds``: ``mean_bps``, ``standard_error_bps``, ``low_bps``, ``high_bps`` (null
        below `FEWEST_PARENTS` parent orders), ``fills``, ``parents``, ``excluded`` fills.
    """
    keys = [*by, "horizon_seconds"]
    fields = [(name, pa.float64()) for name in _MEANS] + [(name, pa.int64()) for name in _COUNTS]
    named = pa.schema([*(markouts.schema.field(name) for name in keys), *(pa.field(*each) for each in fields)])
    numbered = markouts.append_column("row", pa.array(np.arange(markouts.num_rows)))
    # One thread: several give the rows of a group in whatever order they end, and a sum of floats another last digit.
    groups = (
        numbered.group_by(keys, use_threads=False)
        .aggregate([("row", "list")])
        .sort_by([(name, "ascending") for name in keys])
    )
    parents = pc.dictionary_encode(markouts["order_id"].combine_chunks()).indices.to_numpy()
    value = markouts["value"].to_numpy()
    result = markouts[measure].to_numpy()
    lines = []
    for group in groups.to_pylist():
        rows = np.array(group.pop("row_list"))
        used = rows[np.isfinite(result[rows])]
        bps = _BPS * result[used] / value[used]
        found = clustered_mean(bps, np.sqrt(value[used]), parents[used], confidence)
        numbers = (found.mean, found.standard_error, found.low, found.high)
        shown = [number if np.isfinite(number) else None for number in numbers]
        shown += [found.n, found.clusters, len(rows) - len(used)]
        lines.append(group | dict(zip((*_MEANS, *_COUNTS), shown, strict=True)))
    return pa.Table.from_pylist(lines, schema=named)


class Toxicity(StrEnum):
    """What the maker fills of a market are to the strategy that makes them."""

    TOXIC = "toxic"
    BENIGN = "benign"
    INCONCLUSIVE = "inconclusive"


def maker_toxicity(markouts: pa.Table, by: Sequence[str] = ("strategy", "venue", "symbol")) -> pa.Table:
    """Return the 5 s net markout after fee and rebate of maker fills, by group, and a ``verdict``.

    Toxic: the 95 % interval lies below zero; benign: above. Inconclusive when zero is inside, or below `FEWEST_FILLS`
    fills or `FEWEST_PARENTS` parents. One look: whoever asks again every day uses a boundary that holds at all looks.
    """
    at = pc.equal(markouts["horizon_seconds"], TOXICITY_HORIZON // _SECOND)
    makers = markouts.filter(pc.and_(at, pc.equal(markouts["liquidity"], "maker")))
    curve = markout_curve(makers, by=by)
    verdicts = [
        Toxicity.INCONCLUSIVE if row["fills"] < FEWEST_FILLS or row["low_bps"] is None
        else Toxicity.TOXIC if row["high_bps"] < 0
        else Toxicity.BENIGN if row["low_bps"] > 0
        else Toxicity.INCONCLUSIVE
        for row in curve.to_pylist()
    ]  # fmt: skip
    return curve.append_column("verdict", pa.array([each.value for each in verdicts], pa.string()))
