"""The slippage of a day's parent orders, from the desk's records as they lie in the lake.

Belongs here: which instant is measured by which clock and quote, and fees into quote currency. Doesn't: the identity
(slippage) and the as-of match (quote_match).
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.attribution.contracts import SLIPPAGE
from research_to_prod.attribution.quote_match import MAX_QUOTE_AGE, Floats, QuoteMatch, match_quotes
from research_to_prod.attribution.slippage import implementation_shortfall


def slippage_of_orders(
    decisions: pa.Table, orders: pa.Table, fills: pa.Table, quotes: pa.Table, max_quote_age: timedelta = MAX_QUOTE_AGE
) -> pa.Table:
    """Return one ``SLIPPAGE`` row per parent order of ``orders``.

    Decision, arrival (the acknowledgement) and end are read on our clock, because that is what the desk could know; the
    mid and touch of a fill on the venue's clock, because that is when it happened.

    Parameters
    ----------
    decisions, orders, fills, quotes
        Rows of the tables of those names. Orders worked over midnight need the fills and quotes of the next day too;
        rows that belong to other orders are ignored.
    max_quote_age
        A quote older than this measures nothing; the order is excluded with that reason.

    Notes
    -----
    Fees in the base currency are valued at the fill's price; in a third currency they are unknown here, and the order
    is excluded. So are inverse contracts, whose profit is not linear in price.
    """
    fills = fills.filter(pc.is_in(fills.column("order_id"), value_set=orders.column("order_id").combine_chunks()))
    decided = pc.index_in(orders.column("decision_id"), value_set=decisions.column("decision_id").combine_chunks())
    orders = orders.append_column("decided_at", pc.take(decisions.column("decided_at"), decided))
    instants = {
        name: match_quotes(orders, at, quotes, "received_at", max_quote_age)
        for name, at in (("decision", "decided_at"), ("arrival", "acknowledged_at"), ("end", "ended_at"))
    }
    at_fill = match_quotes(fills, "filled_at", quotes, "quoted_at", max_quote_age)
    mids = {f"{name}_mid": pa.array(match.mid, from_pandas=True) for name, match in instants.items()}
    costs = implementation_shortfall(
        pa.table({"order_id": orders["order_id"], "side": orders["side"], "quantity": orders["quantity"], **mids}),
        pa.table(
            {
                "order_id": fills["order_id"],
                "quantity": fills["quantity"],
                "price": fills["price"],
                "mid": at_fill.mid,
                "touch": at_fill.touch(fills["side"].to_numpy()),
                "fee": _fees_in_quote(fills),
            }
        ),
    )
    table = orders.select(["strategy", "venue", "symbol", "side", "sent_at"])
    table = table.append_column("quantity", orders["quantity"].cast(pa.float64()))
    for name, mid in mids.items():
        table = table.append_column(name, mid)
    for name in costs.column_names:
        table = table.append_column(name, costs[name])
    return _explain(_exclude_inverse(table), instants, at_fill, fills).select([c.name for c in SLIPPAGE.columns])


def _fees_in_quote(fills: pa.Table) -> Floats:
    """Return (N,) fees in quote currency; NaN where the fee's currency is neither base nor quote."""
    fee = fills["fee"].cast(pa.float64()).to_numpy()
    price = fills["price"].cast(pa.float64()).to_numpy()
    markets = [symbol.partition(":")[0].partition("/") for symbol in fills["symbol"].to_pylist()]
    currency = np.array(fills["fee_currency"].to_pylist(), dtype=object)
    in_quote = currency == np.array([quote for _, _, quote in markets], dtype=object)
    in_base = currency == np.array([base for base, _, _ in markets], dtype=object)
    return np.where(in_quote | (fee == 0), fee, np.where(in_base, fee * price, np.nan))


def _exclude_inverse(table: pa.Table) -> pa.Table:
    """Null every cost of orders in contracts that do not settle in their quote currency."""
    parts = [symbol.partition(":") for symbol in table["symbol"].to_pylist()]
    inverse = pa.array([bool(settle) and settle != pair.partition("/")[2] for pair, _, settle in parts], pa.bool_())
    for column in SLIPPAGE.columns:
        if column.nullable and not column.name.endswith("_mid"):
            index = table.column_names.index(column.name)
            value = "inverse contract" if column.name == "excluded_reason" else None
            table = table.set_column(
                index, column.name, pc.if_else(inverse, pa.scalar(value, column.type), table[column.name])
            )
    return table


def _explain(table: pa.Table, instants: dict[str, QuoteMatch], at_fill: QuoteMatch, fills: pa.Table) -> pa.Table:
    """Replace 'missing' by what kept the quote away: none, too old, unusable, or an instant that never came."""
    fill_reasons: dict[str, str] = {
        order: why for order, why in zip(fills["order_id"].to_pylist(), at_fill.reason, strict=True) if why
    }
    reasons = table["excluded_reason"].to_pylist()
    for row, (order, reason) in enumerate(zip(table["order_id"].to_pylist(), reasons, strict=True)):
        if reason is None:
            continue
        better = {f"{name} mid missing": f"{name}: {match.reason[row]}" for name, match in instants.items()}
        better["mid missing at a fill; touch missing at a fill"] = f"at a fill: {fill_reasons.get(order)}"
        for plain, explained in better.items():
            reasons[row] = reasons[row].replace(plain, explained)
    index = table.column_names.index("excluded_reason")
    return table.set_column(index, "excluded_reason", pa.array(reasons, pa.string()))
