"""Implementation shortfall of parent orders, split into who can do something about it.

Belongs here: the identity on explicit mids. Doesn't: finding those mids (quote_match), tables of the lake
(parent_orders).

Perold's shortfall of an order is the paper portfolio's value less the real one's. With side ``s``, ordered quantity
``X``, fills ``q, p`` with sum ``Q``, mids at decision ``Pd``, arrival ``P0``, end ``PN`` and just before each fill
``m``, the touch ``a`` (best ask for a buy, best bid for a sell) and fees ``f`` it is, cost positive and in quote
currency::

    total = s sum q (p - Pd) + s (X - Q) (PN - Pd) + sum f

and it is the sum of

    delay_filled     s Q (P0 - Pd)          latency, on what was filled
    delay_unfilled   s (X - Q) (P0 - Pd)    latency, on what was not
    timing           s sum q (m - P0)       drift while the order worked
    spread           s sum q (a - m)        crossing half the spread
    impact           s sum q (p - a)        walking the book; negative is price improvement
    fees             sum f                  rebates negative
    opportunity      s (X - Q) (PN - P0)    what was not filled

after Perold (1988), Wagner and Edwards (1993), Kissell and Glantz (2003), as worked through in Johnson (2010), example
6-1. A passive buy at the bid shows a spread of +h and an impact of -2h: ``a`` is the taker's touch for makers too, and
what makers earn and lose stands in ``markouts``.

An inverse contract pays in the base coin, and n quote units bought at ``a`` and sold at ``b`` earn n (1/a - 1/b) of it:
linear in ``-1 / price``. So its identity is the one above on ``-1 / price``, in coins, valued at the decision mid.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

Floats = npt.NDArray[np.float64]

COMPONENTS = ("delay_filled", "delay_unfilled", "timing", "spread", "impact", "fees", "opportunity")
"""The components, in the order of the order's life; they sum to ``total``."""

RESIDUAL_TOLERANCE = 1e-9
"""|residual| <= RESIDUAL_TOLERANCE * (1 + |total|), or the arithmetic is broken."""

_ORDER_COLUMNS = ("order_id", "side", "quantity", "decision_mid", "arrival_mid", "end_mid")
_INVERSE = "inverse"
_FILL_COLUMNS = ("order_id", "quantity", "price", "mid", "touch", "fee")
# Fills that exceed the order by more than float rounding are a record fault, not a cost.
_OVERFILL = 1e-9
_BPS = 1e4


def implementation_shortfall(orders: pa.Table | pd.DataFrame, fills: pa.Table | pd.DataFrame) -> pa.Table:
    """Split the implementation shortfall of each order, in quote currency, cost positive.

    Parameters
    ----------
    orders
        ``order_id, side (+1/-1), quantity, decision_mid, arrival_mid, end_mid``; N rows, ids distinct. The end mid of
        a fully filled order is not needed. An optional boolean ``inverse`` marks contracts that settle in their base
        coin; their quantities are in quote units (contracts x contract size), all others in base units.
    fills
        ``order_id, quantity, price, mid, touch, fee``; any order. ``mid`` and ``touch`` just before the fill, ``fee``
        in quote currency with rebates negative.

    Returns
    -------
    pa.Table
        N rows in the order of ``orders``: ``order_id``, ``fills`` (count), ``filled_quantity``, the ``COMPONENTS``,
        ``total``, ``residual`` (total less the components, computed apart), ``order_value`` (quantity x decision mid),
        ``executed_value`` (sum of quantity x price), ``total_bps_of_order_value``, ``total_bps_of_executed_value`` and
        ``excluded_reason``. An order with a missing mid is excluded whole: all of its costs are null and the reason
        says what is missing, so that sums of columns remain an identity. An inverse contract's value is its quantity.

    Raises
    ------
    ValueError
        If a column is missing, ids repeat, a fill has no order, a side is not +1 or -1, or a quantity not positive.
    """
    orders, fills = _table(orders, _ORDER_COLUMNS, "orders"), _table(fills, _FILL_COLUMNS, "fills")
    ids = orders.column("order_id")
    side, quantity = _floats(orders, "side"), _floats(orders, "quantity")
    q = _floats(fills, "quantity")
    _check_values(orders, fills, side, quantity, q)

    at = pc.index_in(fills.column("order_id"), value_set=ids.combine_chunks()).to_numpy().astype(np.int64)
    n = len(side)

    def per_order(values: Floats) -> Floats:
        return np.bincount(at, weights=values, minlength=n).astype(np.float64, copy=False)

    inverse = np.zeros(n, bool)
    if _INVERSE in orders.column_names:
        inverse = pc.fill_null(orders.column(_INVERSE), fill_value=False).to_numpy()
    decision, arrival, end = (_floats(orders, name) for name in ("decision_mid", "arrival_mid", "end_mid"))
    p, m, a, fee = (_floats(fills, name) for name in ("price", "mid", "touch", "fee"))
    filled = per_order(q)
    unfilled = quantity - filled
    complete = np.abs(unfilled) <= _OVERFILL * quantity
    # Nothing is left of a complete order, so its end mid is irrelevant; 0 * NaN would make it relevant.
    unfilled, end = np.where(complete, 0.0, unfilled), np.where(complete, np.where(inverse, 1.0, 0.0), end)
    columns: dict[str, Floats] = {
        "order_value": np.where(inverse, quantity, quantity * decision),
        "executed_value": np.where(inverse, filled, per_order(q * p)),
    }
    units = np.where(inverse, decision, 1.0)
    decision, arrival, end = (linear_price(prices, inverse) for prices in (decision, arrival, end))
    p, m, a = (linear_price(prices, inverse[at]) for prices in (p, m, a))

    mids = {"decision mid": decision, "arrival mid": arrival, "end mid": end}
    of_fills = {"mid missing at a fill": m, "touch missing at a fill": a, "fill price missing": p}
    of_fills["fee missing in quote currency"] = fee
    faults = {f"{name} missing": np.isnan(values) for name, values in mids.items()}
    faults |= {name: per_order(np.isnan(values).astype(float)) > 0 for name, values in of_fills.items()}
    reasons = _reasons(faults | {"filled more than ordered": unfilled < 0})
    s, done, left = side[at] * units[at], side * units * filled, side * units * unfilled
    columns |= {
        "delay_filled": done * (arrival - decision),
        "delay_unfilled": left * (arrival - decision),
        "timing": per_order(s * q * (m - arrival[at])),
        "spread": per_order(s * q * (a - m)),
        "impact": per_order(s * q * (p - a)),
        "fees": per_order(fee),
        "opportunity": left * (end - arrival),
    }
    # Computed from prices alone, never from the components: otherwise the residual could not fail.
    columns["total"] = per_order(s * q * (p - decision[at])) + left * (end - decision) + per_order(fee)
    columns["residual"] = columns["total"] - np.sum([columns[name] for name in COMPONENTS], axis=0)
    costs = _measured(columns, reasons)
    count = np.bincount(at, minlength=n).astype(np.int64)
    return pa.table({"order_id": ids, "fills": count, "filled_quantity": filled, **costs, "excluded_reason": reasons})


def market_adjusted(shortfall: float, side: int, beta: float, market_return: float) -> float:
    """Return a shortfall (a fraction of order value) less what the market's move explains: ``side * beta * return``."""
    return shortfall - side * beta * market_return


def kissell_glantz_split(
    impact: float, quantity: float, volume: float, temporary_share: float = 0.95
) -> tuple[float, float]:
    """Return (temporary, permanent) impact of a measured total, by the model of Kissell and Glantz (2003).

    A model's split, to stand beside what was measured at stated horizons: the instantaneous impact I solves
    ``impact = I (b Q / (Q + V / 2) + 1 - b)``, half of the volume V taken as counterflow.
    """
    temporary = temporary_share * quantity / (quantity + volume / 2)
    instantaneous = impact / (temporary + 1 - temporary_share)
    return instantaneous * temporary, instantaneous * (1 - temporary_share)


def linear_price(prices: Floats, inverse: npt.NDArray[np.bool_]) -> Floats:
    """Return (N,) what the profit of each contract is linear in: its price, or ``-1 / price`` where inverse.

    NaN where the price of an inverse contract is not positive.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(inverse, np.where(prices > 0, -1.0 / prices, np.nan), prices)


def cost_against(
    benchmark: Floats, side: Floats, filled: Floats, average: Floats, decision: Floats, inverse: npt.NDArray[np.bool_]
) -> Floats:
    """Return (N,) what the filled parts cost more than at ``benchmark`` prices, in quote currency; NaN where unknown.

    Parameters
    ----------
    average
        (N,) average fill price; of inverse contracts the harmonic one, filled quantity / coins.
    decision
        (N,) decision mids, at which the coins of inverse contracts are valued.
    """
    units = np.where(inverse, decision, 1.0)
    return side * filled * units * (linear_price(average, inverse) - linear_price(benchmark, inverse))


def _table(rows: pa.Table | pd.DataFrame, needed: tuple[str, ...], what: str) -> pa.Table:
    table = pa.Table.from_pandas(rows, preserve_index=False) if isinstance(rows, pd.DataFrame) else rows
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        raise ValueError(f"{what} lack the columns {', '.join(missing)}")
    return table


def _floats(table: pa.Table, name: str) -> Floats:
    """Return a numeric column as (N,) float64, null and infinity as NaN."""
    values = table.column(name).cast(pa.float64()).combine_chunks().to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(values), values, np.nan)


def _measured(columns: dict[str, Floats], reasons: pa.Array) -> dict[str, pa.Array]:
    """Add the totals in basis points of both values, and null everything of an excluded order."""
    for value in ("order_value", "executed_value"):
        with np.errstate(divide="ignore", invalid="ignore"):
            columns[f"total_bps_of_{value}"] = _BPS * columns["total"] / columns[value]
    excluded = pc.is_valid(reasons).to_numpy(zero_copy_only=False)
    return {name: pa.array(values, mask=excluded | ~np.isfinite(values)) for name, values in columns.items()}


def _check_values(orders: pa.Table, fills: pa.Table, side: Floats, quantity: Floats, q: Floats) -> None:
    ids, fill_ids = orders.column("order_id"), fills.column("order_id")
    problems = []
    if ids.null_count or len(pc.unique(ids)) != len(ids):
        problems.append("order ids are missing or repeat")
    stray = fill_ids.filter(pc.invert(pc.is_in(fill_ids, value_set=ids.combine_chunks())))
    if len(stray):
        problems.append(f"{len(stray)} fills belong to no order given, of orders {pc.unique(stray).to_pylist()[:5]}")
    if not np.isin(side, (1.0, -1.0)).all():
        problems.append("a side is neither +1 nor -1")
    if not ((quantity > 0) & np.isfinite(quantity)).all():
        problems.append("an order's quantity is not a positive number")
    if not ((q > 0) & np.isfinite(q)).all():
        problems.append("a fill's quantity is not a positive number")
    if problems:
        raise ValueError("shortfall refused: " + "; ".join(problems))


def _reasons(faults: dict[str, npt.NDArray[np.bool_]]) -> pa.Array:
    """Join, per order, the names of the faults that it has; null where it has none."""
    masks = np.stack(list(faults.values()))
    names = np.array(list(faults), dtype=object)
    texts: npt.NDArray[np.object_] = np.full(masks.shape[1], None, dtype=object)
    for order in np.flatnonzero(masks.any(axis=0)):
        texts[order] = "; ".join(names[masks[:, order]])
    return pa.array(texts, pa.string())
