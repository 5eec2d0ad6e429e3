"""What is wrong with a day of recorded quotes: the rows, and the clocks that stamped them.

Belongs here: pure judgements. Doesn't: which quote stood at an instant (``quote_match``), pictures, Dagster.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.market_data.judgement import Judgement, judged

MOST_CROSSED = 0.001
"""Share of a market's quotes that may be locked or crossed: such a quote is refused as a benchmark where it stands, so
a few cost a few orders their benchmark; more, and the recording itself is in doubt. Of 95,000 real quotes none was."""

MOST_SKEW = timedelta(milliseconds=250)
"""Difference of two clocks that is reported: with more, the delay cost of an order says nothing."""

_SEARCHED = timedelta(seconds=5)
_STEP = timedelta(milliseconds=20)
_FEWEST_TRADES = 200
_MOST_TRADES = 4000  # evenly spaced; more only cost time
_LEAST_HITS = 0.2
# A right shift stands out: real quotes hit the touch of 42 % of trades at their true shift, 14 % 1.3 s beside it.
_LEAST_GAIN = 1.5
_OLDEST_QUOTE = timedelta(seconds=2)
_MICROSECOND = timedelta(microseconds=1)

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def judge_quotes(quotes: pa.Table) -> Judgement:
    """Judge each quote (QUOTES): prices, sizes, and that the venue's update number grows with its clock.

    Locked (bid = ask) and crossed (bid > ask) quotes are listed, and allowed up to one in a thousand of a market.
    """
    bid, ask, bid_size, ask_size = (quotes[name].to_numpy() for name in ("bid", "ask", "bid_size", "ask_size"))
    with np.errstate(invalid="ignore"):
        unusable = ~((bid > 0) & np.isfinite(bid) & (ask > 0) & np.isfinite(ask))
        sizeless = ~((bid_size >= 0) & np.isfinite(bid_size) & (ask_size >= 0) & np.isfinite(ask_size))
        locked, crossed = ~unusable & (bid == ask), ~unusable & (bid > ask)
    quoted, sequence = _micros(quotes, "quoted_at"), quotes["sequence"].to_numpy()
    unordered = np.zeros(quotes.num_rows, bool)
    share = 0.0
    for mine in _by_market(quotes).values():
        order = mine[np.lexsort((quoted[mine], sequence[mine]))]
        unordered[order] = quoted[order] < np.maximum.accumulate(quoted[order])
        share = max(share, float((locked | crossed)[mine].mean()))
    hard = {
        "price not positive and finite": unusable,
        "size negative or not finite": sizeless,
        "update number against the venue's clock": unordered,
    }
    found = judged(quotes, {**hard, "locked": locked, "crossed": crossed}, bid - ask)
    passed = share <= MOST_CROSSED and not any(mask.any() for mask in hard.values())
    return Judgement(passed, found.worst, {**found.numbers, "largest_share_locked_or_crossed": share})


def judge_clocks(quotes: pa.Table, trades: pa.Table) -> Judgement:
    """Judge our clock against the venue's, and the quotes' venue clock against that of the public trades.

    Receiving a quote before it was made means that the collector's clock is behind. A worst row is a market.

    Parameters
    ----------
    quotes, trades
        QUOTES and TRADES of one day; markets without trades are compared with our clock only.
    """
    rows: list[dict[str, Any]] = []
    traded = _by_market(trades)
    for (venue, symbol), mine in _by_market(quotes).items():
        own = quotes.take(pa.array(mine, pa.int64()))
        delay = _micros(own, "received_at") - _micros(own, "quoted_at")
        behind = float((delay < 0).mean())
        others = trades.take(pa.array(traded.get((venue, symbol), np.empty(0, np.int64)), pa.int64()))
        skew = clock_skew(own, others) if others.num_rows else None
        why = []
        if behind > 0.5:
            why.append("received before it was quoted: the collector's clock is behind the venue's")
        if skew is not None and abs(skew.milliseconds) > MOST_SKEW / timedelta(milliseconds=1):
            side = "behind" if skew.milliseconds > 0 else "ahead of"
            why.append(f"the quotes' clock is {abs(skew.milliseconds):.0f} ms {side} that of the trades")
        rows.append(
            {
                "venue": venue,
                "symbol": symbol,
                "median_delay_ms": float(np.median(delay)) / 1000,
                "received_before_quoted": behind,
                "skew_to_trades_ms": None if skew is None else skew.milliseconds,
                "trades_at_the_touch": None if skew is None else skew.hits,
                "compared_with_trades": "yes" if skew else "too few to tell" if others.num_rows else "no trades",
                "why": "; ".join(why),
            }
        )
    table = pa.Table.from_pylist(rows, _CLOCKS)
    odd = table.filter(pc.not_equal(table["why"], ""))
    # All markets are shown, the odd ones first: the median delay is worth reading when nothing is wrong too.
    shown = pa.concat_tables([odd, table.filter(pc.equal(table["why"], ""))])
    numbers: dict[str, int | float | str] = {"markets": len(rows), "odd_clocks": odd.num_rows}
    numbers |= {f"median_delay_ms {row['symbol']}": row["median_delay_ms"] for row in rows}
    numbers["compared_with_trades"] = sum(row["compared_with_trades"] == "yes" for row in rows)
    return Judgement(odd.num_rows == 0, shown, numbers)


_CLOCKS = pa.schema(
    [
        ("venue", pa.string()),
        ("symbol", pa.string()),
        ("median_delay_ms", pa.float64()),
        ("received_before_quoted", pa.float64()),
        ("skew_to_trades_ms", pa.float64()),
        ("trades_at_the_touch", pa.float64()),
        ("compared_with_trades", pa.string()),
        ("why", pa.string()),
    ]
)


@dataclass(frozen=True)
class Skew:
    """How far the quotes' clock is behind that of the trades, and the share of trades at the touch when corrected."""

    milliseconds: float
    hits: float


def clock_skew(quotes: pa.Table, trades: pa.Table) -> Skew | None:
    """Estimate how far the clock that stamped one market's quotes is behind the one that stamped its trades.

    A taker buys at the ask and sells at the bid that stood just before. The estimate is the shift of the quotes, of all
    between -5 and +5 s in steps of 20 ms, under which most trades do. Only trades with a quote of the last 2 s count.

    Returns
    -------
    Skew | None
        None when nothing can be told: fewer than 200 trades, or no shift that stands out.
    """
    quotes = quotes.sort_by([("quoted_at", "ascending"), ("sequence", "ascending")])
    quoted, bid, ask = _micros(quotes, "quoted_at"), quotes["bid"].to_numpy(), quotes["ask"].to_numpy()
    trades = trades.filter(pc.is_valid(trades["side"]))
    traded, price, side = _micros(trades, "ts"), trades["price"].to_numpy(), trades["side"].to_numpy()
    reach = (_SEARCHED + _OLDEST_QUOTE) // _MICROSECOND
    # Trades far from every quote would only cost time: a desk records quotes around its own orders.
    near = np.searchsorted(quoted, traded - reach) < np.searchsorted(quoted, traded + reach)
    every = max(1, int(near.sum()) // _MOST_TRADES)
    traded, price, side = traded[near][::every], price[near][::every], side[near][::every]
    if len(traded) < _FEWEST_TRADES:
        return None
    step, searched = _STEP // _MICROSECOND, _SEARCHED // _MICROSECOND
    shifts = np.arange(-searched, searched + 1, step)
    hits = np.array([_hits(quoted + shift, bid, ask, traded, price, side) for shift in shifts])
    best = int(np.nanargmax(hits)) if np.isfinite(hits).any() else 0
    unshifted, typical = hits[len(shifts) // 2], float(np.nanmedian(hits)) if np.isfinite(hits).any() else np.nan
    if not (hits[best] >= _LEAST_HITS and hits[best] >= _LEAST_GAIN * typical):
        return None
    # A shift that is hardly better than none is noise, not a skew.
    if unshifted * 1.1 >= hits[best]:
        best = len(shifts) // 2
    return Skew(float(shifts[best]) / 1000, float(hits[best]))


def _hits(quoted: Integers, bid: Floats, ask: Floats, traded: Integers, price: Floats, side: Integers) -> float:
    """Return the share of trades at the touch that stood before them, NaN with too few of them."""
    at = np.searchsorted(quoted, traded, side="left") - 1
    usable = (at >= 0) & (traded - quoted[np.maximum(at, 0)] <= _OLDEST_QUOTE // _MICROSECOND)
    if usable.sum() < _FEWEST_TRADES:
        return float("nan")
    at, price, side = at[usable], price[usable], side[usable]
    touch = np.where(side > 0, ask[at], bid[at])
    return float((np.abs(price - touch) <= 1e-9 * touch).mean())


def _micros(rows: pa.Table, name: str) -> Integers:
    micros: Integers = rows[name].cast(pa.int64()).to_numpy()
    return micros


def _by_market(rows: pa.Table) -> dict[tuple[str, str], Integers]:
    """Return the positions of each market's rows."""
    markets = rows.select(["venue", "symbol"]).group_by(["venue", "symbol"]).aggregate([]).sort_by("symbol")
    found = {}
    for row in markets.to_pylist():
        mine = pc.and_(pc.equal(rows["venue"], row["venue"]), pc.equal(rows["symbol"], row["symbol"]))
        found[row["venue"], row["symbol"]] = np.flatnonzero(mine.to_numpy(zero_copy_only=False))
    return found
