"""Coinbase Advanced Trade: spot only.

Bars and the public tape are paged backward within windows of whole seconds; pages of the tape overlap by a second,
because its cursor is coarser than its trades. Futures are counted in contracts of a size of their own and are not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from research_to_prod.market_data.dialects.base import (
    MILLISECOND,
    SECOND,
    Ask,
    Book,
    Dialect,
    Market,
    length_of,
    micros_of,
    own_rows,
    same_market,
    up,
)
from research_to_prod.market_data.paging import Feed
from research_to_prod.market_data.shapes import (
    Contract,
    all_of,
    digits,
    inside,
    list_of,
    moment,
    number,
    record,
    text,
)

# The venue's public tape names the maker's side.
_AGGRESSORS = {"BUY": "sell", "SELL": "buy"}
_NO_FUNDING = "Coinbase spot has no funding; take a perpetual of another venue, or funding from files"


def _side(value: Any) -> bool:
    return value in _AGGRESSORS


_LEVELS = list_of(record(price=number, size=number))


class Coinbase(Dialect):
    """Spot products of the v3 brokerage interface."""

    ccxt = "coinbase"
    kinds = ("spot",)
    options: ClassVar[Mapping[str, Any]] = {"fetchTime": "v3PublicGetBrokerageTime"}
    timeframes: ClassVar[Mapping[str, str]] = {
        "1m": "ONE_MINUTE",
        "5m": "FIVE_MINUTE",
        "15m": "FIFTEEN_MINUTE",
        "30m": "THIRTY_MINUTE",
        "1h": "ONE_HOUR",
        "2h": "TWO_HOUR",
        "6h": "SIX_HOUR",
        "1d": "ONE_DAY",
    }
    remedies: ClassVar[Mapping[str, str]] = {
        "funding_rates": _NO_FUNDING,
        "status": "Coinbase's interface has no endpoint for it; watch the errors of its reads instead",
    }
    contracts: ClassVar[Mapping[str, Contract]] = {
        "/api/v3/brokerage/time": Contract(record(epochSeconds=digits, epochMillis=digits)),
        "/api/v3/brokerage/market/products": Contract(
            inside("products", list_of(record(product_id=text, product_type=text), least=1))
        ),
        "/api/v3/brokerage/market/products/{}/candles": Contract(
            inside(
                "candles",
                list_of(record(start=digits, open=number, high=number, low=number, close=number, volume=number)),
            )
        ),
        "/api/v3/brokerage/market/products/{}/ticker": Contract(
            inside(
                "trades",
                list_of(record(trade_id=text, product_id=text, price=number, size=number, time=moment, side=_side)),
            )
        ),
        "/api/v3/brokerage/market/product_book": Contract(
            inside(
                "pricebook",
                all_of(record(product_id=text, time=moment), inside("bids", _LEVELS), inside("asks", _LEVELS)),
            )
        ),
        "/api/v3/brokerage/transaction_summary": Contract(
            inside("fee_tier", record(maker_fee_rate=number, taker_fee_rate=number))
        ),
    }

    def error_code(self, body: Mapping[str, Any]) -> str | None:
        errors = body.get("errors")
        if isinstance(errors, list) and errors and isinstance(errors[0], dict):
            return str(errors[0].get("id"))
        return str(body["error"]) if body.get("error") else None

    def clock(self, market: Market | None) -> Ask[int]:
        return Ask("v3PublicGetBrokerageTime", {}, lambda body: int(body["epochMillis"]) * MILLISECOND)

    def fees(self, market: Market) -> Ask[tuple[str, str]]:
        def read(body: Any) -> tuple[str, str]:
            tier = body["fee_tier"]
            return str(tier["maker_fee_rate"]), str(tier["taker_fee_rate"])

        return Ask("v3PrivateGetBrokerageTransactionSummary", {"product_type": "SPOT"}, read)

    def candles(self, market: Market, timeframe: str) -> Feed:
        granularity, length = self.timeframe(timeframe), length_of(timeframe)
        return Feed(
            method="v3PublicGetBrokerageMarketProductsProductIdCandles",
            ask=lambda want: {
                **_of(market),
                "granularity": granularity,
                "start": up(want.start, SECOND),
                "end": up(want.stop, SECOND) - 1,
                "limit": want.limit,
            },
            rows=lambda body: body["candles"],
            at=lambda sent: int(sent["start"]) * SECOND,
            values=lambda sent: tuple(float(sent[name]) for name in ("open", "high", "low", "close", "volume")),
            limit=350,
            backward=True,
            # A request that spans more than 350 bars is refused.
            window=300 * length,
        )

    def trades(self, market: Market) -> Feed:
        return Feed(
            method="v3PublicGetBrokerageMarketProductsProductIdTicker",
            ask=lambda want: {
                **_of(market),
                "start": want.start // SECOND,
                "end": up(want.stop, SECOND),
                "limit": want.limit,
            },
            rows=lambda body: own_rows(body["trades"], "product_id", market),
            at=lambda sent: micros_of(sent["time"]),
            values=lambda sent: (
                sent["trade_id"],
                float(sent["price"]),
                float(sent["size"]),
                _AGGRESSORS[sent["side"]],
            ),
            limit=1000,
            backward=True,
            identity=lambda sent: str(sent["trade_id"]),
            overlap=True,
            # Whole seconds, with both ends included or not: the venue doesn't say.
            slack=2 * SECOND,
        )

    def book(self, market: Market, depth: int) -> Ask[Book]:
        def read(body: Any) -> Book:
            book = body["pricebook"]
            same_market({book["product_id"]}, market)
            bids, asks = (
                tuple((float(each["price"]), float(each["size"])) for each in book[side]) for side in ("bids", "asks")
            )
            return Book(micros_of(book["time"]), bids, asks)

        return Ask("v3PublicGetBrokerageMarketProductBook", {**_of(market), "limit": depth}, read)


def _of(market: Market) -> dict[str, Any]:
    return {"product_id": market["id"]}


DIALECT = Coinbase()
