"""What is wrong with one partition of market data: each judgement with its worst rows and its numbers.

Belongs here: pure judgements of bars, funding and trades, and the form that every judgement has.
Doesn't: what a valid bar is (``bar_contract``), measurements that a gate weighs (``quality``), pictures, Dagster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.market_data.certificates import Certificate, covered_until
from research_to_prod.market_data.contracts import BAR_KEY, FETCHED_KEY
from research_to_prod.market_data.quarantine import broken_rules

WORST_ROWS = 20

HIGHEST_RATE = 0.03
"""The widest cap of a funding rate that venues publish, as a fraction of notional an interval."""

_OFF_THE_HOUR = timedelta(seconds=1)  # Binance stamps payments up to 16 ms late
_LONGEST_INTERVAL = timedelta(hours=24)  # no venue pays less often than daily
_DAY_IN_SECONDS = 86_400
_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Mask = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Market = tuple[str, str]


@dataclass(frozen=True)
class Judgement:
    """The answer to one check.

    Parameters
    ----------
    passed
        Whether nothing speaks against the rows.
    worst
        The rows that speak against them, worst first, at most 20, with a column ``why``.
    numbers
        What was counted, by name.
    """

    passed: bool
    worst: pa.Table
    numbers: Mapping[str, int | float | str]


def judged(rows: pa.Table, rules: Mapping[str, Mask], size: npt.NDArray[np.float64] | None = None) -> Judgement:
    """Return the judgement that every row keeps every rule.

    Parameters
    ----------
    rules
        For each rule (N,) true where the row breaks it.
    size
        (N,) what makes one broken row worse than another that breaks as many rules; NaN is worst.
    """
    broken = np.zeros(rows.num_rows, np.int64)
    for mask in rules.values():
        broken += mask
    weight = np.zeros(rows.num_rows) if size is None else np.nan_to_num(np.abs(size), nan=np.inf)
    order = np.lexsort((-weight, -broken))[: min(WORST_ROWS, int((broken > 0).sum()))]
    why = [", ".join(name for name, mask in rules.items() if mask[row]) for row in order]
    return Judgement(
        passed=not broken.any(),
        worst=rows.take(pa.array(order, pa.int64())).append_column("why", pa.array(why, pa.string())),
        numbers={"rows": rows.num_rows, **{name: int(mask.sum()) for name, mask in rules.items()}},
    )


def judge_bars(candles: pa.Table) -> Judgement:
    """Judge each bar (CANDLES) by the contract of bars.

    Raises
    ------
    RuntimeError
        If the contract itself could not be evaluated.
    """
    rules = {}
    for name, rows in broken_rules(candles).items():
        rules[name] = np.zeros(candles.num_rows, bool)
        rules[name][rows] = True
    return judged(candles, rules)


def judge_bookkeeping(raw: pa.Table, accepted: pa.Table, rejected: pa.Table) -> Judgement:
    """Judge that every raw row is a candle or in quarantine, and that there are no more of these than was sent.

    Bars that a declared repair filled in are the only ones that were not sent. The worst rows are the raw rows that
    are in neither.
    """
    lost = raw.join(rejected.select(list(FETCHED_KEY)), list(FETCHED_KEY), join_type="left anti")
    lost = lost.join(accepted.select(list(BAR_KEY)), list(BAR_KEY), join_type="left anti")
    lost = lost.select(raw.column_names).sort_by([(name, "ascending") for name in FETCHED_KEY])
    found = judged(lost, {"neither candle nor in quarantine": np.ones(lost.num_rows, bool)})
    filled = accepted.num_rows - accepted["repair"].null_count
    numbers = {
        "raw": raw.num_rows,
        "filled": filled,
        "accepted": accepted.num_rows,
        "quarantined": rejected.num_rows,
    }
    balanced = raw.num_rows + filled == accepted.num_rows + rejected.num_rows
    return Judgement(found.passed and balanced, found.worst, {**numbers, "lost": lost.num_rows})


def judge_rates(rates: pa.Table) -> Judgement:
    """Judge that every funding rate (FUNDING_RATES) is finite and within 3 % of notional, no percent for a fraction."""
    rate = rates["rate"].to_numpy()
    with np.errstate(invalid="ignore"):
        too_high = np.abs(rate) > HIGHEST_RATE
    return judged(rates, {"not finite": ~np.isfinite(rate), f"beyond {HIGHEST_RATE:.0%}": too_high}, rate)


def judge_funding_times(rates: pa.Table, certificates: Sequence[Certificate]) -> Judgement:
    """Judge that payments come on the hour, and that none is missing between two others or at the interval's ends.

    A pause between payments is a hole when a day is no multiple of it, or when it is longer than the pauses on both
    sides of it: venues do change their interval (8 h to 4 h and back), which no single pause shows. At the ends of the
    certified interval the nearest pause is the measure. What stays open: whether the second or the last but one payment
    of a month is missing or the interval changed there, where the longer pause divides the day too.

    Parameters
    ----------
    rates
        FUNDING_RATES.
    certificates
        Of the fetches that brought them: the interval in which each market's payments were due.
    """
    rates = rates.sort_by([("venue", "ascending"), ("symbol", "ascending"), ("ts", "ascending")])
    micros = _microseconds(rates)
    hour, limit = timedelta(hours=1) // _MICROSECOND, _OFF_THE_HOUR // _MICROSECOND
    off = np.minimum(micros % hour, -micros % hour) > limit
    hole = np.zeros(rates.num_rows, bool)
    markets = _markets(rates)
    silent = []
    for each in certificates:
        mine = np.flatnonzero(markets == f"{each.venue} {each.scope}")
        start, end = ((at - _EPOCH) / timedelta(seconds=1) for at in (each.interval_start, each.interval_end))
        seconds = np.rint(micros[mine] / 1e6)
        pauses = np.diff(seconds)
        if len(mine) < 2:
            if end - start > _LONGEST_INTERVAL.total_seconds():
                silent.append(f"{each.venue} {each.scope}")
            continue
        no_interval = _DAY_IN_SECONDS % np.maximum(pauses, 1) != 0
        no_interval[1:-1] |= pauses[1:-1] > np.maximum(pauses[:-2], pauses[2:])
        hole[mine[1:]] = no_interval
        # The interval includes its start, where a payment may be due, and excludes its end.
        hole[mine[0]] |= seconds[0] - start >= pauses[0]
        hole[mine[-1]] |= end - seconds[-1] > pauses[-1]
    found = judged(rates, {"off the hour": off, "beside a hole": hole})
    numbers = {**found.numbers, "markets_without_payments": ", ".join(silent) or "none"}
    return Judgement(found.passed and not silent, found.worst, numbers)


def judge_trades(trades: pa.Table, day: tuple[datetime, datetime], certificates: Sequence[Certificate]) -> Judgement:
    """Judge each public trade (TRADES): values, side, day, id, and that it lies within the fetch that brought it.

    Numeric ids must be unique and grow with time within a market. Ids that are no numbers must be unique; rows without
    an id are not compared, because two trades may well be alike.
    """
    micros = _microseconds(trades)
    start, end = ((at - _EPOCH) // _MICROSECOND for at in day)
    price, amount = (trades[name].to_numpy() for name in ("price", "amount"))
    repeated, unordered = _ids(trades, micros)
    uncertified, late = _fetched(trades, micros, certificates)
    with np.errstate(invalid="ignore"):
        rules = {
            "price not positive and finite": ~((price > 0) & np.isfinite(price)),
            "amount not positive and finite": ~((amount > 0) & np.isfinite(amount)),
            "side unknown": ~np.isin(pc.fill_null(trades["side"], 0).to_numpy(), (1, -1)),
            "not on the day": (micros < start) | (micros >= end),
            "id repeated": repeated,
            "id against time": unordered,
            "without a complete certificate": uncertified,
            "later than its fetch": late,
        }
    return judged(trades, rules)


def judge_coverage(
    expected: Mapping[Market, tuple[datetime, datetime]], certificates: Sequence[Certificate]
) -> Judgement:
    """Judge that complete certificates cover the whole expected interval of each market; a worst row is a market."""
    markets, due = list(expected), [end for _, end in expected.values()]
    reached = [covered_until(certificates, venue, symbol, start) for (venue, symbol), (start, _) in expected.items()]
    at = pa.timestamp("us", "UTC")
    rows = pa.table(
        {
            "venue": pa.array([venue for venue, _ in markets], pa.string()),
            "symbol": pa.array([symbol for _, symbol in markets], pa.string()),
            "due_until": pa.array(due, at),
            "certified_until": pa.array(reached, at),
        }
    )
    short = np.array([reach < end for reach, end in zip(reached, due, strict=True)], bool)
    found = judged(rows, {"not covered by a certificate": short})
    return Judgement(found.passed, found.worst, {"markets": len(markets), "not covered": int(short.sum())})


def _ids(trades: pa.Table, micros: Integers) -> tuple[Mask, Mask]:
    """Return where an id is repeated within its market, and where a numeric id is out of step with time."""
    ids = trades["trade_id"]
    markets = _markets(trades)
    known = pc.is_valid(ids).to_numpy(zero_copy_only=False)
    repeated, unordered = np.zeros(len(known), bool), np.zeros(len(known), bool)
    for market in np.unique(markets):
        mine = np.flatnonzero(known & (markets == market))
        own = ids.take(pa.array(mine, pa.int64()))
        counts = pc.value_counts(own)
        twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
        repeated[mine] = pc.is_in(own, value_set=twice).to_numpy(zero_copy_only=False)
        if pc.all(pc.match_substring_regex(own, "^[0-9]{1,18}$")).as_py():
            order = mine[np.argsort(own.cast(pa.int64()).to_numpy(), kind="stable")]
            unordered[order] = micros[order] < np.maximum.accumulate(micros[order], axis=0)
    return repeated, unordered


def _fetched(trades: pa.Table, micros: Integers, certificates: Sequence[Certificate]) -> tuple[Mask, Mask]:
    """Return where no complete certificate covers the row, and where it is later than the venue's clock after it."""
    fetch_ids = trades["fetch_id"]
    covered, late = np.zeros(trades.num_rows, bool), np.zeros(trades.num_rows, bool)
    for each in certificates:
        mine = pc.equal(fetch_ids, each.fetch_id).to_numpy(zero_copy_only=False)
        start, end = ((at - _EPOCH) // _MICROSECOND for at in (each.interval_start, each.interval_end))
        covered |= mine & each.complete & (micros >= start) & (micros < end)
        if each.venue_clock_after is not None:
            late |= mine & (micros > (each.venue_clock_after - _EPOCH) // _MICROSECOND)
    return ~covered, late


def _microseconds(rows: pa.Table) -> Integers:
    micros: Integers = rows["ts"].cast(pa.int64()).to_numpy()
    return micros


def _markets(rows: pa.Table) -> npt.NDArray[np.object_]:
    names: npt.NDArray[np.object_] = pc.binary_join_element_wise(rows["venue"], rows["symbol"], " ").to_numpy(
        zero_copy_only=False
    )
    return names
