"""The venue's own records of our trades, from ccxt's unified dictionaries to declared rows.

Belongs here: the strict translation of what ccxt returns. Doesn't: fetching (market_data.venue), comparing with the
desk's records (operations.reconciliation).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa

from research_to_prod.execution.contracts import VENUE_FILLS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SIDES = {"buy": 1, "sell": -1}
_SHOWN_PROBLEMS = 10


class VenueRecordError(ValueError):
    """The venue's answer lacks what a fill must have; the message lists each row and field."""


def venue_fills_table(trades: Sequence[Mapping[str, Any]], venue: str, fetch_id: str) -> pa.Table:
    """Return ccxt trades of our account as ``VENUE_FILLS`` rows, in the order given.

    Parameters
    ----------
    trades
        Unified trades of ccxt, fetched with ``exchange.number = str`` so that every amount is text. A row is not
        deduplicated here: two rows with one id are a fact about the fetch.
    venue
        Venue name as in the universe file.
    fetch_id
        The fetch whose certificate covers these rows.

    Raises
    ------
    VenueRecordError
        If any id, order, time, symbol, side, amount, price, liquidity or fee is missing, or an amount is a float. ccxt
        turns a cut or wrong-shaped body into rows whose id and time are None: those must never become "no such fill".
    """
    problems: list[str] = []
    rows = [_row(number, trade, venue, fetch_id, problems) for number, trade in enumerate(trades)]
    if problems:
        shown = "; ".join(problems[:_SHOWN_PROBLEMS])
        more = f"; and {len(problems) - _SHOWN_PROBLEMS} more" if len(problems) > _SHOWN_PROBLEMS else ""
        raise VenueRecordError(f"trades of {venue}, fetch {fetch_id}, refused: {shown}{more}; fetch again")
    return pa.Table.from_pylist(rows, schema=VENUE_FILLS.arrow)


def _row(number: int, trade: Mapping[str, Any], venue: str, fetch_id: str, problems: list[str]) -> dict[str, Any]:
    def fault(what: str) -> None:
        problems.append(f"row {number} (id {trade.get('id')!r}): {what}")

    def text(field: str) -> str:
        value = trade.get(field)
        if not isinstance(value, str) or not value:
            fault(f"{field} is {value!r}")
            return ""
        return value

    def amount(name: str, value: Any, *, positive: bool) -> Decimal:
        if not isinstance(value, str | Decimal):
            fault(f"{name} is {value!r}, not decimal text")
            return Decimal(0)
        try:
            number = Decimal(value)
        except InvalidOperation:
            fault(f"{name} is {value!r}")
            return Decimal(0)
        if not number.is_finite() or (positive and number <= 0):
            fault(f"{name} is {value!r}")
            return Decimal(0)
        return number

    milliseconds = trade.get("timestamp")
    if not isinstance(milliseconds, int) or milliseconds <= 0:
        fault(f"timestamp is {milliseconds!r}")
        milliseconds = 0
    if trade.get("side") not in _SIDES:
        fault(f"side is {trade.get('side')!r}")
    if trade.get("takerOrMaker") not in {"taker", "maker"}:
        fault(f"takerOrMaker is {trade.get('takerOrMaker')!r}")
    fee = trade.get("fee") or {}
    if not isinstance(fee.get("currency"), str):
        fault(f"fee is {trade.get('fee')!r}, without a currency")
    return {
        "venue": venue,
        "symbol": text("symbol"),
        "trade_id": text("id"),
        "venue_order_id": text("order"),
        "side": _SIDES.get(trade.get("side", ""), 0),
        "quantity": amount("amount", trade.get("amount"), positive=True),
        "price": amount("price", trade.get("price"), positive=True),
        "liquidity": trade.get("takerOrMaker"),
        "fee": amount("fee cost", fee.get("cost"), positive=False),
        "fee_currency": fee.get("currency"),
        "traded_at": _EPOCH + timedelta(milliseconds=milliseconds),
        "fetch_id": fetch_id,
    }
