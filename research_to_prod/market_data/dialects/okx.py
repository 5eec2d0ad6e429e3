"""OKX v5: spot and linear swaps.

Every series is paged backward from its end: bars and funding by time, trades by their id. Contracts are counted, not
coins: amounts are turned into base units here.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar

from research_to_prod.market_data.dialects.base import (
    MILLISECOND,
    SECOND,
    Ask,
    Book,
    Dialect,
    Market,
    contract_size,
    levels,
    own_rows,
    up,
)
from research_to_prod.market_data.instruments import VenueStatus
from research_to_prod.market_data.paging import Feed, Want
from research_to_prod.market_data.shapes import (
    Check,
    Contract,
    all_of,
    digits,
    inside,
    list_of,
    number,
    number_or_empty,
    record,
    row,
    text,
)

_DAY = 86_400 * SECOND
_KEPT = 90 * _DAY
"""How long the venue keeps trades and funding: it says three months."""

_TAPE_BY_ID, _TAPE_BY_TIME = 1, 2


def _side(value: Any) -> bool:
    return value in {"buy", "sell"}


def _zero(value: Any) -> bool:
    return value == "0"


def _data(check: Check, *, least: int = 0) -> Check:
    return all_of(record(code=_zero), inside("data", list_of(check, least=least)))


_LEVELS = list_of(row([number, number]))


class Okx(Dialect):
    """Spot and swaps; the swaps that are read are linear."""

    ccxt = "okx"
    options: ClassVar[Mapping[str, Any]] = {"fetchMarkets": {"types": ["spot", "swap"]}}
    # From six hours on the venue's own bars open at 16:00 UTC; those called utc open at midnight.
    timeframes: ClassVar[Mapping[str, str]] = {
        **{each: each for each in ("1m", "3m", "5m", "15m", "30m")},
        "1h": "1H",
        "2h": "2H",
        "4h": "4H",
        "6h": "6Hutc",
        "12h": "12Hutc",
        "1d": "1Dutc",
    }
    skew_codes = frozenset({"50102", "50112"})
    remedies: ClassVar[Mapping[str, str]] = {
        "funding_rates": "OKX keeps three months of funding; read older payments from files (funding: files)",
    }
    contracts: ClassVar[Mapping[str, Contract]] = {
        "/api/v5/public/time": Contract(_data(record(ts=digits), least=1)),
        "/api/v5/system/status": Contract(_data(record(state=text))),
        "/api/v5/public/instruments": Contract(_data(record(instId=text, instType=text, state=text), least=1)),
        "/api/v5/market/history-candles": Contract(_data(row([digits, *[number] * 7, text], length=9))),
        "/api/v5/market/history-trades": Contract(
            _data(record(instId=text, tradeId=digits, px=number, sz=number, side=_side, ts=digits))
        ),
        "/api/v5/market/books": Contract(
            _data(all_of(record(ts=digits), inside("asks", _LEVELS), inside("bids", _LEVELS)), least=1)
        ),
        "/api/v5/public/funding-rate-history": Contract(
            _data(record(instId=text, realizedRate=number, fundingTime=digits))
        ),
        "/api/v5/account/trade-fee": Contract(_data(record(maker=number_or_empty, taker=number_or_empty), least=1)),
    }

    def error_code(self, body: Mapping[str, Any]) -> str | None:
        code = body.get("code")
        return None if code is None or str(code) == "0" else str(code)

    def clock(self, market: Market | None) -> Ask[int]:
        return Ask("publicGetPublicTime", {}, lambda body: int(body["data"][0]["ts"]) * MILLISECOND)

    def status(self) -> Ask[VenueStatus]:
        def read(body: Any) -> VenueStatus:
            ongoing = any(event["state"] == "ongoing" for event in body["data"])
            return VenueStatus.MAINTENANCE if ongoing else VenueStatus.ONLINE

        return Ask("publicGetSystemStatus", {}, read)

    def fees(self, market: Market) -> Ask[tuple[str, str]]:
        asked = (
            {"instType": "SPOT", "instId": market["id"]}
            if market["spot"]
            else {"instType": "SWAP", "instFamily": f"{market['baseId']}-{market['quoteId']}"}
        )

        def read(body: Any) -> tuple[str, str]:
            fee = body["data"][0]
            # Contracts margined in USDT have fields of their own; a fee paid is negative at this venue.
            maker, taker = (
                format(-Decimal(str((market["linear"] and fee.get(f"{name}U")) or fee[name])), "f")
                for name in ("maker", "taker")
            )
            return maker, taker

        return Ask("privateGetAccountTradeFee", asked, read)

    def candles(self, market: Market, timeframe: str) -> Feed:
        bar = self.timeframe(timeframe)
        # Element 5 counts contracts, element 6 base currency; for spot both do the latter.
        volume = 6 if market["linear"] else 5
        return Feed(
            method="publicGetMarketHistoryCandles",
            ask=lambda want: {**_of(market), "bar": bar, **_before(want)},
            rows=lambda body: body["data"],
            at=lambda sent: int(sent[0]) * MILLISECOND,
            values=lambda sent: tuple(float(sent[place]) for place in (1, 2, 3, 4, volume)),
            limit=100,
            backward=True,
            open_ended=True,
        )

    def trades(self, market: Market) -> Feed:
        size = contract_size(market)

        def ask(want: Want) -> Mapping[str, Any]:
            if want.anchor is None:
                return {**_of(market), "type": _TAPE_BY_TIME, **_before(want)}
            return {**_of(market), "type": _TAPE_BY_ID, "after": want.anchor, "limit": want.limit}

        return Feed(
            method="publicGetMarketHistoryTrades",
            ask=ask,
            rows=lambda body: own_rows(body["data"], "instId", market),
            at=lambda sent: int(sent["ts"]) * MILLISECOND,
            values=lambda sent: (sent["tradeId"], float(sent["px"]), float(sent["sz"]) * size, sent["side"]),
            limit=100,
            backward=True,
            identity=lambda sent: str(sent["tradeId"]),
            anchor=lambda _body, page: str(min(int(sent["tradeId"]) for sent in page)),
            holds=lambda sent, anchor: int(sent["tradeId"]) < int(anchor),
            open_ended=True,
            retention=_KEPT,
        )

    def book(self, market: Market, depth: int) -> Ask[Book]:
        size = contract_size(market)

        def read(body: Any) -> Book:
            book = body["data"][0]
            return Book(int(book["ts"]) * MILLISECOND, levels(book["bids"], size), levels(book["asks"], size))

        return Ask("publicGetMarketBooks", {**_of(market), "sz": min(depth, 400)}, read)

    def funding_rates(self, market: Market) -> Feed:
        return Feed(
            method="publicGetPublicFundingRateHistory",
            ask=lambda want: {**_of(market), **_before(want)},
            rows=lambda body: own_rows(body["data"], "instId", market),
            at=lambda sent: int(sent["fundingTime"]) * MILLISECOND,
            values=lambda sent: (float(sent["realizedRate"]), None),
            limit=100,
            backward=True,
            open_ended=True,
            retention=_KEPT,
        )


def _of(market: Market) -> dict[str, Any]:
    return {"instId": market["id"]}


def _before(want: Want) -> dict[str, Any]:
    # "after" is the venue's word for the rows that come after on the next page: those before this time.
    return {"after": up(want.stop, MILLISECOND), "limit": want.limit}


DIALECT = Okx()
