"""The real ccxt client works against the sandbox, and sees what the market and the desk say."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from urllib.error import HTTPError
from urllib.request import urlopen

import ccxt
import numpy as np
import pytest

from research_to_prod.sandbox.desk import SandboxDesk
from research_to_prod.sandbox.instruments import BROKEN_BARS, INSTRUMENTS, BarDefect
from research_to_prod.sandbox.ledger import Holder
from research_to_prod.sandbox.server import SandboxServer

Days = Callable[[str], int]


def test_ccxt_loads_every_market_with_its_terms(exchange: ccxt.binance):
    assert sorted(exchange.markets) == sorted(INSTRUMENTS)
    for symbol, terms in INSTRUMENTS.items():
        market = exchange.markets[symbol]
        assert market["active"]
        assert market["swap"] is terms.perpetual
        assert Decimal(str(market["precision"]["price"])) == terms.tick
        assert Decimal(str(market["precision"]["amount"])) == terms.lot


@pytest.mark.parametrize("symbol", ["BTC/USDT", "ETH/USDT:USDT"])
def test_paged_bars_are_the_markets_bars(exchange: ccxt.binance, desk: SandboxDesk, day_of: Days, symbol: str):
    since, rows = day_of("2024-04-01"), []
    while True:
        page = exchange.fetch_ohlcv(symbol, "1h", since=since, limit=1000, params={"endTime": day_of("2024-07-01") - 1})
        rows += page
        if len(page) < 1000:
            break
        since = page[-1][0] + 1
    start, end = datetime(2024, 4, 1, tzinfo=UTC), datetime(2024, 7, 1, tzinfo=UTC)
    bars = desk.market.candles(symbol, start, end, timedelta(hours=1))
    assert [row[0] for row in rows] == (bars.ts // 1000).tolist()
    assert len(rows) == 91 * 24 - 1  # one hour of outage
    assert np.allclose([float(row[4]) for row in rows], bars.close, rtol=1e-12)


def test_a_page_is_full_although_an_outage_lies_in_it(exchange: ccxt.binance, day_of: Days):
    # Of DOGE's 31 missing hours in July 2023 no minute exists; a short page would look like the end of the history.
    page = exchange.fetch_ohlcv("DOGE/USDT", "1m", since=day_of("2023-07-02"), limit=1000)
    assert len(page) == 1000
    assert max(later[0] - earlier[0] for earlier, later in pairwise(page)) == 31 * 3_600_000 + 60_000


def test_the_newest_bars_come_without_a_start_and_end_with_the_running_one(exchange: ccxt.binance, day_of: Days):
    page = exchange.fetch_ohlcv("BTC/USDT", "1h", limit=30)
    assert len(page) == 30
    assert page[-1][0] >= day_of("2026-01-08")


def test_broken_bars_are_served_as_documented(server: SandboxServer, day_of: Days):
    url = f"{server.base_url}/api/v3/klines?symbol=DOGEUSDT&interval=1h&limit=3&startTime="
    for broken in BROKEN_BARS:
        at = int(broken.open_at.timestamp() * 1000)
        with urlopen(f"{url}{at}") as response:  # noqa: S310 - loopback
            rows = json.load(response)
        if broken.defect is BarDefect.HIGH_BELOW_CLOSE:
            assert float(rows[0][2]) < float(rows[0][4])
        elif broken.defect is BarDefect.NEGATIVE_VOLUME:
            assert float(rows[0][5]) < 0
        else:
            assert rows[0] == rows[1]
        assert float(rows[2][2]) >= float(rows[2][4])


def test_public_trades_book_tickers_and_funding_parse(exchange: ccxt.binance, desk: SandboxDesk, day_of: Days):
    trades = exchange.fetch_trades("BTC/USDT", since=day_of("2025-05-05"), limit=500)
    assert len(trades) == 500
    follow = exchange.fetch_trades("BTC/USDT", params={"fromId": int(trades[-1]["id"]) + 1}, limit=10)
    assert int(follow[0]["id"]) > int(trades[-1]["id"])
    assert follow[0]["timestamp"] >= trades[-1]["timestamp"]
    book = exchange.fetch_order_book("SOL/USDT:USDT", 10)
    assert len(book["bids"]) == len(book["asks"]) == 10
    assert float(book["bids"][0][0]) < float(book["asks"][0][0])
    ticker = exchange.fetch_ticker("ETH/USDT")
    assert float(ticker["bid"]) < float(ticker["ask"])
    assert len(exchange.fetch_bids_asks()) == 4
    rates = exchange.fetch_funding_rate_history("BTC/USDT:USDT", since=day_of("2025-01-01"), limit=1000)
    paid = desk.market.funding("BTC/USDT:USDT", datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 12, 1, tzinfo=UTC))
    assert [rate["timestamp"] for rate in rates] == (paid.ts[:1000] // 1000).tolist()
    assert np.allclose([float(rate["fundingRate"]) for rate in rates], paid.rate[:1000])
    assert exchange.fetch_funding_rate("BTC/USDT:USDT")["fundingTimestamp"] % (8 * 3_600_000) == 0
    assert exchange.fetch_status()["status"] == "ok"


@pytest.mark.parametrize("symbol", ["BTC/USDT", "ETH/USDT:USDT"])
def test_my_trades_by_id_and_by_day_are_the_desks_true_fills(
    exchange: ccxt.binance, desk: SandboxDesk, day_of: Days, symbol: str
):
    by_id: list[dict] = []
    while page := exchange.fetch_my_trades(
        symbol, params={"fromId": int(by_id[-1]["id"]) + 1 if by_id else 1, "limit": 40}
    ):
        by_id += page
    by_day = [
        trade
        for day in range(1, 9)
        for trade in exchange.fetch_my_trades(
            symbol,
            since=day_of(f"2026-01-{day:02d}"),
            limit=1000,
            params={"endTime": day_of(f"2026-01-{day:02d}") + 86_399_999},
        )
    ]
    now = datetime(2026, 1, 8, 1, 30, tzinfo=UTC)
    fills = [
        fill
        for day in range(1, 9)
        for fill in desk.simulate_day(f"2026-01-{day:02d}").fills
        if fill.symbol == symbol and fill.filled_at <= now
    ]
    assert len(fills) > 50
    ids = [fill.fill_id for fill in fills]
    assert [trade["id"] for trade in by_id] == ids
    assert [trade["id"] for trade in by_day] == ids
    for trade, fill in zip(by_id, fills, strict=True):
        assert Decimal(trade["price"]) == fill.price
        assert Decimal(trade["amount"]) == fill.quantity
        assert Decimal(trade["fee"]["cost"]) == fill.fee
        assert trade["fee"]["currency"] == fill.fee_currency
        assert trade["takerOrMaker"] == fill.liquidity
        assert trade["side"] == ("buy" if fill.side > 0 else "sell")
        assert trade["order"] == fill.venue_order_id


def test_balances_and_positions_are_the_sum_of_the_legs(exchange: ccxt.binance, desk: SandboxDesk):
    spot = exchange.fetch_balance()["total"]
    now = datetime(2026, 1, 8, 1, 30, tzinfo=UTC)
    legs = [leg for day in range(1, 9) for leg in desk.simulate_day(f"2026-01-{day:02d}").legs if leg.at <= now]

    def summed(holder: Holder, asset: str) -> Decimal:
        return sum((leg.amount for leg in legs if (leg.holder, leg.asset) == (holder, asset)), Decimal(0))

    for asset in ("USDT", "BTC", "DOGE"):
        assert Decimal(spot[asset]) == summed(Holder.SPOT, asset)
    futures = exchange.fetch_balance({"type": "swap"})["info"]
    assert Decimal(futures["totalWalletBalance"]) == summed(Holder.FUTURES, "USDT")
    positions = {position["symbol"]: position for position in exchange.fetch_positions()}
    assert positions
    for symbol, position in positions.items():
        signed = Decimal(position["contracts"]) * (1 if position["side"] == "long" else -1)
        assert signed == summed(Holder.CONTRACTS, symbol)


def test_income_adds_up_to_the_futures_wallet(exchange: ccxt.binance, day_of: Days):
    rows: list[dict] = []
    for day in range(1, 9):
        # Several rows share a millisecond: a cursor by time would lose some at the end of a page.
        window = {"startTime": day_of(f"2026-01-{day:02d}"), "endTime": day_of(f"2026-01-{day:02d}") + 86_399_999}
        page = exchange.fapiPrivateGetIncome({**window, "limit": 1000})
        assert len(page) < 1000
        rows += page
    wallet = Decimal(exchange.fapiPrivateV3GetAccount()["totalWalletBalance"])
    assert sum((Decimal(row["income"]) for row in rows), Decimal(0)) == wallet
    kinds = {row["incomeType"] for row in rows}
    assert kinds == {"TRANSFER", "REALIZED_PNL", "COMMISSION", "FUNDING_FEE"}
    assert len({row["tranId"] for row in rows}) == len(rows)


def test_orders_hold_their_fills(exchange: ccxt.binance, day_of: Days):
    for symbol in ("BTC/USDT", "ETH/USDT:USDT"):
        window = {"endTime": day_of("2026-01-06") - 1}
        orders = exchange.fetch_orders(symbol, since=day_of("2026-01-05"), limit=1000, params=window)
        trades = exchange.fetch_my_trades(symbol, since=day_of("2026-01-05"), limit=1000, params=window)
        assert len(orders) > 5
        for order in orders:
            filled = sum((Decimal(each["amount"]) for each in trades if each["order"] == order["id"]), Decimal(0))
            assert filled == Decimal(order["filled"])
            assert order["status"] == ("closed" if Decimal(order["remaining"]) == 0 else "canceled")
    assert exchange.fetch_open_orders("BTC/USDT") == []


def test_an_order_is_open_until_its_last_execution_or_cancel(
    desk: SandboxDesk, connect: Callable[..., ccxt.binance], day_of: Days
):
    child = next(
        each for each in desk.simulate_day("2026-01-04").children if each.kind == "LIMIT" and each.status == "CANCELED"
    )
    clock = [child.created_at]
    with SandboxServer(7, lambda: clock[0], desk=desk) as server:
        client = connect(server.base_url)
        client.milliseconds = lambda: int(clock[0].timestamp() * 1000)
        client.load_markets()
        seen = []
        for clock[0] in (child.created_at - timedelta(seconds=1), child.created_at, child.updated_at):
            since = {"since": day_of("2026-01-04"), "limit": 1000}
            orders = {each["id"]: each["status"] for each in client.fetch_orders(child.symbol, **since)}
            working = {each["id"] for each in client.fetch_open_orders(child.symbol)}
            seen.append((orders.get(child.venue_order_id), child.venue_order_id in working))
        assert seen == [(None, False), ("open", True), ("canceled", False)]


def test_the_liquidation_price_is_where_the_wallet_just_covers_the_maintenance(
    desk: SandboxDesk, connect: Callable[..., ccxt.binance]
):
    # One position is short, the other a long one that the wallet covers down to nothing.
    now = datetime(2026, 1, 11, 1, 30, tzinfo=UTC)
    with SandboxServer(7, lambda: now, desk=desk) as server:
        client = connect(server.base_url)
        client.milliseconds = lambda: int(now.timestamp() * 1000)
        account = client.fapiPrivateV3GetAccount()
        rows = client.fapiPrivateV3GetPositionRisk()
        assert sorted(Decimal(row["positionAmt"]) > 0 for row in rows) == [False, True]
        for row in rows:
            held, price = Decimal(row["positionAmt"]), Decimal(row["liquidationPrice"])
            if held > 0:
                assert price == 0
                continue
            assert held < 0 < price
            wallet = Decimal(account["totalWalletBalance"])
            for other in rows:
                at = price if other is row else Decimal(other["markPrice"])
                size = Decimal(other["positionAmt"])
                wallet += size * (at - Decimal(other["entryPrice"])) - abs(size) * at * Decimal("0.004")
            assert abs(wallet) < Decimal("0.001")


def test_wrong_keys_signatures_clocks_and_symbols_are_refused(
    server: SandboxServer, connect: Callable[..., ccxt.binance], exchange: ccxt.binance, day_of: Days
):
    forged = connect(server.base_url, secret="wrong")  # noqa: S106 - wrong on purpose
    forged.options["timeDifference"] = exchange.options["timeDifference"]
    with pytest.raises(ccxt.AuthenticationError, match="-1022"):
        forged.privateGetAccount()
    with pytest.raises(ccxt.AuthenticationError, match="-2015"):
        connect(server.base_url, apiKey="wrong").privateGetAccount()
    with pytest.raises(ccxt.InvalidNonce, match="-1021"):
        connect(server.base_url).privateGetAccount()
    with pytest.raises(ccxt.BadSymbol, match="-1121"):
        exchange.publicGetKlines({"symbol": "XRPUSDT", "interval": "1h"})
    with pytest.raises(ccxt.BadRequest, match="-1100"):
        exchange.publicGetKlines({"symbol": "BTCUSDT", "interval": "1h", "startTime": "soon"})
    window = {"startTime": day_of("2026-01-01"), "endTime": day_of("2026-01-04")}
    with pytest.raises(ccxt.BadRequest, match="-1127"):
        exchange.privateGetMyTrades({"symbol": "BTCUSDT", **window})
    with pytest.raises(ccxt.ExchangeError, match="takes resting orders"):
        exchange.create_order("BTC/USDT", "market", "buy", 1)
    with pytest.raises(HTTPError, match="404"):
        urlopen(f"{server.base_url}/api/v3/margin")  # noqa: S310 - loopback


def test_nothing_after_the_venues_clock_is_told(desk: SandboxDesk, connect: Callable[..., ccxt.binance], day_of: Days):
    now = datetime(2026, 1, 3, 12, 30, tzinfo=UTC)
    with SandboxServer(7, lambda: now, desk=desk) as server:
        early = connect(server.base_url)
        early.load_markets()
        bars = early.fetch_ohlcv("BTC/USDT", "1h", since=day_of("2026-01-03"))
        assert len(bars) == 13
        assert early.fetch_trades("BTC/USDT", limit=5)[-1]["timestamp"] <= now.timestamp() * 1000
        early.options["timeDifference"] = int((datetime.now(UTC) - now).total_seconds() * 1000)
        trades = early.fetch_my_trades("ETH/USDT:USDT", params={"fromId": 1, "limit": 1000})
        assert max(trade["timestamp"] for trade in trades) <= now.timestamp() * 1000


@pytest.mark.slow
def test_a_page_of_a_thousand_bars_is_served_quickly(exchange: ccxt.binance, day_of: Days):
    exchange.fetch_ohlcv("BTC/USDT", "1h", since=day_of("2025-01-01"), limit=1000)
    started = time.perf_counter()
    for _ in range(20):
        exchange.fetch_ohlcv("BTC/USDT", "1h", since=day_of("2025-01-01"), limit=1000)
    assert (time.perf_counter() - started) / 20 < 0.5
