"""Five venues that serve one and the same truth, each in its own dialect and with its own way of paging.

Payloads are made by hand in the form of the venues' documents. The peers are stateful: they filter, order and cut as
the venue does, so that a client that pages wrongly loses rows.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from research_to_prod.market_data.universe import VenueSpec
from research_to_prod.market_data.venue import Credentials, VenueClient, connect

HOUR = 3_600_000
START = datetime(2023, 6, 1, tzinfo=UTC)
T0 = int(START.timestamp() * 1000)
CANARY_KEY = "canaryKEYcanaryKEYcanaryKEYcanaryKEY"
# Kraken's secrets are base64; the others take any text.
CANARY_SECRET = base64.b64encode(b"canarySECRETcanarySECRETcanarySECRET!").decode().rstrip("=") + "AB"
CANARY_PASSPHRASE = "canaryPASSPHRASEcanary"

Query = Mapping[str, str]
Bar = tuple[int, str, str, str, str, str]
Trade = tuple[int, int, str, str, str]


def bar(hour: int) -> Bar:
    """Time in milliseconds, open, high, low, close, volume."""
    price = 27_000 + hour
    return T0 + hour * HOUR, f"{price}.0", f"{price + 2}.0", f"{price - 2}.0", f"{price + 1}.5", f"{1 + hour % 7}.25"


@dataclass
class World:
    """What there is to be seen. ``cap`` is how many rows a page holds at most; None is the venue's own limit."""

    now: int = T0 + 20 * 24 * HOUR
    bars: list[Bar] = field(default_factory=lambda: [bar(hour) for hour in range(-48, 20 * 24 + 1)])
    trades: list[Trade] = field(default_factory=list)
    """Id, microseconds, price, amount, aggressor's side."""
    funding: list[tuple[int, str]] = field(
        default_factory=lambda: [(T0 + each * 8 * HOUR, f"0.000{each % 9}1") for each in range(-6, 60)]
    )
    bids: tuple[tuple[str, str], ...] = (("27000.0", "1.5"), ("26999.5", "2"))
    asks: tuple[tuple[str, str], ...] = (("27000.5", "0.5"), ("27001.0", "4"))
    cap: int | None = None

    def page(self, rows: list[Any], query: Query, name: str, limit: int) -> list[Any]:
        return rows[: min(int(query.get(name) or limit), limit, self.cap or limit)]

    def newest(self, rows: list[Any], query: Query, name: str, limit: int) -> list[Any]:
        return self.page(rows[::-1], query, name, limit)


def binance(world: World) -> dict[str, Callable[[Query], Any]]:
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": "0.01", "minPrice": "0.01", "maxPrice": "1000000"},
        {"filterType": "LOT_SIZE", "stepSize": "0.00001", "minQty": "0.00001", "maxQty": "9000"},
        {"filterType": "NOTIONAL", "minNotional": "5.0", "notional": "5.0"},
    ]
    common = {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT"}
    common |= {"orderTypes": ["LIMIT", "MARKET"], "filters": filters, "permissions": ["SPOT"]}
    contract = {"contractType": "PERPETUAL", "deliveryDate": 4133404800000, "onboardDate": 1, "marginAsset": "USDT"}

    def klines(query: Query) -> Any:
        inside = [b for b in world.bars if int(query["startTime"]) <= b[0] <= int(query["endTime"])]
        rows = [[*b, b[0] + HOUR - 1, "36", 12, "1", "10", "0"] for b in inside]
        return world.page(rows, query, "limit", 1000)

    def tape(query: Query) -> Any:
        if "fromId" in query:
            assert "startTime" not in query
            chosen = [t for t in world.trades if t[0] >= int(query["fromId"])]
        else:
            start, end = int(query["startTime"]), int(query["endTime"])
            assert end - start < HOUR, "the venue refuses more than one hour"
            chosen = [t for t in world.trades if start <= t[1] // 1000 <= end]
        rows = [
            {"a": i, "p": p, "q": q, "f": i, "l": i, "T": at // 1000, "m": side == "sell", "M": True}
            for i, at, p, q, side in chosen
        ]
        return world.page(rows, query, "limit", 1000)

    def funding(query: Query) -> Any:
        assert int(query["startTime"]) <= int(query["endTime"]), "the venue refuses a start after the end"
        inside = [f for f in world.funding if int(query["startTime"]) <= f[0] <= int(query["endTime"])]
        rows = [{"symbol": "BTCUSDT", "fundingTime": at, "fundingRate": r, "markPrice": "27000.5"} for at, r in inside]
        return world.page(rows, query, "limit", 1000)

    depth = {"lastUpdateId": 7, "bids": world.bids, "asks": world.asks}
    return {
        "/api/v3/time": lambda _: {"serverTime": world.now},
        "/fapi/v1/time": lambda _: {"serverTime": world.now},
        "/api/v3/exchangeInfo": lambda _: {"symbols": [common]},
        "/fapi/v1/exchangeInfo": lambda _: {"symbols": [common | contract]},
        "/sapi/v1/system/status": lambda _: {"status": 0, "msg": "normal"},
        "/api/v3/klines": klines,
        "/fapi/v1/klines": klines,
        "/api/v3/aggTrades": tape,
        "/fapi/v1/aggTrades": tape,
        "/api/v3/depth": lambda _: depth,
        "/fapi/v1/depth": lambda _: depth | {"E": world.now, "T": world.now},
        "/fapi/v1/fundingRate": funding,
        "/sapi/v1/asset/tradeFee": lambda _: [
            {"symbol": "BTCUSDT", "makerCommission": "0.001", "takerCommission": "0.0011"}
        ],
        "/fapi/v1/commissionRate": lambda _: {
            "symbol": "BTCUSDT",
            "makerCommissionRate": "0.0002",
            "takerCommissionRate": "0.0005",
        },
    }


def kraken(world: World) -> dict[str, Callable[[Query], Any]]:
    pair = {
        "altname": "XBTUSD", "wsname": "XBT/USD", "aclass_base": "currency", "base": "XXBT", "aclass_quote": "currency",
        "quote": "ZUSD", "lot": "unit", "cost_decimals": 5, "pair_decimals": 1, "lot_decimals": 8, "lot_multiplier": 1,
        "leverage_buy": [2, 3], "leverage_sell": [2, 3], "fees": [[0, 0.4], [50000, 0.35]],
        "fees_maker": [[0, 0.25], [50000, 0.2]], "fee_volume_currency": "ZUSD", "margin_call": 80, "margin_stop": 40,
        "ordermin": "0.00005", "costmin": "0.5", "tick_size": "0.1", "status": "online",
    }  # fmt: skip
    assets = {
        "XXBT": {"aclass": "currency", "altname": "XBT", "decimals": 10, "display_decimals": 5, "status": "enabled"},
        "ZUSD": {"aclass": "currency", "altname": "USD", "decimals": 4, "display_decimals": 2, "status": "enabled"},
    }

    def wrapped(result: Any) -> Any:
        return {"error": [], "result": result}

    def ohlc(query: Query) -> Any:
        assert query["interval"] == "60"
        newest = [b for b in world.bars if b[0] <= world.now][-720:]
        rows = [
            [b[0] // 1000, b[1], b[2], b[3], b[4], "27000.0", b[5], 12]
            for b in newest
            if b[0] // 1000 > int(query.get("since", 0))
        ]
        return wrapped({"XXBTZUSD": rows, "last": (newest[-2][0] if len(newest) > 1 else 0) // 1000})

    def tape(query: Query) -> Any:
        later = [t for t in world.trades if t[1] * 1000 > int(query["since"])]
        page = world.page(later, query, "count", 1000)
        rows = [[p, q, at / 1_000_000, "b" if s == "buy" else "s", "l", "", i] for i, at, p, q, s in page]
        return wrapped({"XXBTZUSD": rows, "last": str(page[-1][1] * 1000) if page else query["since"]})

    def volume(query: Query) -> Any:
        assert query["nonce"]
        fee = {"minfee": "0.10", "maxfee": "0.40", "nextfee": "0.35", "nextvolume": "50000", "tiervolume": "0"}
        sides = {"fees": {"XXBTZUSD": fee | {"fee": "0.4"}}, "fees_maker": {"XXBTZUSD": fee | {"fee": "0.25"}}}
        return wrapped({"currency": "ZUSD", "volume": "0.0", **sides})

    def depth(_: Query) -> Any:
        sides = {
            side: [[p, q, 1688671659] for p, q in rows] for side, rows in (("bids", world.bids), ("asks", world.asks))
        }
        return wrapped({"XXBTZUSD": sides})

    return {
        "/0/public/Time": lambda _: wrapped(
            {"unixtime": world.now // 1000, "rfc1123": "Wed, 21 Jun 23 00:00:00 +0000"}
        ),
        "/0/public/SystemStatus": lambda _: wrapped({"status": "online", "timestamp": "2023-06-21T00:00:00Z"}),
        "/0/public/Assets": lambda _: wrapped(assets),
        "/0/public/AssetPairs": lambda _: wrapped({"XXBTZUSD": pair}),
        "/0/public/OHLC": ohlc,
        "/0/public/Trades": tape,
        "/0/public/Depth": depth,
        "/0/private/TradeVolume": volume,
    }


def okx(world: World) -> dict[str, Callable[[Query], Any]]:
    spot = {
        "instId": "BTC-USDT", "instType": "SPOT", "baseCcy": "BTC", "quoteCcy": "USDT", "settleCcy": "", "ctVal": "",
        "ctMult": "", "ctType": "", "ctValCcy": "", "lever": "10", "lotSz": "0.00000001", "minSz": "0.00001",
        "tickSz": "0.1", "state": "live", "uly": "", "listTime": "1548133413000", "expTime": "",
    }  # fmt: skip
    swap = spot | {
        "instId": "BTC-USDT-SWAP", "instType": "SWAP", "baseCcy": "", "quoteCcy": "", "settleCcy": "USDT",
        "ctVal": "0.01", "ctMult": "1", "ctType": "linear", "ctValCcy": "BTC", "lotSz": "1", "minSz": "1",
        "uly": "BTC-USDT", "instFamily": "BTC-USDT",
    }  # fmt: skip

    def data(rows: Any) -> Any:
        return {"code": "0", "msg": "", "data": rows}

    def candles(query: Query) -> Any:
        assert query["bar"] == "1H"
        earlier = [b for b in world.bars if b[0] < int(query["after"]) and b[0] <= world.now]
        rows = [[str(b[0]), *b[1:5], str(float(b[5]) * 100), b[5], "36", "1"] for b in earlier]
        if not query["instId"].endswith("SWAP"):
            rows = [[*row[:5], row[6], *row[6:]] for row in rows]
        return data(world.newest(rows, query, "limit", 100))

    def tape(query: Query) -> Any:
        bound = int(query["after"])
        by_id = query["type"] == "1"
        earlier = [t for t in world.trades if (t[0] if by_id else t[1] // 1000) < bound]
        size = 100 if query["instId"].endswith("SWAP") else 1
        rows = [
            {"instId": query["instId"], "tradeId": str(i), "px": p, "sz": str(float(q) * size), "side": s,
             "source": "0", "ts": str(at // 1000)}
            for i, at, p, q, s in earlier
        ]  # fmt: skip
        return data(world.newest(rows, query, "limit", 100))

    def funding(query: Query) -> Any:
        earlier = [f for f in world.funding if f[0] < int(query["after"])]
        rows = [
            {"instType": "SWAP", "instId": "BTC-USDT-SWAP", "formulaType": "withRate", "fundingRate": "0.9",
             "realizedRate": r, "fundingTime": str(at), "method": "current_period"}
            for at, r in earlier
        ]  # fmt: skip
        return data(world.newest(rows, query, "limit", 100))

    def book(query: Query) -> Any:
        size = 100 if query["instId"].endswith("SWAP") else 1
        sides = {
            side: [[p, str(float(q) * size), "0", "2"] for p, q in rows]
            for side, rows in (("bids", world.bids), ("asks", world.asks))
        }
        return data([sides | {"ts": str(world.now), "seqId": 3}])

    fee = {
        "category": "1",
        "level": "Lv1",
        "maker": "-0.0008",
        "taker": "-0.001",
        "makerU": "",
        "takerU": "",
        "ts": "1",
    }
    return {
        "/api/v5/public/time": lambda _: data([{"ts": str(world.now)}]),
        "/api/v5/system/status": lambda _: data([{"state": "scheduled", "title": "Upgrade", "begin": "1", "end": "2"}]),
        "/api/v5/public/instruments": lambda query: data([spot if query["instType"] == "SPOT" else swap]),
        "/api/v5/market/history-candles": candles,
        "/api/v5/market/history-trades": tape,
        "/api/v5/market/books": book,
        "/api/v5/public/funding-rate-history": funding,
        "/api/v5/account/trade-fee": lambda query: data(
            [fee if query["instType"] == "SPOT" else fee | {"makerU": "0.0001", "takerU": "-0.0005"}]
        ),
    }


def bybit(world: World) -> dict[str, Callable[[Query], Any]]:
    spot = {
        "symbol": "BTCUSDT", "baseCoin": "BTC", "quoteCoin": "USDT", "innovation": "0", "status": "Trading",
        "marginTrading": "both", "priceFilter": {"tickSize": "0.01"},
        "lotSizeFilter": {"basePrecision": "0.000001", "quotePrecision": "0.00000001", "minOrderQty": "0.000048",
                          "maxOrderQty": "71.73956243", "minOrderAmt": "1", "maxOrderAmt": "2000000"},
    }  # fmt: skip
    linear = {
        "symbol": "BTCUSDT", "contractType": "LinearPerpetual", "status": "Trading", "baseCoin": "BTC",
        "quoteCoin": "USDT", "settleCoin": "USDT", "launchTime": "1585526400000", "deliveryTime": "0",
        "deliveryFeeRate": "", "priceScale": "2", "unifiedMarginTrade": True, "fundingInterval": 480,
        "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
        "priceFilter": {"minPrice": "0.10", "maxPrice": "1999999.80", "tickSize": "0.10"},
        "lotSizeFilter": {"maxOrderQty": "1190.000", "minOrderQty": "0.001", "qtyStep": "0.001",
                          "minNotionalValue": "5"},
    }  # fmt: skip

    def wrapped(result: Any) -> Any:
        return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": world.now}

    def instruments(query: Query) -> Any:
        listed = {"spot": [spot], "linear": [] if query.get("status") == "PreLaunch" else [linear]}
        return wrapped({"category": query["category"], "list": listed[query["category"]], "nextPageCursor": ""})

    def kline(query: Query) -> Any:
        assert query["interval"] == "60"
        inside = [b for b in world.bars if int(query["start"]) <= b[0] <= int(query["end"])]
        rows = world.newest([[str(b[0]), *b[1:], "36.5"] for b in inside], query, "limit", 1000)
        return wrapped({"category": query["category"], "symbol": query["symbol"], "list": rows})

    def tape(query: Query) -> Any:
        rows = [
            {"execId": str(i), "symbol": "BTCUSDT", "price": p, "size": q, "side": s.title(), "time": str(at // 1000),
             "isBlockTrade": False}
            for i, at, p, q, s in world.trades
        ]  # fmt: skip
        limit = 60 if query["category"] == "spot" else 1000
        return wrapped({"category": query["category"], "list": world.newest(rows, query, "limit", limit)})

    def funding(query: Query) -> Any:
        inside = [f for f in world.funding if int(query["startTime"]) <= f[0] <= int(query["endTime"])]
        rows = [{"symbol": "BTCUSDT", "fundingRate": r, "fundingRateTimestamp": str(at)} for at, r in inside]
        return wrapped({"category": "linear", "list": world.newest(rows, query, "limit", 200)})

    fee = {"symbol": "BTCUSDT", "makerFeeRate": "0.0002", "takerFeeRate": "0.00055"}
    book = {"s": "BTCUSDT", "b": world.bids, "a": world.asks, "ts": world.now, "u": 9, "seq": 7, "cts": world.now}
    return {
        "/v5/market/time": lambda _: wrapped({"timeSecond": str(world.now // 1000), "timeNano": f"{world.now}000000"}),
        "/v5/system/status": lambda _: wrapped({"list": []}),
        "/v5/market/instruments-info": instruments,
        "/v5/market/kline": kline,
        "/v5/market/recent-trade": tape,
        "/v5/market/orderbook": lambda _: wrapped(book),
        "/v5/market/funding/history": funding,
        "/v5/account/fee-rate": lambda _: wrapped({"list": [fee]}),
    }


def coinbase(world: World) -> dict[str, Callable[[Query], Any]]:
    product = {
        "product_id": "BTC-USD", "price": "27000", "base_increment": "0.00000001", "quote_increment": "0.01",
        "quote_min_size": "1", "quote_max_size": "150000000", "base_min_size": "0.00000001", "base_max_size": "3400",
        "base_name": "Bitcoin", "quote_name": "US Dollar", "is_disabled": False, "status": "online",
        "cancel_only": False, "trading_disabled": False, "product_type": "SPOT", "quote_currency_id": "USD",
        "base_currency_id": "BTC", "alias": "", "alias_to": [], "price_increment": "0.01", "display_name": "BTC-USD",
    }  # fmt: skip
    future = product | {
        "product_id": "BIT-26APR24-CDE", "product_type": "FUTURE", "base_currency_id": "",
        "future_product_details": {"venue": "cde", "contract_code": "BIT", "contract_expiry": "2024-04-26T15:00:00Z",
                                   "contract_size": "0.01", "contract_root_unit": "BTC",
                                   "contract_expiry_type": "EXPIRING"},
    }  # fmt: skip

    def candles(query: Query) -> Any:
        start, end = int(query["start"]), int(query["end"])
        assert (end - start) // 3600 < 350, "the venue refuses more than 350 bars"
        assert query["granularity"] == "ONE_HOUR"
        names = ("start", "open", "high", "low", "close", "volume")
        inside = [b for b in world.bars if start <= b[0] // 1000 <= end]
        rows = [dict(zip(names, (str(b[0] // 1000), *b[1:]), strict=True)) for b in inside]
        return {"candles": world.newest(rows, query, "limit", 350)}

    def tape(query: Query) -> Any:
        inside = [t for t in world.trades if int(query["start"]) <= t[1] / 1_000_000 <= int(query["end"])]
        rows = [
            {"trade_id": str(i), "product_id": "BTC-USD", "price": p, "size": q, "bid": "", "ask": "",
             "time": (START + timedelta(microseconds=at - T0 * 1000)).isoformat().replace("+00:00", "Z"),
             "side": "SELL" if s == "buy" else "BUY"}
            for i, at, p, q, s in inside
        ]  # fmt: skip
        return {"trades": world.newest(rows, query, "limit", 1000), "best_bid": "27000.0", "best_ask": "27000.5"}

    def book(_: Query) -> Any:
        sides = {
            side: [{"price": p, "size": q} for p, q in rows]
            for side, rows in (("bids", world.bids), ("asks", world.asks))
        }
        return {"pricebook": {"product_id": "BTC-USD", **sides, "time": "2023-06-21T00:00:00.123456Z"}}

    tier = {"pricing_tier": "Advanced 1", "usd_from": "0", "usd_to": "1000", "taker_fee_rate": "0.008",
            "maker_fee_rate": "0.006"}  # fmt: skip
    products = "/api/v3/brokerage/market/products"
    return {
        "/api/v3/brokerage/time": lambda _: {
            "iso": "2023-06-21T00:00:00Z",
            "epochSeconds": str(world.now // 1000),
            "epochMillis": str(world.now),
        },
        products: lambda query: {"products": [future if "product_type" in query else product], "num_products": 1},
        f"{products}/BTC-USD/candles": candles,
        f"{products}/BTC-USD/ticker": tape,
        "/api/v3/brokerage/market/product_book": book,
        "/api/v3/brokerage/transaction_summary": lambda _: {"total_fees": 0.08, "fee_tier": tier},
    }


ROUTES = {"binance": binance, "kraken": kraken, "okx": okx, "bybit": bybit, "coinbase": coinbase}
SPOT = {"kraken": "BTC/USD", "coinbase": "BTC/USD"}
PATHS = {
    "binance": {"candles": "/api/v3/klines", "trades": "/api/v3/aggTrades", "fees": "/sapi/v1/asset/tradeFee",
                "funding_rates": "/fapi/v1/fundingRate", "book": "/api/v3/depth", "clock": "/api/v3/time"},
    "kraken": {"candles": "/0/public/OHLC", "trades": "/0/public/Trades", "fees": "/0/private/TradeVolume",
               "book": "/0/public/Depth", "clock": "/0/public/Time"},
    "okx": {"candles": "/api/v5/market/history-candles", "trades": "/api/v5/market/history-trades",
            "fees": "/api/v5/account/trade-fee", "funding_rates": "/api/v5/public/funding-rate-history",
            "book": "/api/v5/market/books", "clock": "/api/v5/public/time"},
    "bybit": {"candles": "/v5/market/kline", "trades": "/v5/market/recent-trade", "fees": "/v5/account/fee-rate",
              "funding_rates": "/v5/market/funding/history", "book": "/v5/market/orderbook",
              "clock": "/v5/market/time"},
    "coinbase": {"candles": "/api/v3/brokerage/market/products/BTC-USD/candles",
                 "trades": "/api/v3/brokerage/market/products/BTC-USD/ticker",
                 "fees": "/api/v3/brokerage/transaction_summary", "book": "/api/v3/brokerage/market/product_book",
                 "clock": "/api/v3/brokerage/time"},
}  # fmt: skip


@dataclass
class Venue:
    """One venue under test: its truth, its peer, and clients of it."""

    name: str
    peer: Any
    world: World
    waits: list[float]

    @property
    def spot(self) -> str:
        return SPOT.get(self.name, "BTC/USDT")

    @property
    def linear(self) -> str | None:
        return None if self.name in SPOT else "BTC/USDT:USDT"

    @property
    def paths(self) -> dict[str, str]:
        return PATHS[self.name]

    @property
    def spec(self) -> VenueSpec:
        return VenueSpec(name=f"my_{self.name}", ccxt=self.name, rate_limit_ms=0.01)

    def rebuild(self) -> None:
        """Serve the world as it is now, where the peer had prepared an answer."""
        self.peer.routes = ROUTES[self.name](self.world)

    def client(self, *, signed: bool = False) -> VenueClient:
        given = Credentials(key=CANARY_KEY, secret=CANARY_SECRET, passphrase=CANARY_PASSPHRASE)
        credentials = given if signed else None
        return connect(self.spec, base_url=self.peer.base_url, credentials=credentials, sleep=self.waits.append)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(params=ROUTES)
def venue(request: pytest.FixtureRequest, peer: Any, world: World, waits: list[float]) -> Venue:
    peer.routes = ROUTES[request.param](world)
    return Venue(request.param, peer, world, waits)


@pytest.fixture
def routes() -> Mapping[str, Callable[[World], dict[str, Callable[[Query], Any]]]]:
    return ROUTES


@pytest.fixture
def new_world() -> type[World]:
    return World


@pytest.fixture
def paths() -> Mapping[str, Mapping[str, str]]:
    return PATHS
