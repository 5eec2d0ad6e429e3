"""What each venue's client returns and proves, through the real ccxt class, against a peer in the venue's dialect."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow.compute as pc
import pytest

from research_to_prod.market_data.contracts import BOOK, FUNDING_RATES, RAW_CANDLES, TRADES
from research_to_prod.market_data.instruments import TradingFee, VenueStatus
from research_to_prod.market_data.venue import VenueRejected, VenueShape, VenueUnknown, VenueUnsupported
from research_to_prod.values import sha256_hex

HOUR = 3_600_000
START = datetime(2023, 6, 1, tzinfo=UTC)
T0 = int(START.timestamp() * 1000)
NOW = START + timedelta(days=20)
SERVES_FUNDING = ("binance", "okx", "bybit")


def among(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("venue", names, indirect=True)


def at(hour: float) -> datetime:
    return START + timedelta(hours=hour)


def opens(fetched: Any) -> list[int]:
    return sorted(int((ts - START) / timedelta(hours=1)) for ts in fetched.rows["ts"].to_pylist())


def tape(count: int, *, step_us: int = 3_000_000, together: int = 7, first: int = 1000) -> list[Any]:
    """Trades in groups that share one time: a cursor by time loses some at each page's edge."""
    return [
        (first + i, (T0 * 1000) + (i // together) * step_us, f"{27000 + i % 50}.5", "0.25", "buy" if i % 3 else "sell")
        for i in range(count)
    ]


# Bars


def test_bars_are_the_venues_own(venue: Any) -> None:
    fetched = venue.client().candles(venue.spot, "1h", START, at(24))
    rows = RAW_CANDLES.conform(fetched.rows, "2023-06").sort_by("ts").to_pylist()
    assert opens(fetched) == list(range(24))
    first = {name: rows[0][name] for name in ("venue", "symbol", "open", "high", "low", "close", "volume")}
    assert first == {
        "venue": f"my_{venue.name}", "symbol": venue.spot, "open": 27000.0, "high": 27002.0, "low": 26998.0,
        "close": 27001.5, "volume": 1.25,
    }  # fmt: skip


def test_a_certificate_tells_interval_pages_hashes_end_and_the_venues_clock(venue: Any) -> None:
    proof = venue.client().candles(venue.spot, "1h", START, at(24)).certificate
    assert (proof.venue, proof.scope, proof.complete) == (f"my_{venue.name}", f"{venue.spot} 1h", True)
    assert (proof.interval_start, proof.interval_end, proof.rows) == (START, at(24), 24)
    assert proof.terminal in {"end_reached", "empty_page"}
    assert proof.venue_clock_before == proof.venue_clock_after == NOW
    assert len(proof.page_sha256) == proof.pages >= 1
    assert proof.body_sha256 == sha256_hex("".join(proof.page_sha256).encode())


def test_short_pages_of_bars_lose_nothing(venue: Any) -> None:
    # Kraken has one page only; the others page as often as it takes.
    venue.world.cap = 7
    fetched = venue.client().candles(venue.spot, "1h", START, at(100))
    assert opens(fetched) == list(range(100))
    assert fetched.certificate.pages >= (1 if venue.name == "kraken" else 15)


def test_missing_bars_in_the_middle_are_certified_absence(venue: Any) -> None:
    gone = set(range(30, 50))
    venue.world.bars = [b for b in venue.world.bars if (b[0] - T0) // HOUR not in gone]
    venue.world.cap = 10
    fetched = venue.client().candles(venue.spot, "1h", START, at(100))
    assert opens(fetched) == [hour for hour in range(100) if hour not in gone]
    assert fetched.certificate.complete


@among("binance", "okx", "bybit", "coinbase")
def test_a_market_that_began_in_the_interval_is_read_from_its_first_bar(venue: Any) -> None:
    venue.world.bars = [b for b in venue.world.bars if b[0] >= T0 + 10 * HOUR]
    fetched = venue.client().candles(venue.spot, "1h", START, at(24))
    assert opens(fetched) == list(range(10, 24))
    # Forward the last bar proves the end; backward the first bars are proven absent by an empty page.
    assert fetched.certificate.terminal == ("end_reached" if venue.name == "binance" else "empty_page")
    assert fetched.certificate.complete


def test_a_bar_still_open_by_the_venues_clock_is_not_fetched(venue: Any) -> None:
    venue.world.now = T0 + 10 * HOUR + HOUR // 2
    fetched = venue.client().candles(venue.spot, "1h", START, at(24))
    assert opens(fetched) == list(range(10))
    assert fetched.certificate.interval_end == at(10)


def test_an_interval_in_the_future_is_empty_and_asks_for_nothing(venue: Any) -> None:
    fetched = venue.client().candles(venue.spot, "1h", NOW + timedelta(days=3), NOW + timedelta(days=4))
    assert (fetched.rows.num_rows, fetched.certificate.terminal) == (0, "empty_interval")
    assert venue.peer.asked(venue.paths["candles"]) == []


def test_a_timeframe_that_the_venue_does_not_serve_is_refused_before_any_request(venue: Any) -> None:
    with pytest.raises(VenueUnsupported, match=r"no bars of '7m', only of 1m.*universe\.yaml"):
        venue.client().candles(venue.spot, "7m", START, at(24))
    assert venue.peer.requests == []


@among(*SERVES_FUNDING)
def test_linear_bars_count_base_units(venue: Any) -> None:
    fetched = venue.client().candles(venue.linear, "1h", START, at(3))
    assert sorted(fetched.rows["volume"].to_pylist()) == [1.25, 2.25, 3.25]


@among("kraken")
def test_krakens_history_ends_after_720_bars_and_what_lies_before_is_unknown(venue: Any) -> None:
    venue.world.now = T0 + 800 * HOUR
    venue.world.bars = [(T0 + i * HOUR, "1", "2", "1", "1", "1") for i in range(-50, 802)]
    client = venue.client()
    with pytest.raises(VenueUnknown, match=r"do not reach back to 2023-06-01.*unknown, not absent.*source: files"):
        client.candles(venue.spot, "1h", START, at(200))
    # 720 bars up to the running one begin at hour 81; the bar on the start itself proves that the start was reached.
    assert opens(client.candles(venue.spot, "1h", at(81), at(90))) == list(range(81, 90))
    with pytest.raises(VenueUnknown, match="oldest in the interval is 2023-06-04T09:00Z"):
        client.candles(venue.spot, "1h", at(80), at(90))


@among("binance", "okx", "bybit", "coinbase")
def test_a_cursor_that_the_venue_ignores_is_caught(venue: Any) -> None:
    path, venue.world.cap = venue.paths["candles"], 10
    frozen = venue.peer.routes[path]
    answers: list[Any] = []

    def stuck(query: Any) -> Any:
        answers.append(frozen(query))
        return answers[0]

    venue.peer.routes[path] = stuck
    with pytest.raises(VenueUnknown, match="cursor does not hold"):
        venue.client().candles(venue.spot, "1h", START, at(100))


# The public tape


@pytest.mark.parametrize("cap", [None, 90])
@among("binance", "kraken", "okx", "coinbase")
def test_trades_that_share_their_time_across_pages_are_each_returned_once(venue: Any, cap: int | None) -> None:
    # At least one trade before and one after the interval, which must not be returned.
    before, after = (1, (T0 - HOUR) * 1000, "1", "1", "buy"), (99_999, (T0 + 48 * HOUR) * 1000, "1", "1", "sell")
    rows = tape(1300)
    venue.world.trades, venue.world.cap = [before, *rows, after], cap
    fetched = venue.client().trades(venue.spot, START, at(24))
    got = TRADES.conform(fetched.rows, "2023-06-01").to_pylist()
    assert sorted(int(row["trade_id"]) for row in got) == [row[0] for row in rows]
    assert (fetched.certificate.rows, fetched.certificate.complete) == (1300, True)
    assert fetched.certificate.scope == venue.spot
    by_id = {row["trade_id"]: row for row in got}
    for number, micros, price, amount, side in rows[:20]:
        row = by_id[str(number)]
        assert row["ts"] == START + timedelta(microseconds=micros - T0 * 1000)
        assert (row["price"], row["amount"], row["side"]) == (float(price), float(amount), 1 if side == "buy" else -1)


@among("binance", "kraken", "okx", "coinbase")
def test_a_quiet_interval_is_certified_absence(venue: Any) -> None:
    venue.world.trades = [(1, (T0 - HOUR) * 1000, "1", "1", "buy")]
    fetched = venue.client().trades(venue.spot, START, at(6))
    assert (fetched.rows.num_rows, fetched.certificate.complete) == (0, True)


def test_a_trade_sent_twice_alike_is_one_trade(venue: Any) -> None:
    rows = tape(30)
    venue.world.trades = [(1, (T0 - HOUR) * 1000, "1", "1", "buy"), *rows, *rows[-3:]]
    fetched = venue.client().trades(venue.spot, START, at(24))
    assert fetched.rows.num_rows == 30
    assert fetched.certificate.complete


def test_a_trade_sent_with_two_contents_is_an_error(venue: Any) -> None:
    rows = tape(30)
    number, micros, _, amount, side = rows[-1]
    venue.world.trades = [*rows, (number, micros, "1", amount, side)]
    with pytest.raises(VenueUnknown, match="two different contents"):
        venue.client().trades(venue.spot, START, at(24))


@among("bybit")
def test_bybits_tape_is_complete_only_when_it_reaches_back(venue: Any) -> None:
    venue.world.trades = tape(100)
    fetched = venue.client().trades(venue.spot, START, at(24))
    # Sixty of a hundred: the rows are real, the certificate claims nothing.
    assert fetched.rows.num_rows == 60
    assert (fetched.certificate.complete, fetched.certificate.terminal) == (False, "history_cut")
    late = START + timedelta(seconds=3 * 10)
    fetched = venue.client().trades(venue.spot, late, at(24))
    assert fetched.certificate.complete
    assert fetched.rows.num_rows == 100 - 7 * 10
    assert pc.min(fetched.rows["ts"]).as_py() == late


@among("okx")
def test_okx_forgets_trades_after_three_months_and_the_certificate_says_so(venue: Any) -> None:
    venue.world.trades = tape(50)
    venue.world.now = T0 + 100 * 24 * HOUR
    fetched = venue.client().trades(venue.spot, START, at(24))
    assert fetched.rows.num_rows == 50
    assert (fetched.certificate.complete, fetched.certificate.terminal) == (False, "history_cut")
    venue.world.trades = [(1, (T0 - 1) * 1000, "1", "1", "buy"), *venue.world.trades]
    assert venue.client().trades(venue.spot, START, at(24)).certificate.complete


@among("kraken", "coinbase")
def test_more_trades_in_one_step_of_the_cursor_than_a_page_holds_are_an_error(venue: Any) -> None:
    venue.world.trades = tape(1200, step_us=0)
    with pytest.raises(VenueUnknown, match="share one step of the venue's cursor"):
        venue.client().trades(venue.spot, START, at(24))


@among("binance", "kraken", "okx", "coinbase")
def test_a_tape_that_ignores_its_cursor_is_caught(venue: Any) -> None:
    venue.world.trades, venue.world.cap = tape(400), 90
    path = venue.paths["trades"]
    first, answers = venue.peer.routes[path], []

    def stuck(query: Any) -> Any:
        answers.append(first(query))
        return answers[0]

    venue.peer.routes[path] = stuck
    with pytest.raises(VenueUnknown, match="cursor"):
        venue.client().trades(venue.spot, START, at(24))


@among(*SERVES_FUNDING)
def test_linear_trades_count_base_units(venue: Any) -> None:
    venue.world.trades = [(1, (T0 - 1) * 1000, "1", "1", "buy"), *tape(5)]
    assert venue.client().trades(venue.linear, START, at(24)).rows["amount"].to_pylist() == [0.25] * 5


# Funding


@among(*SERVES_FUNDING)
def test_funding_is_the_venues_own(venue: Any) -> None:
    venue.world.cap = 4
    fetched = venue.client().funding_rates(venue.linear, START, at(24 * 10))
    rows = FUNDING_RATES.conform(fetched.rows, "2023-06").to_pylist()
    assert [row["rate"] for row in rows] == [float(f"0.000{each % 9}1") for each in range(30)]
    assert {row["mark_price"] for row in rows} == ({27000.5} if venue.name == "binance" else {None})
    assert (fetched.certificate.complete, fetched.certificate.scope) == (True, venue.linear)


@among(*SERVES_FUNDING)
def test_a_payment_in_the_last_millisecond_is_inside_and_one_on_the_end_is_not(venue: Any) -> None:
    end = T0 + 24 * HOUR
    venue.world.funding = [(T0 - 8 * HOUR, "0.1"), (T0, "0.2"), (end - 1, "0.3"), (end, "0.4")]
    fetched = venue.client().funding_rates(venue.linear, START, at(24))
    assert sorted(fetched.rows["rate"].to_pylist()) == [0.2, 0.3]
    assert fetched.certificate.complete


@among("kraken", "coinbase")
def test_a_venue_without_funding_says_what_to_do_before_any_request(venue: Any) -> None:
    with pytest.raises(
        VenueUnsupported, match=rf"my_{venue.name} \({venue.name}\) gives no funding_rates: ccxt has no"
    ):
        venue.client().funding_rates(venue.spot, START, at(24))
    assert venue.peer.requests == []


@among("okx")
def test_okx_forgets_funding_after_three_months_and_refuses_to_call_it_absent(venue: Any) -> None:
    venue.world.now = T0 + 100 * 24 * HOUR
    venue.world.funding = [f for f in venue.world.funding if f[0] > T0 + 5 * 24 * HOUR]
    with pytest.raises(VenueUnknown, match="keeps three months"):
        venue.client().funding_rates(venue.linear, START, at(24 * 10))


@among(*SERVES_FUNDING)
def test_a_spot_market_has_no_funding(venue: Any) -> None:
    with pytest.raises(VenueRejected, match="no linear perpetual"):
        venue.client().funding_rates(venue.spot, START, at(24))


# Snapshots and terms


def test_a_book_is_ordered_stamped_and_in_base_units(venue: Any) -> None:
    for symbol in filter(None, (venue.spot, venue.linear)):
        book = venue.client().book(symbol)
        rows = BOOK.conform(book, "2023-06-21").to_pylist()
        assert [(row["side"], row["level"], row["price"], row["size"]) for row in rows] == [
            ("ask", 0, 27000.5, 0.5),
            ("ask", 1, 27001.0, 4.0),
            ("bid", 0, 27000.0, 1.5),
            ("bid", 1, 26999.5, 2.0),
        ]
        assert {row["ts"] for row in rows} == {NOW + timedelta(microseconds=123456 if venue.name == "coinbase" else 0)}
    assert venue.client().book(venue.spot, depth=1).num_rows == 2


def test_a_book_out_of_order_is_an_error(venue: Any) -> None:
    ordered = venue.world.bids
    venue.world.bids = ordered[::-1]
    venue.rebuild()
    with pytest.raises(VenueShape, match="not ordered from the best price on"):
        venue.client().book(venue.spot)


def test_the_clock_is_the_venues(venue: Any) -> None:
    assert venue.client().clock() == NOW
    assert venue.client().clock(venue.spot) == NOW


def test_the_status_is_the_venues_word_or_refused(venue: Any) -> None:
    if venue.name == "coinbase":
        with pytest.raises(VenueUnsupported, match="gives no status: ccxt has no fetchStatus"):
            venue.client().status()
        return
    assert venue.client().status() is VenueStatus.ONLINE


MAINTENANCE = {
    "binance": ("/sapi/v1/system/status", {"status": 1, "msg": "system_maintenance"}),
    "kraken": ("/0/public/SystemStatus", {"error": [], "result": {"status": "maintenance", "timestamp": "x"}}),
    "okx": ("/api/v5/system/status", {"code": "0", "data": [{"state": "ongoing"}], "msg": ""}),
    "bybit": ("/v5/system/status", {"retCode": 0, "retMsg": "", "result": {"list": [{"state": "ongoing"}]}}),
}


@among(*MAINTENANCE)
def test_maintenance_is_seen(venue: Any) -> None:
    path, body = MAINTENANCE[venue.name]
    venue.peer.routes[path] = lambda _: body
    assert venue.client().status() is VenueStatus.MAINTENANCE


@among("binance", "kraken")
def test_a_status_that_nobody_knows_is_an_error(venue: Any) -> None:
    path, body = MAINTENANCE[venue.name]
    odd = body | {"status": 7} if venue.name == "binance" else {"error": [], "result": {"status": "party"}}
    venue.peer.routes[path] = lambda _: odd
    with pytest.raises(VenueShape, match="status"):
        venue.client().status()


TERMS = {
    "binance": ("0.01", "0.00001", "5", "0.001", "0.001"),
    "kraken": ("0.1", "0.00000001", "0.5", "0.0025", "0.004"),
    "okx": ("0.1", "0.00000001", None, "0.0010", "0.0015"),
    "bybit": ("0.01", "0.000001", "1", "0.001", "0.001"),
    "coinbase": ("0.01", "0.00000001", "1", "0.006", "0.012"),
}


def test_instruments_have_their_terms_as_decimal_text(venue: Any) -> None:
    listed = {each.symbol: each for each in venue.client().instruments()}
    spot = listed[venue.spot]
    tick, lot, least, maker, taker = TERMS[venue.name]
    assert (spot.tick, spot.lot) == (tick, lot)
    assert spot.min_notional is least or float(spot.min_notional) == float(least)
    assert (spot.maker, spot.taker) == (maker, taker)
    assert (spot.contract_size, spot.linear, spot.inverse, spot.active) == (None, False, False, True)
    if venue.linear is not None:
        contract = listed[venue.linear]
        assert (contract.contract_size, contract.linear) == ("0.01" if venue.name == "okx" else "1", True)


FEES = {
    "binance": (("0.001", "0.0011"), ("0.0002", "0.0005")),
    "kraken": (("0.0025", "0.004"), None),
    "okx": (("0.0008", "0.001"), ("-0.0001", "0.0005")),
    "bybit": (("0.0002", "0.00055"), ("0.0002", "0.00055")),
    "coinbase": (("0.006", "0.008"), None),
}


def test_fees_are_the_accounts_and_signed_for(venue: Any) -> None:
    client = venue.client(signed=True)
    for symbol, expected in zip((venue.spot, venue.linear), FEES[venue.name], strict=True):
        if symbol is not None and expected is not None:
            assert client.fees(symbol) == TradingFee(symbol, *expected)


def test_fees_without_a_key_are_refused_before_any_request(venue: Any) -> None:
    with pytest.raises(VenueUnsupported, match="needs an API key; name its environment variables"):
        venue.client().fees(venue.spot)
    assert venue.peer.requests == []


@among("okx", "bybit", "coinbase", "kraken")
def test_rows_of_another_market_are_an_error(venue: Any) -> None:
    other = venue.peer.routes[venue.paths["trades"]]
    names = {"okx": "instId", "bybit": "symbol", "coinbase": "product_id"}
    venue.world.trades = tape(5)

    def foreign(query: Any) -> Any:
        body = other(query)
        if venue.name == "kraken":
            body["result"]["XETHZUSD"] = body["result"].pop("XXBTZUSD")
            return body
        rows = body["trades"] if venue.name == "coinbase" else body.get("data") or body["result"]["list"]
        for row in rows:
            row[names[venue.name]] = "ETH-EUR"
        return body

    venue.peer.routes[venue.paths["trades"]] = foreign
    with pytest.raises(VenueShape, match=r"got rows of (XETHZUSD|ETH-EUR)"):
        venue.client().trades(venue.spot, START, at(24))


@among("coinbase")
def test_coinbases_futures_are_listed_but_not_read(venue: Any) -> None:
    client = venue.client()
    (future,) = [each.symbol for each in client.instruments() if each.linear]
    with pytest.raises(VenueUnsupported, match="is not spot"):
        client.candles(future, "1h", START, at(24))


@among("coinbase")
def test_a_hidden_failure_of_a_part_of_the_market_list_is_no_success(venue: Any) -> None:
    path = "/api/v3/brokerage/market/products"
    whole = venue.peer.routes[path]
    venue.peer.routes[path] = lambda query: {} if "product_type" in query else whole(query)
    # ccxt swallows whatever the request for futures raises and lists the rest.
    with pytest.raises(VenueShape, match="products"):
        venue.client().instruments()
