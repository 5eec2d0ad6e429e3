"""Binance: spot and USD-M linear contracts.

Bars and funding are paged forward by time, trades by their id (``fromId``); a cursor by time loses trades that share a
millisecond. The public tape is the aggregated one, whose ids ccxt uses too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from research_to_prod.market_data.dialects import _binance_account as account
from research_to_prod.market_data.dialects._binance_account import between
from research_to_prod.market_data.dialects.base import (
    MILLISECOND,
    Ask,
    Book,
    Dialect,
    Market,
    Statement,
    Tier,
    levels,
    own_rows,
)
from research_to_prod.market_data.instruments import VenueStatus
from research_to_prod.market_data.paging import Feed, Want
from research_to_prod.market_data.shapes import (
    Check,
    Contract,
    all_of,
    flag,
    inside,
    integer,
    list_of,
    number,
    record,
    row,
    text,
)
from research_to_prod.market_data.traffic import Budget

_HOUR = 3_600_000_000
PAGE = 1000
"""Rows that a page may hold; the most that spot and futures both allow."""

_TIME = Contract(record(serverTime=integer))
_LISTED = record(symbol=text, status=text, baseAsset=text, quoteAsset=text)
_MARKETS = Contract(inside("symbols", list_of(_LISTED, least=1)))
_KLINES = Contract(list_of(row([integer, *[number] * 5], length=12)))
_TAPE = Contract(list_of(record(a=integer, p=number, q=number, T=integer, m=flag)))
_SIDES = list_of(row([number, number]))


def _depth(**kinds: Callable[[Any], bool]) -> Check:
    return all_of(record(lastUpdateId=integer, **kinds), inside("bids", _SIDES), inside("asks", _SIDES))


_TRADE = {
    "symbol": text,
    "id": integer,
    "orderId": integer,
    "time": integer,
    "price": number,
    "qty": number,
    "commission": number,
    "commissionAsset": text,
}
_ORDER = {
    "symbol": text,
    "orderId": integer,
    "clientOrderId": text,
    "time": integer,
    "updateTime": integer,
    "price": number,
    "origQty": number,
    "executedQty": number,
    "status": text,
    "side": text,
    "type": text,
}
# Futures forget orders that ended without a fill after this time; spot archives them later.
_ORDERS_KEPT = {False: 90 * 24 * _HOUR, True: 3 * 24 * _HOUR}
# The futures host takes these depths only.
_DEPTHS = (5, 10, 20, 50, 100, 500, 1000)
_STATES = {0: VenueStatus.ONLINE, 1: VenueStatus.MAINTENANCE}


class Binance(Dialect):
    """Spot on api/v3, linear contracts on fapi/v1."""

    ccxt = "binance"
    options: ClassVar[Mapping[str, Any]] = {
        "fetchMarkets": {"types": ["spot", "linear"]},
        "fetchMargins": False,
        "fetchCurrencies": False,
    }
    timeframes: ClassVar[Mapping[str, str]] = {
        each: each for each in ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d")
    }
    skew_codes = frozenset({"-1021"})
    # Of an address and a minute, by the documents; sapi counts each endpoint for itself.
    budgets: ClassVar[Mapping[str, Budget]] = {
        "/api/": Budget("x-mbx-used-weight-1m", 6000),
        "/fapi/": Budget("x-mbx-used-weight-1m", 2400),
    }
    contracts: ClassVar[Mapping[str, Contract]] = {
        "/api/v3/time": _TIME,
        "/fapi/v1/time": _TIME,
        "/api/v3/exchangeInfo": _MARKETS,
        "/fapi/v1/exchangeInfo": _MARKETS,
        "/sapi/v1/system/status": Contract(record(status=_STATES.__contains__)),
        "/api/v3/klines": _KLINES,
        "/fapi/v1/klines": _KLINES,
        "/api/v3/aggTrades": _TAPE,
        "/fapi/v1/aggTrades": _TAPE,
        "/api/v3/depth": Contract(_depth()),
        "/fapi/v1/depth": Contract(_depth(T=integer)),
        "/fapi/v1/fundingRate": Contract(list_of(record(symbol=text, fundingRate=number, fundingTime=integer))),
        "/sapi/v1/asset/tradeFee": Contract(
            list_of(record(symbol=text, makerCommission=number, takerCommission=number), least=1)
        ),
        "/fapi/v1/commissionRate": Contract(
            record(symbol=text, makerCommissionRate=number, takerCommissionRate=number)
        ),
        "/api/v3/myTrades": Contract(list_of(record(**_TRADE, isBuyer=flag, isMaker=flag))),
        "/fapi/v1/userTrades": Contract(list_of(record(**_TRADE, side=text, maker=flag))),
        "/api/v3/allOrders": Contract(list_of(record(**_ORDER, cummulativeQuoteQty=number))),
        "/fapi/v1/allOrders": Contract(list_of(record(**_ORDER, cumQuote=number))),
        **account.CONTRACTS,
    }

    def error_code(self, body: Mapping[str, Any]) -> str | None:
        code = str(body.get("code", 0))
        return None if code in {"0", "200"} else code

    def clock(self, market: Market | None) -> Ask[int]:
        method = _either(market, "publicGetTime", "fapiPublicGetTime")
        return Ask(method, {}, lambda body: body["serverTime"] * MILLISECOND)

    def clocks(self) -> Sequence[Ask[int]]:
        return self.clock(None), self.clock({"linear": True})

    def status(self) -> Ask[VenueStatus]:
        return Ask("sapiGetSystemStatus", {}, lambda body: _STATES[body["status"]])

    def fees(self, market: Market) -> Ask[tuple[str, str]]:
        suffix = _either(market, "", "Rate")

        def read(body: Any) -> tuple[str, str]:
            (fee,) = own_rows([body] if market["linear"] else body[:1], "symbol", market)
            return str(fee[f"makerCommission{suffix}"]), str(fee[f"takerCommission{suffix}"])

        return Ask(_either(market, "sapiGetAssetTradeFee", "fapiPrivateGetCommissionRate"), _of(market), read)

    def candles(self, market: Market, timeframe: str) -> Feed:
        return Feed(
            method=_either(market, "publicGetKlines", "fapiPublicGetKlines"),
            ask=lambda want: {**_of(market), "interval": self.timeframe(timeframe), **between(want)},
            rows=lambda body: body,
            at=lambda sent: sent[0] * MILLISECOND,
            values=lambda sent: tuple(map(float, sent[1:6])),
            limit=PAGE,
        )

    def trades(self, market: Market) -> Feed:
        return self._by_id(
            market,
            _either(market, "publicGetAggTrades", "fapiPublicGetAggTrades"),
            rows=lambda body: body,
            names=("a", "T"),
            values=lambda sent: (str(sent["a"]), float(sent["p"]), float(sent["q"]), "sell" if sent["m"] else "buy"),
            # Both hosts refuse a longer time between the bounds.
            window=_HOUR,
        )

    def book(self, market: Market, depth: int) -> Ask[Book]:
        limit = next((each for each in _DEPTHS if each >= depth), _DEPTHS[-1])

        def read(body: Any) -> Book:
            at = body["T"] * MILLISECOND if market["linear"] else None
            return Book(at, levels(body["bids"]), levels(body["asks"]))

        return Ask(_either(market, "publicGetDepth", "fapiPublicGetDepth"), {**_of(market), "limit": limit}, read)

    def funding_rates(self, market: Market) -> Feed:
        return Feed(
            method="fapiPublicGetFundingRate",
            ask=lambda want: {**_of(market), **between(want)},
            rows=lambda body: own_rows(body, "symbol", market),
            at=lambda sent: sent["fundingTime"] * MILLISECOND,
            # The mark price is empty for payments before November 2023.
            values=lambda sent: (
                float(sent["fundingRate"]),
                float(sent["markPrice"]) if sent.get("markPrice") else None,
            ),
            limit=PAGE,
        )

    def my_trades(self, market: Market) -> Feed:
        return self._by_id(
            market,
            _either(market, "privateGetMyTrades", "fapiPrivateGetUserTrades"),
            rows=lambda body: own_rows(body, "symbol", market),
            names=("id", "time"),
            values=lambda _: (),
            window=_either(market, 24 * _HOUR, 7 * 24 * _HOUR),
        )

    def my_orders(self, market: Market) -> Feed:
        return replace(
            self._by_id(
                market,
                _either(market, "privateGetAllOrders", "fapiPrivateGetAllOrders"),
                rows=lambda body: own_rows(body, "symbol", market),
                names=("orderId", "time"),
                values=lambda _: (),
                window=_either(market, 24 * _HOUR, 7 * 24 * _HOUR),
                cursor="orderId",
            ),
            retention=_ORDERS_KEPT[bool(market["linear"])],
        )

    def holdings(self) -> Sequence[Ask[Statement]]:
        return account.holdings()

    def margin_tiers(self) -> Ask[Mapping[str, Sequence[Tier]]]:
        return account.margin_tiers()

    def statements(self, start: int, end: int) -> Sequence[Ask[Sequence[Statement]]]:
        return account.statements(start, end)

    def payments(self) -> Mapping[str, Sequence[Feed]]:
        return account.payments()

    @staticmethod
    def _by_id(
        market: Market,
        method: str,
        *,
        rows: Callable[[Any], Sequence[Any]],
        names: tuple[str, str],
        values: Callable[[Any], tuple[Any, ...]],
        window: int,
        cursor: str = "fromId",
    ) -> Feed:
        """Search windows of time for the first trade; from there pages follow ids."""
        name, time = names

        def ask(want: Want) -> Mapping[str, Any]:
            # The cursor excludes startTime and endTime on both hosts.
            paging = between(want) if want.anchor is None else {cursor: int(want.anchor), "limit": want.limit}
            return {**_of(market), **paging}

        return Feed(
            method=method,
            ask=ask,
            rows=rows,
            at=lambda sent: sent[time] * MILLISECOND,
            values=values,
            limit=PAGE,
            identity=lambda sent: str(sent[name]),
            anchor=lambda _body, page: str(max(sent[name] for sent in page) + 1),
            holds=lambda sent, anchor: sent[name] >= int(anchor),
            window=window,
        )


def _of(market: Market) -> dict[str, Any]:
    return {"symbol": market["id"]}


def _either(market: Market | None, spot: Any, linear: Any) -> Any:
    return linear if market is not None and market["linear"] else spot


DIALECT = Binance()
