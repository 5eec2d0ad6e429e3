"""The model's side of live against model: its P&L paired with the desk's, day by day.

A day begins with the position held. The shadow trades what was ordered, whole and at the mid of its decision, and pays
what the model charges; live trades its fills. Both are marked to the same mids and get the same funding, so their
difference is what execution cost beyond the model, with the market's noise taken out. Where the live signals weren't
the model's, that is a fault of its own (``signal_divergence``) and never noise.

Belongs here: pairing the desk's records, for the verdict and for the waterfall. Doesn't: the identity (``waterfall``),
what the verdict makes of the days (``verdict_record``), and running backtests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from typing import Any, NamedTuple

import pyarrow as pa

from research_to_prod.attribution.waterfall import Trade

_PRECISE = Context(prec=100)
_ZERO = Decimal(0)


Worked = tuple[dict[str, Any], list[dict[str, Any]]]
"""A row of an order, and those of its fills."""


class Market(NamedTuple):
    """One market as one strategy trades it."""

    strategy: str
    symbol: str


@dataclass(frozen=True)
class ModelCharges:
    """What the model charges itself, as fractions of the value traded."""

    cost_rate: Decimal
    fee_rate: Decimal


@dataclass(frozen=True)
class MarketDay:
    """What one strategy started with in one market on one day, and the marks of the day.

    Parameters
    ----------
    position
        Signed, at the day's start, in base units.
    opening_mid, closing_mid
        Mids at the day's two midnights.
    funding
        Received on the positions of the day, in quote currency.
    """

    position: Decimal
    opening_mid: Decimal
    closing_mid: Decimal
    funding: Decimal


@dataclass(frozen=True)
class PairedDay:
    """One strategy's day in one market, in quote currency.

    Parameters
    ----------
    shadow, live
        P&L of the day.
    selection
        What the unfilled quantity would have earned, less what it would have at the mean return of the filled: above 0
        where the fills were the losers. None on a day that lacks one of the two.
    closing_position
        Position at the day's end; a fee in base currency has left it.
    orders
        Parent orders.
    """

    market: Market
    shadow: Decimal
    live: Decimal
    selection: Decimal | None
    closing_position: Decimal
    orders: int


def paired_days(
    decisions: pa.Table, orders: pa.Table, fills: pa.Table,
    markets: Mapping[Market, MarketDay], charges: Mapping[str, ModelCharges],
) -> tuple[PairedDay, ...]:  # fmt: skip
    """Return shadow and live P&L of each strategy and market of a day, in order.

    Parameters
    ----------
    decisions, orders, fills
        The day's rows of these tables. Fills of an order of another day are refused: a day is paired whole.
    markets
        Every market that a strategy holds or trades.
    charges
        By strategy.

    Raises
    ------
    ValueError
        Listing each market, strategy or decision that is missing, and each fee in a third currency.
    """
    mids = _decision_mids(decisions)
    by_order = _grouped(fills, "order_id")
    by_market: dict[Market, list[Worked]] = {market: [] for market in markets}
    problems = []
    for row in orders.to_pylist():
        market = Market(row["strategy"], row["symbol"])
        if market not in markets:
            problems.append(f"{market.symbol} of {market.strategy}: no position and marks")
        elif market.strategy not in charges:
            problems.append(f"{market.strategy}: no charges of its model")
        elif row["decision_id"] not in mids:
            problems.append(f"order {row['order_id']}: decision {row['decision_id']} is not known")
        else:
            by_market[market].append((row, by_order.pop(row["order_id"], [])))
    problems += [f"fills of order {order}, which is not known" for order in by_order]
    problems += [
        f"fill {row['fill_id']} of {row['symbol']}: a fee in {row['fee_currency']}"
        for row in fills.to_pylist()
        if row["fee"] and row["fee_currency"] not in _currencies(row["symbol"])
    ]
    if problems:
        raise ValueError("days can't be paired: " + "; ".join(sorted(set(problems))))
    with localcontext(_PRECISE):
        return tuple(
            _paired(market, markets[market], worked, mids, charges.get(market.strategy))
            for market, worked in sorted(by_market.items(), key=lambda each: each[0])
        )


def trades_of(
    decisions: pa.Table, orders: pa.Table, fills: pa.Table, slippage: pa.Table,
    rerun: Mapping[str, Decimal], closing_mids: Mapping[str, Decimal], charges: Mapping[str, ModelCharges],
) -> tuple[Trade, ...]:  # fmt: skip
    """Return a trade of the waterfall for each decision of a day, sent or not.

    Parameters
    ----------
    slippage
        ``SLIPPAGE`` rows of the orders; each must have been measured, because a waterfall without some of the orders
        isn't one.
    rerun
        By decision id, the signed quantity that the model run again trades there; 0 where it doesn't.
    closing_mids
        By symbol; what the day is marked to, fees in base currency included.
    charges
        By strategy.

    Raises
    ------
    ValueError
        Listing what was not measured or not run again, and what the model trades and live never decided on.
    """
    costs = {row["order_id"]: row for row in slippage.to_pylist()}
    sent = {row["decision_id"]: row for row in orders.to_pylist()}
    mids, by_order = _decision_mids(decisions), _grouped(fills, "order_id")
    problems = [
        f"order {row['order_id']} is not measured: {costs.get(row['order_id'], {}).get('excluded_reason') or 'no row'}"
        for row in sent.values()
        if row["order_id"] not in costs or costs[row["order_id"]]["excluded_reason"]
    ]
    problems += [f"decision {each} was not run again" for each in mids if each not in rerun]
    problems += [f"the model trades {each}, which live never decided on" for each in rerun if each not in mids]
    problems += [f"decision {each} of an order is not known" for each in sent if each not in mids]
    if problems:
        raise ValueError("no waterfall: " + "; ".join(problems))
    trades = []
    with localcontext(_PRECISE):
        for row in decisions.to_pylist():
            mid, closing = mids[row["decision_id"]], closing_mids[row["symbol"]]
            order = sent.get(row["decision_id"])
            own = by_order.get(order["order_id"], []) if order else []
            quantity = sum((fill["side"] * fill["quantity"] for fill in own), _ZERO)
            # The mid that slippage measured the order from, so that both speak of one delay.
            unsent = {"decision_mid": float(mid), "arrival_mid": float(mid), "timing": 0.0, "spread": 0.0}
            cost = costs[order["order_id"]] if order else unsent
            mid, arrival, timing, spread = (
                Decimal(repr(cost[name])) for name in ("decision_mid", "arrival_mid", "timing", "spread")
            )
            at_mid = quantity * arrival + timing
            base, _ = _currencies(row["symbol"])
            trades.append(
                Trade(
                    model_quantity=rerun[row["decision_id"]],
                    live_quantity=row["side"] * row["target_quantity"],
                    target_quantity=order["side"] * order["quantity"] if order else _ZERO,
                    filled_quantity=quantity,
                    filled_value=sum((fill["side"] * fill["quantity"] * fill["price"] for fill in own), _ZERO),
                    decision_mid=mid,
                    arrival_mid=arrival,
                    end_mid=closing,
                    model_cost_rate=charges[row["strategy"]].cost_rate,
                    model_fee_rate=charges[row["strategy"]].fee_rate,
                    fees=sum((fill["fee"] * (closing if fill["fee_currency"] == base else 1) for fill in own), _ZERO),
                    quoted_values=(at_mid, at_mid + spread),
                )
            )
    return tuple(trades)


def _paired(
    market: Market, day: MarketDay, worked: Sequence[Worked],
    mids: Mapping[str, Decimal], charges: ModelCharges | None,
) -> PairedDay:  # fmt: skip
    base, _ = _currencies(market.symbol)
    carried = day.position * (day.closing_mid - day.opening_mid) + day.funding
    shadow = live = carried
    closing = day.position
    filled_value = filled_gain = unfilled_value = unfilled_gain = _ZERO
    for order, fills in worked:
        mid, side = mids[order["decision_id"]], order["side"]
        gain = side * (day.closing_mid - mid)
        charged = mid * (charges.cost_rate + charges.fee_rate) if charges else _ZERO
        shadow += order["quantity"] * (gain - charged)
        for fill in fills:
            in_base = fill["fee_currency"] == base
            live += fill["side"] * fill["quantity"] * (day.closing_mid - fill["price"])
            live -= fill["fee"] * (day.closing_mid if in_base else 1)
            closing += fill["side"] * fill["quantity"] - (fill["fee"] if in_base else 0)
        filled = sum((fill["quantity"] for fill in fills), _ZERO)
        filled_value, filled_gain = filled_value + filled * mid, filled_gain + filled * gain
        unfilled = order["quantity"] - filled
        unfilled_value, unfilled_gain = unfilled_value + unfilled * mid, unfilled_gain + unfilled * gain
    selection = None
    if filled_value > 0 and unfilled_value > 0:
        selection = unfilled_gain - unfilled_value * filled_gain / filled_value
    return PairedDay(market, shadow, live, selection, closing, len(worked))


def _decision_mids(decisions: pa.Table) -> dict[str, Decimal]:
    return {
        row["decision_id"]: (row["reference_bid"] + row["reference_ask"]) / 2
        for row in decisions.select(["decision_id", "reference_bid", "reference_ask"]).to_pylist()
    }


def _grouped(table: pa.Table, by: str) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        groups.setdefault(row[by], []).append(row)
    return groups


def _currencies(symbol: str) -> tuple[str, str]:
    base, _, quote = symbol.partition(":")[0].partition("/")
    return base, quote
