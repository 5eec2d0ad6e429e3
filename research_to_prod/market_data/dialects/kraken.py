"""Kraken: spot only.

The bars reach back 720 bars and no further, whatever is asked for; an earlier start can't be proven and is an error.
The public tape is whole: pages follow ``last``, a time in nanoseconds, and overlap by the trades that share it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

from research_to_prod.market_data.classifier import EndpointKind
from research_to_prod.market_data.dialects.base import (
    MILLISECOND,
    SECOND,
    Ask,
    Book,
    Dialect,
    Market,
    float_micros,
    length_of,
    levels,
    same_market,
)
from research_to_prod.market_data.instruments import VenueStatus
from research_to_prod.market_data.paging import Feed, Want
from research_to_prod.market_data.shapes import (
    Check,
    Contract,
    all_of,
    digits,
    fields,
    inside,
    integer,
    list_of,
    number,
    record,
    row,
    rows,
    text,
    values_of,
)

_NANOSECONDS = 1_000
_STATES = {
    "online": VenueStatus.ONLINE,
    "post_only": VenueStatus.LIMITED,
    "limit_only": VenueStatus.LIMITED,
    "cancel_only": VenueStatus.LIMITED,
    "maintenance": VenueStatus.MAINTENANCE,
}


def _result(check: Check) -> Check:
    return all_of(record(error=rows, result=fields), inside("result", check))


def _side(value: Any) -> bool:
    return value in {"b", "s"}


def _state(value: Any) -> bool:
    return value in _STATES


_PAIR = record(altname=text, base=text, quote=text, pair_decimals=integer, lot_decimals=integer)
_LEVELS = list_of(row([number, number, number]))
_FEE = record(fee=number)


class Kraken(Dialect):
    """Spot; perpetuals live on another API with another ccxt id."""

    ccxt = "kraken"
    clock_step = SECOND
    kinds = ("spot",)
    reads_currencies = True
    timeframes: ClassVar[Mapping[str, str]] = {
        "1m": "1",
        "5m": "5",
        "15m": "15",
        "30m": "30",
        "1h": "60",
        "4h": "240",
        "1d": "1440",
    }
    remedies: ClassVar[Mapping[str, str]] = {
        "candles": "Kraken serves the last 720 bars only; read older ones from files (source: files), or build them "
        "from trades",
        "funding_rates": "Kraken spot has no funding; take a perpetual of another venue, or funding from files",
    }
    contracts: ClassVar[Mapping[str, Contract]] = {
        "/0/public/Time": Contract(_result(record(unixtime=integer))),
        "/0/public/SystemStatus": Contract(_result(record(status=_state))),
        "/0/public/Assets": Contract(_result(values_of(record(altname=text, decimals=integer)))),
        "/0/public/AssetPairs": Contract(_result(values_of(_PAIR))),
        "/0/public/OHLC": Contract(
            _result(
                all_of(
                    record(last=integer),
                    values_of(list_of(row([integer, *[number] * 6], length=8)), ignoring="last"),
                )
            )
        ),
        "/0/public/Trades": Contract(
            _result(
                all_of(
                    record(last=digits),
                    values_of(list_of(row([number, number, number, _side, text, text, integer])), ignoring="last"),
                )
            )
        ),
        "/0/public/Depth": Contract(_result(values_of(all_of(inside("asks", _LEVELS), inside("bids", _LEVELS))))),
        # A read, although it is sent by POST.
        "/0/private/TradeVolume": Contract(
            _result(all_of(inside("fees", values_of(_FEE)), inside("fees_maker", values_of(_FEE)))),
            "POST",
            EndpointKind.READ,
        ),
    }

    def error_code(self, body: Mapping[str, Any]) -> str | None:
        errors = body.get("error")
        # "W..." are warnings beside a valid result.
        codes = [str(each) for each in errors if not str(each).startswith("W")] if isinstance(errors, list) else []
        return codes[0] if codes else None

    def clock(self, market: Market | None) -> Ask[int]:
        return Ask("publicGetTime", {}, lambda body: body["result"]["unixtime"] * SECOND)

    def status(self) -> Ask[VenueStatus]:
        return Ask("publicGetSystemStatus", {}, lambda body: _STATES[body["result"]["status"]])

    def fees(self, market: Market) -> Ask[tuple[str, str]]:
        def read(body: Any) -> tuple[str, str]:
            sides = (body["result"]["fees_maker"], body["result"]["fees"])
            for side in sides:
                same_market(set(side), market)
            maker, taker = (_fraction(side[market["id"]]["fee"]) for side in sides)
            return maker, taker

        return Ask("privatePostTradeVolume", {"pair": market["id"]}, read)

    def candles(self, market: Market, timeframe: str) -> Feed:
        length = length_of(timeframe)

        def ask(want: Want) -> Mapping[str, Any]:
            # since excludes its own bar; the bar before the start proves that the history reaches back to it.
            since = (want.start - 2 * length) // SECOND
            return {"pair": market["id"], "interval": self.timeframe(timeframe), "since": since}

        return Feed(
            method="publicGetOHLC",
            ask=ask,
            rows=lambda body: _rows(body, market),
            at=lambda sent: sent[0] * SECOND,
            values=lambda sent: tuple(float(sent[place]) for place in (1, 2, 3, 4, 6)),
            limit=720,
            open_ended=True,
            slack=2 * length,
            needs_start=True,
        )

    def trades(self, market: Market) -> Feed:
        def ask(want: Want) -> Mapping[str, Any]:
            since = want.anchor if want.anchor is not None else str(want.start * _NANOSECONDS - 1)
            return {"pair": market["id"], "since": since, "count": want.limit}

        return Feed(
            method="publicGetTrades",
            ask=ask,
            rows=lambda body: _rows(body, market),
            at=lambda sent: float_micros(sent[2]),
            values=lambda sent: (
                str(sent[6]),
                float(sent[0]),
                float(sent[1]),
                "buy" if sent[3] == "b" else "sell",
            ),
            limit=1000,
            identity=lambda sent: str(sent[6]),
            # One nanosecond earlier: the trades that share the last one's time come again, none is lost.
            anchor=lambda body, _page: str(int(body["result"]["last"]) - 1),
            holds=lambda sent, anchor: float_micros(sent[2]) >= int(anchor) // _NANOSECONDS - MILLISECOND,
            overlap=True,
            open_ended=True,
            slack=MILLISECOND,
        )

    def book(self, market: Market, depth: int) -> Ask[Book]:
        def read(body: Any) -> Book:
            same_market(set(body["result"]), market)
            sides = body["result"][market["id"]]
            return Book(None, levels(sides["bids"]), levels(sides["asks"]))

        return Ask("publicGetDepth", {"pair": market["id"], "count": min(depth, 500)}, read)


def _rows(body: Any, market: Market) -> Sequence[Any]:
    same_market(set(body["result"]) - {"last"}, market)
    found: Sequence[Any] = body["result"][market["id"]]
    return found


def _fraction(percent: Any) -> str:
    return format(Decimal(str(percent)) / 100, "f")


DIALECT = Kraken()
