"""What trading cost beyond what the model charges for it, order by order: by strategy and by hour of the week.

Belongs here: joining costs with charges, and their means. Doesn't: whether a strategy's execution got worse over all of
its days (``verdict``).

Only the low-noise parts are held against the charge: spread, impact and fees. The drift of the price while an order
works (``timing``) has a mean near zero and, for half an hour's work at 60 % a year, a noise of 26 bps an order: it
would take thousands of orders to see one basis point. It stands beside, and belongs to nobody's calibration.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.attribution.markouts import clustered_mean
from research_to_prod.attribution.quote_match import Floats

HOURS_OF_THE_WEEK = 168

_BPS = 1e4
_HOUR = 3_600_000_000
# The epoch was a Thursday; hour 0 of the week is Monday's first.
_THURSDAY = 72


def orders_with_charges(slippage: pa.Table, shadow: pa.Table, orders: pa.Table) -> pa.Table:
    """Return the orders that were measured and filled at all, each with its style and its model's charges.

    Parameters
    ----------
    slippage, shadow, orders
        Rows of those tables, of as many days as wanted. An order without a row of ``orders`` has no style.

    Returns
    -------
    pa.Table
        ``order_id, strategy, venue, symbol, style, sent_at, value`` (executed), ``timing``, ``paid`` (spread, impact
        and fees, in quote currency) and ``charged`` (what the model of that day charges for this value; null without
        a model).
    """
    counted = slippage.filter(
        pc.and_(slippage["excluded_reason"].is_null(), pc.greater(pc.fill_null(slippage["executed_value"], 0.0), 0.0))
    )
    value = _floats(counted, "executed_value")
    days = pc.strftime(counted["ended_at"], "%Y-%m-%d")
    rates = {
        (row["day"], row["strategy"], row["venue"], row["symbol"]): float(row["cost_rate"] + row["fee_rate"])
        for row in shadow.select(["day", "strategy", "venue", "symbol", "cost_rate", "fee_rate"]).to_pylist()
        if row["cost_rate"] is not None
    }
    places = zip(
        days.to_pylist(), *(counted[each].to_pylist() for each in ("strategy", "venue", "symbol")), strict=True
    )
    rate = np.array([rates.get(place, np.nan) for place in places], np.float64)
    paid = sum((_floats(counted, name) for name in ("spread", "impact", "fees")), np.zeros(len(value)))
    at = pc.index_in(counted["order_id"].combine_chunks(), value_set=orders["order_id"].combine_chunks())
    names = ("order_id", "strategy", "venue", "symbol", "sent_at", "timing")
    columns = {name: counted[name] for name in names} | {"style": pc.take(orders["style"], at)}
    return pa.table(columns | {"value": value, "paid": paid, "charged": pa.array(rate * value, from_pandas=True)})


def calibration(rows: pa.Table) -> pa.Table:
    """Return by strategy what the model charges and what was paid, in basis points of executed value.

    Parameters
    ----------
    rows
        Of `orders_with_charges`; those without a charge are counted as ``without``.

    Returns
    -------
    pa.Table
        ``strategy, orders, without, charged_bps, paid_bps, timing_bps, beyond`` (money) and ``beyond_bps`` with its
        95 % interval ``low_bps``, ``high_bps`` and ``z`` (mean by standard error): value-weighted, clustered by the
        hour of sending, because the orders of an hour meet the same market; null below `markouts.FEWEST_PARENTS` hours.
    """
    known = rows["charged"].is_valid().to_numpy()
    strategies = np.array(rows["strategy"].to_pylist(), dtype=object)
    value, paid, charged, timing = (_floats(rows, name) for name in ("value", "paid", "charged", "timing"))
    hours = _micros(rows) // _HOUR
    lines = []
    for strategy in sorted(set(strategies.tolist())):
        every = strategies == strategy
        own = every & known
        line = {"strategy": strategy, "orders": int(own.sum()), "without": int((every & ~known).sum())}
        if own.any():
            weight = value[own]
            found = clustered_mean(_BPS * (paid[own] - charged[own]) / weight, weight, hours[own])
            line |= {
                f"{name}_bps": float(_BPS * amount[own].sum() / weight.sum())
                for name, amount in (("charged", charged), ("paid", paid), ("timing", timing))
            }
            line |= {"beyond": float((paid[own] - charged[own]).sum()), "beyond_bps": found.mean}
            if np.isfinite(found.standard_error):
                line |= {"low_bps": found.low, "high_bps": found.high}
                line["z"] = found.mean / found.standard_error if found.standard_error > 0 else None
        lines.append(line)
    numbers = ("charged_bps", "paid_bps", "timing_bps", "beyond", "beyond_bps", "low_bps", "high_bps", "z")
    fields = [("strategy", pa.string()), ("orders", pa.int64()), ("without", pa.int64())]
    return pa.Table.from_pylist(lines, schema=pa.schema([*fields, *((name, pa.float64()) for name in numbers)]))


def beyond_by_hour(rows: pa.Table) -> pa.Table:
    """Return by hour of the week (0: Monday 00:00 UTC) what orders sent in it cost beyond the model.

    Returns
    -------
    pa.Table
        `HOURS_OF_THE_WEEK` rows: ``hour, orders, beyond`` (money) and ``beyond_bps`` with its 95 % interval, null
        without orders; the interval takes each order as one observation and needs `markouts.FEWEST_PARENTS`.
    """
    known = rows.filter(rows["charged"].is_valid())
    hour = (_micros(known) // _HOUR + _THURSDAY) % HOURS_OF_THE_WEEK
    value, beyond = _floats(known, "value"), _floats(known, "paid") - _floats(known, "charged")
    lines = []
    for number in range(HOURS_OF_THE_WEEK):
        own = np.flatnonzero(hour == number)
        line = {"hour": number, "orders": len(own), "beyond": float(beyond[own].sum())}
        if len(own):
            found = clustered_mean(_BPS * beyond[own] / value[own], value[own], own)
            line |= {"beyond_bps": found.mean}
            line |= {"low_bps": found.low, "high_bps": found.high} if np.isfinite(found.low) else {}
        lines.append(line)
    fields = [("hour", pa.int64()), ("orders", pa.int64()), ("beyond", pa.float64())]
    bounds = [(name, pa.float64()) for name in ("beyond_bps", "low_bps", "high_bps")]
    return pa.Table.from_pylist(lines, schema=pa.schema([*fields, *bounds]))


def _micros(rows: pa.Table) -> npt.NDArray[np.int64]:
    return np.asarray(rows["sent_at"].cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy(), np.int64)


def _floats(table: pa.Table, name: str) -> Floats:
    return table[name].cast(pa.float64()).to_numpy()
