"""What was paid in fees: against what the venue's schedule asks, and against the days before.

Belongs here: fills by liquidity with their scheduled rates. Doesn't: the exact split of a change (``fees``).
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.attribution.fees import FeeUse
from research_to_prod.attribution.parent_orders import fees_in_quote, is_inverse
from research_to_prod.attribution.quote_match import Floats
from research_to_prod.lake.schema import TIMESTAMP

_BPS = 1e4
_UNIT = Decimal("1e-8")


def fees_against_schedule(fills: pa.Table, schedules: pa.Table) -> pa.Table:
    """Return by venue and liquidity what the fees were, and what the schedule that stood at each fill asks.

    Parameters
    ----------
    fills
        ``FILLS`` rows. One whose fee is in a third currency counts in ``unpriced`` alone.
    schedules
        ``FEE_SCHEDULES`` rows; the last one of the fill's market stated at or before the fill stands.

    Returns
    -------
    pa.Table
        ``venue, liquidity, fills, value, fees, paid_bps, scheduled`` (fills with a schedule), ``scheduled_bps`` of
        those and ``beyond``, what they paid beyond it in quote currency (null without a schedule), ``unpriced``.
    """
    value, fee = values_of(fills), fees_in_quote(fills)
    asked = value * _rates(fills, schedules)
    venues, liquidities = (np.array(fills[name].to_pylist(), dtype=object) for name in ("venue", "liquidity"))
    lines = []
    for venue, liquidity in sorted(set(zip(venues.tolist(), liquidities.tolist(), strict=True))):
        own = (venues == venue) & (liquidities == liquidity)
        paid = own & np.isfinite(fee)
        held = paid & np.isfinite(asked)
        line = {"venue": venue, "liquidity": liquidity, "fills": int(paid.sum()), "scheduled": int(held.sum())}
        line |= {
            "value": float(value[paid].sum()),
            "fees": float(fee[paid].sum()),
            "unpriced": int((own & ~paid).sum()),
        }
        if paid.any():
            line["paid_bps"] = float(_BPS * fee[paid].sum() / value[paid].sum())
        if held.any():
            line["scheduled_bps"] = float(_BPS * asked[held].sum() / value[held].sum())
            line["beyond"] = float((fee[held] - asked[held]).sum())
        lines.append(line)
    texts = [("venue", pa.string()), ("liquidity", pa.string())]
    counts = [(name, pa.int64()) for name in ("fills", "scheduled", "unpriced")]
    numbers = [(name, pa.float64()) for name in ("value", "fees", "paid_bps", "scheduled_bps", "beyond")]
    return pa.Table.from_pylist(lines, schema=pa.schema([*texts, *counts, *numbers]))


def fee_uses(fills: pa.Table, days: int) -> dict[str, dict[str, FeeUse]]:
    """Return by strategy and liquidity the value traded and the fees of it, a day in the mean of ``days``.

    Fills whose fee is in a third currency are left out.
    """
    priced = pa.table(
        {name: fills[name] for name in ("strategy", "liquidity")}
        | {"value": values_of(fills), "fee": fees_in_quote(fills)}
    )
    priced = priced.filter(pc.is_finite(priced["fee"]))
    groups = priced.group_by(["strategy", "liquidity"], use_threads=False)
    found: dict[str, dict[str, FeeUse]] = {}
    for row in groups.aggregate([("value", "sum"), ("fee", "sum")]).to_pylist():
        sums = ((Decimal(repr(row[name])) / days).quantize(_UNIT) for name in ("value_sum", "fee_sum"))
        found.setdefault(row["strategy"], {})[row["liquidity"]] = FeeUse(*sums)
    return found


def values_of(fills: pa.Table) -> Floats:
    """Return (N,) values in quote currency; an inverse contract's value is its quantity."""
    quantity, price = (fills[name].cast(pa.float64()).to_numpy() for name in ("quantity", "price"))
    return np.where(is_inverse(fills["symbol"]).to_numpy(zero_copy_only=False), quantity, quantity * price)


def _rates(fills: pa.Table, schedules: pa.Table) -> Floats:
    """Return (N,) the scheduled rate of each fill, NaN where no schedule of its market stood then."""
    found = np.full(fills.num_rows, np.nan)
    at = np.asarray(fills["filled_at"].cast(TIMESTAMP).cast(pa.int64()).to_numpy(), np.int64)
    making = pc.equal(fills["liquidity"], "maker").to_numpy()
    known = pc.is_in(fills["liquidity"], pa.array(["maker", "taker"])).to_numpy()
    stated = schedules.sort_by([(name, "ascending") for name in ("venue", "symbol", "stated_at")])
    for row in stated.group_by(["venue", "symbol"]).aggregate([]).to_pylist():
        own = stated.filter(pc.and_(pc.equal(stated["venue"], row["venue"]), pc.equal(stated["symbol"], row["symbol"])))
        times = np.asarray(own["stated_at"].cast(pa.int64()).to_numpy(), np.int64)
        maker, taker = (own[name].cast(pa.float64()).to_numpy() for name in ("maker_rate", "taker_rate"))
        mine = pc.and_(pc.equal(fills["venue"], row["venue"]), pc.equal(fills["symbol"], row["symbol"])).to_numpy()
        last = np.searchsorted(times, at, side="right") - 1
        stood = mine & known & (last >= 0)
        found[stood] = np.where(making, maker[last], taker[last])[stood]
    return found
