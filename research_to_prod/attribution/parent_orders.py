"""The slippage of a day's parent orders, from the desk's records as they lie in the lake.

Belongs here: which instant is measured by which clock and quote, and fees into quote currency. Doesn't: the identity
(slippage) and the as-of match (quote_match).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.attribution.benchmarks import benchmark_prices
from research_to_prod.attribution.contracts import REVERSION_SECONDS, SLIPPAGE
from research_to_prod.attribution.quote_match import MAX_QUOTE_AGE, Clock, Floats, QuoteMatch, match_quotes
from research_to_prod.attribution.slippage import cost_against, implementation_shortfall
from research_to_prod.values import day_bounds

_INSTANTS = {"decision": "decided_at", "arrival": "acknowledged_at", "end": "ended_at"}
_COMPARED = ("decision_mid", "arrival_mid", "interval_vwap", "interval_twap", "close_price", "pwp")


def slippage_of_orders(
    day: str,
    decisions: pa.Table,
    orders: pa.Table,
    fills: pa.Table,
    quotes: Iterable[pa.Table],
    trades: pa.Table,
    max_quote_age: timedelta = MAX_QUOTE_AGE,
) -> pa.Table:
    """Return one ``SLIPPAGE`` row per parent order that ended on ``day``: by its end, all that it cost is recorded.

    Decision, arrival (the acknowledgement) and end are read on our clock, because that is what the desk could know; the
    mid and touch of a fill on the venue's clock, because that is when it happened.

    Parameters
    ----------
    decisions, orders, fills, trades
        Rows of the tables of those names, of the day and the day before, for orders worked over midnight; rows that
        belong to other orders are ignored. Without trades of its market an order has no benchmarks of the tape.
    quotes
        ``QUOTES`` rows of both days in pieces; gone through twice.
    max_quote_age
        A quote older than this measures nothing; the order is excluded with that reason.

    Notes
    -----
    Fees in the base currency are valued at the fill's price; in a third currency they are unknown here, and the order
    is excluded. An inverse contract is one that does not settle in its quote currency; its quantities are in quote
    units (contracts x contract size).
    """
    start, end = day_bounds(day)
    orders = orders.filter(pc.and_(pc.greater_equal(orders["ended_at"], start), pc.less(orders["ended_at"], end)))
    fills = fills.filter(pc.is_in(fills.column("order_id"), value_set=orders.column("order_id").combine_chunks()))
    decided = pc.index_in(orders.column("decision_id"), value_set=decisions.column("decision_id").combine_chunks())
    orders = orders.append_column("decided_at", pc.take(decisions.column("decided_at"), decided))
    later = {seconds: f"{seconds} s after the end" for seconds in REVERSION_SECONDS}
    orders = _with(
        orders, {name: pc.add(orders["ended_at"], timedelta(seconds=seconds)) for seconds, name in later.items()}
    )
    clocks: dict[str, Clock] = dict.fromkeys([*_INSTANTS.values(), *later.values()], "received_at")
    instants = match_quotes(orders, clocks, quotes, max_quote_age)
    at_fill = match_quotes(fills, {"filled_at": "quoted_at"}, quotes, max_quote_age)["filled_at"]
    mids = {f"{name}_mid": pa.array(instants[at].mid, from_pandas=True) for name, at in _INSTANTS.items()}
    inverse = is_inverse(orders["symbol"])
    costs = implementation_shortfall(
        pa.table({**{name: orders[name] for name in ("order_id", "side", "quantity")}, **mids, "inverse": inverse}),
        pa.table(
            {
                "order_id": fills["order_id"],
                "quantity": fills["quantity"],
                "price": fills["price"],
                "mid": at_fill.mid,
                "touch": at_fill.touch(fills["side"].to_numpy()),
                "fee": fees_in_quote(fills),
            }
        ),
    )
    table = orders.select(["strategy", "venue", "symbol", "side", "sent_at", "acknowledged_at", "ended_at"])
    found = {"quantity": orders["quantity"].cast(pa.float64()), **mids, "inverse": inverse}
    found |= {name: costs[name] for name in costs.column_names}
    found["average_price"] = average_prices(orders["order_id"], inverse, fills)
    table = _with(table, found)
    tape = benchmark_prices(table, trades)
    table = _with(table, {name: tape[name] for name in tape.column_names})
    for seconds, name in later.items():
        # Average price less arrival, cut at the mid of the horizon: the two sum to the cost against arrival.
        table = _with(table, {name: pa.array(instants[name].mid, from_pandas=True)})
        split = {
            f"temporary_{seconds}s": _against(table, name),
            f"permanent_{seconds}s": _against(table, "arrival_mid", name),
        }
        table = _with(table, split)
    table = _with(table, {f"against_{name.removesuffix('_mid')}": _against(table, name) for name in _COMPARED})
    return _explain(table, instants, at_fill, fills).select([c.name for c in SLIPPAGE.columns])


def is_inverse(symbols: pa.ChunkedArray) -> pa.Array:
    """Tell which ccxt symbols are contracts that do not settle in their quote currency, such as ``BTC/USD:BTC``."""
    # A month has 100,000 fills in a few markets: each symbol is read once.
    coded = symbols.combine_chunks().dictionary_encode()
    parts = [symbol.partition(":") for symbol in coded.dictionary.to_pylist()]
    told = [bool(settle) and settle != pair.partition("/")[2] for pair, _, settle in parts]
    return pa.array(told, pa.bool_()).take(coded.indices)


def fees_in_quote(fills: pa.Table) -> Floats:
    """Return (N,) fees in quote currency; NaN where the fee's currency is neither base nor quote."""
    fee = fills["fee"].cast(pa.float64()).to_numpy()
    price = fills["price"].cast(pa.float64()).to_numpy()
    coded = fills["symbol"].combine_chunks().dictionary_encode()
    markets = [symbol.partition(":")[0].partition("/") for symbol in coded.dictionary.to_pylist()]
    in_base, in_quote = (
        pc.equal(fills["fee_currency"], pa.array(names, pa.string()).take(coded.indices)).fill_null(False).to_numpy()  # noqa: FBT003
        for names in ([base for base, _, _ in markets], [quote for _, _, quote in markets])
    )
    return np.where(in_quote | (fee == 0), fee, np.where(in_base, fee * price, np.nan))


def average_prices(ids: pa.ChunkedArray, inverse: pa.Array, fills: pa.Table) -> pa.Array:
    """Return (N,) average fill prices, null without fills; harmonic for inverse contracts, whose units are quote."""
    at = pc.index_in(fills["order_id"], value_set=ids.combine_chunks()).to_numpy().astype(np.int64)
    quantity, price = (fills[name].cast(pa.float64()).to_numpy() for name in ("quantity", "price"))
    with np.errstate(divide="ignore", invalid="ignore"):
        sums = [np.bincount(at, each, minlength=len(ids)) for each in (quantity, quantity * price, quantity / price)]
        average = np.where(inverse.to_numpy(zero_copy_only=False), sums[0] / sums[2], sums[1] / sums[0])
    return pa.array(average, from_pandas=True)


def _against(table: pa.Table, benchmark: str, price: str = "average_price") -> pa.Array:
    """Return what the filled parts cost at one column of prices against another, null where either is missing."""
    names = (benchmark, "side", "filled_quantity", price, "decision_mid")
    against, side, filled, paid, decision = (table[name].cast(pa.float64()).to_numpy() for name in names)
    cost = cost_against(against, side, filled, paid, decision, table["inverse"].to_numpy())
    return pa.array(cost, from_pandas=True)


def _with(table: pa.Table, columns: Mapping[str, pa.Array]) -> pa.Table:
    for name, values in columns.items():
        table = table.append_column(name, values)
    return table


def _explain(table: pa.Table, instants: dict[str, QuoteMatch], at_fill: QuoteMatch, fills: pa.Table) -> pa.Table:
    """Replace 'missing' by what kept the quote away: none, too old, unusable, or an instant that never came."""
    fill_reasons: dict[str, str] = {
        order: why for order, why in zip(fills["order_id"].to_pylist(), at_fill.why().to_pylist(), strict=True) if why
    }
    of_instants = {name: instants[at].why().to_pylist() for name, at in _INSTANTS.items()}
    reasons = table["excluded_reason"].to_pylist()
    for row, (order, reason) in enumerate(zip(table["order_id"].to_pylist(), reasons, strict=True)):
        if reason is None:
            continue
        better = {f"{name} mid missing": f"{name}: {why[row]}" for name, why in of_instants.items()}
        better["mid missing at a fill; touch missing at a fill"] = f"at a fill: {fill_reasons.get(order)}"
        for plain, explained in better.items():
            reasons[row] = reasons[row].replace(plain, explained)
    index = table.column_names.index("excluded_reason")
    return table.set_column(index, "excluded_reason", pa.array(reasons, pa.string()))
