"""Bybit v5: spot and linear contracts.

Bars and funding are paged backward from their end. Of the public tape the venue serves the newest trades only: whether
an interval was seen whole shows only when a trade from before its start is among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from research_to_prod.market_data.dialects.base import (
    MILLISECOND,
    Ask,
    Book,
    Dialect,
    Market,
    levels,
    own_rows,
    same_market,
    up,
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
    text,
)

_SIDES = {"Buy": "buy", "Sell": "sell"}


def _side(value: Any) -> bool:
    return value in _SIDES


def _zero(value: Any) -> bool:
    return str(value) == "0"


def _result(check: Check) -> Check:
    return all_of(record(retCode=_zero, result=fields), inside("result", check))


def _listed(check: Check, *, least: int = 0, **kinds: Any) -> Check:
    return _result(all_of(record(**kinds), inside("list", list_of(check, least=least))))


_LEVELS = list_of(row([number, number]))


class Bybit(Dialect):
    """Unified v5 interface; the category tells spot from linear."""

    ccxt = "bybit"
    options: ClassVar[Mapping[str, Any]] = {"fetchMarkets": {"types": ["spot", "linear"]}}
    timeframes: ClassVar[Mapping[str, str]] = {
        "1m": "1",
        "3m": "3",
        "5m": "5",
        "15m": "15",
        "30m": "30",
        "1h": "60",
        "2h": "120",
        "4h": "240",
        "6h": "360",
        "12h": "720",
        "1d": "D",
    }
    skew_codes = frozenset({"10002"})
    contracts: ClassVar[Mapping[str, Contract]] = {
        "/v5/market/time": Contract(_result(record(timeNano=digits))),
        "/v5/system/status": Contract(_listed(record(state=text))),
        # Not "least=1": the venue lists its pre-launch contracts in a list of their own, which is often empty.
        "/v5/market/instruments-info": Contract(
            _listed(record(symbol=text, status=text, baseCoin=text, quoteCoin=text), category=text)
        ),
        "/v5/market/kline": Contract(_listed(row([digits, *[number] * 6], length=7), symbol=text)),
        "/v5/market/recent-trade": Contract(
            _listed(record(execId=text, symbol=text, price=number, size=number, side=_side, time=digits))
        ),
        "/v5/market/orderbook": Contract(
            _result(all_of(record(s=text, ts=integer), inside("a", _LEVELS), inside("b", _LEVELS)))
        ),
        "/v5/market/funding/history": Contract(
            _listed(record(symbol=text, fundingRate=number, fundingRateTimestamp=digits))
        ),
        "/v5/account/fee-rate": Contract(
            _listed(record(symbol=text, makerFeeRate=number, takerFeeRate=number), least=1)
        ),
    }

    def error_code(self, body: Mapping[str, Any]) -> str | None:
        code = body.get("retCode")
        return None if code is None or _zero(code) else str(code)

    def clock(self, market: Market | None) -> Ask[int]:
        return Ask("publicGetV5MarketTime", {}, lambda body: int(body["result"]["timeNano"]) // 1000)

    def status(self) -> Ask[VenueStatus]:
        def read(body: Any) -> VenueStatus:
            ongoing = any(event["state"] == "ongoing" for event in body["result"]["list"])
            return VenueStatus.MAINTENANCE if ongoing else VenueStatus.ONLINE

        return Ask("publicGetV5SystemStatus", {}, read)

    def fees(self, market: Market) -> Ask[tuple[str, str]]:
        def read(body: Any) -> tuple[str, str]:
            fee = own_rows(body["result"]["list"], "symbol", market)[0]
            return str(fee["makerFeeRate"]), str(fee["takerFeeRate"])

        return Ask("privateGetV5AccountFeeRate", _of(market), read)

    def candles(self, market: Market, timeframe: str) -> Feed:
        interval = self.timeframe(timeframe)

        def rows(body: Any) -> Any:
            same_market({body["result"]["symbol"]}, market)
            return body["result"]["list"]

        return Feed(
            method="publicGetV5MarketKline",
            ask=lambda want: {**_of(market), "interval": interval, **_between(want, "start", "end")},
            rows=rows,
            at=lambda sent: int(sent[0]) * MILLISECOND,
            values=lambda sent: tuple(map(float, sent[1:6])),
            limit=1000,
            backward=True,
        )

    def trades(self, market: Market) -> Feed:
        limit = 60 if market["spot"] else 1000
        return Feed(
            method="publicGetV5MarketRecentTrade",
            ask=lambda want: {**_of(market), "limit": want.limit},
            rows=lambda body: own_rows(body["result"]["list"], "symbol", market),
            at=lambda sent: int(sent["time"]) * MILLISECOND,
            values=lambda sent: (
                sent["execId"],
                float(sent["price"]),
                float(sent["size"]),
                _SIDES[sent["side"]],
            ),
            limit=limit,
            backward=True,
            identity=lambda sent: str(sent["execId"]),
            single=True,
        )

    def book(self, market: Market, depth: int) -> Ask[Book]:
        def read(body: Any) -> Book:
            book = body["result"]
            same_market({book["s"]}, market)
            return Book(book["ts"] * MILLISECOND, levels(book["b"]), levels(book["a"]))

        return Ask("publicGetV5MarketOrderbook", {**_of(market), "limit": min(depth, 200)}, read)

    def funding_rates(self, market: Market) -> Feed:
        return Feed(
            method="publicGetV5MarketFundingHistory",
            ask=lambda want: {**_of(market), **_between(want, "startTime", "endTime")},
            rows=lambda body: own_rows(body["result"]["list"], "symbol", market),
            at=lambda sent: int(sent["fundingRateTimestamp"]) * MILLISECOND,
            values=lambda sent: (float(sent["fundingRate"]), None),
            limit=200,
            backward=True,
        )


def _of(market: Market) -> dict[str, Any]:
    return {"category": "spot" if market["spot"] else "linear", "symbol": market["id"]}


def _between(want: Want, start: str, end: str) -> dict[str, Any]:
    return {start: up(want.start, MILLISECOND), end: up(want.stop, MILLISECOND) - 1, "limit": want.limit}


DIALECT = Bybit()
