"""A day of public trades: by id, to a proven end, once each; from files with everything that files lack."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from research_to_prod.market_data.contracts import TRADES
from research_to_prod.market_data.ingest import IngestError, Sources, fetch_trades
from research_to_prod.market_data.universe import MarketSpec
from research_to_prod.market_data.venue import PAGE_LIMIT, VenueUnknown

START = datetime(2023, 6, 1, tzinfo=UTC)
T0 = int(START.timestamp() * 1000)
DAY = 86_400_000
PATH = "/api/v3/aggTrades"


def trade(number: int, at: int, price: str = "10") -> dict[str, Any]:
    return {"a": number, "p": price, "q": "1.5", "f": number, "l": number, "T": at, "m": number % 2 == 0, "M": True}


def serve(peer: Any, rows: list[dict[str, Any]]) -> None:
    def answer(query: dict[str, str]) -> list[dict[str, Any]]:
        assert not ({"fromId", "startTime"} <= query.keys())
        by_id, by_time = int(query.get("fromId", -1)), int(query.get("startTime", 0))
        return [row for row in rows if row["a"] >= by_id and row["T"] >= by_time][: int(query["limit"])]

    peer.routes[PATH] = answer


def test_a_day_is_read_by_id_so_that_a_crowded_millisecond_loses_nothing(peer: Any, client: Any) -> None:
    crowd = [trade(number, T0 + 5) for number in range(10, 10 + PAGE_LIMIT + 50)]
    serve(peer, [trade(9, T0 - 1), *crowd, trade(5000, T0 + DAY - 1), trade(5001, T0 + DAY)])
    fetched = client.trades("BTC/USDT", START, START + timedelta(days=1))
    rows = TRADES.conform(fetched.rows, "2023-06-01")
    assert rows["trade_id"].to_pylist() == [*(str(row["a"]) for row in crowd), "5000"]
    assert rows["side"].to_pylist()[:2] == [-1, 1]
    assert fetched.certificate.terminal == "end_reached"
    assert fetched.certificate.rows == rows.num_rows == PAGE_LIMIT + 51
    assert [sorted(query) for query in peer.asked(PATH)] == [
        ["limit", "startTime", "symbol"],
        ["fromId", "limit", "symbol"],
    ]


def test_the_end_is_proven_by_an_empty_page(peer: Any, client: Any) -> None:
    serve(peer, [trade(1, T0)])
    certificate = client.trades("BTC/USDT", START, START + timedelta(days=1)).certificate
    assert (certificate.terminal, certificate.pages, certificate.rows) == ("empty_page", 2, 1)


def test_one_trade_sent_twice_alike_is_one_row_and_sent_twice_differently_is_an_error(peer: Any, client: Any) -> None:
    peer.serve_once(PATH, [trade(1, T0), trade(1, T0)])
    assert client.trades("BTC/USDT", START, START + timedelta(days=1)).rows.num_rows == 1
    peer.serve_once(PATH, [trade(1, T0), trade(1, T0, price="11")])
    with pytest.raises(VenueUnknown, match="two contents"):
        client.trades("BTC/USDT", START, START + timedelta(days=1))


def test_a_venue_that_ignores_the_cursor_is_an_error(peer: Any, client: Any) -> None:
    peer.routes[PATH] = lambda _: [trade(1, T0)]
    with pytest.raises(VenueUnknown, match="trade 1 lies before"):
        client.trades("BTC/USDT", START, START + timedelta(days=1))


HEADER = "venue,symbol,trade_id,ts,price,amount,side"


def from_file(folder: Path, *lines: str, header: str = HEADER) -> Any:
    (folder / "t.csv").write_text("\n".join([header, *lines]))
    spec = MarketSpec(
        venue="v",
        symbol="A/B",
        timeframe="1h",
        since="2023-01-01",
        source={"files": "none.csv"},
        trades={"files": "t.csv"},
    )
    return fetch_trades([spec], "2023-06-01", Sources(folder=folder), START + timedelta(days=2))


def test_identified_trades_are_kept_once_and_anonymous_ones_all(tmp_path: Path) -> None:
    line = f"v,A/B,{{}},{T0},10,1,buy"
    month = from_file(tmp_path, line.format("7"), line.format("7"), line.format(""), line.format(""))
    rows = TRADES.conform(month.rows, "2023-06-01")
    assert rows["trade_id"].to_pylist().count("7") == 1
    assert rows["trade_id"].null_count == 2
    assert rows.num_rows == 3


def test_one_id_with_two_contents_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match="1 trade ids have two contents: 7; remove"):
        from_file(tmp_path, f"v,A/B,7,{T0},10,1,buy", f"v,A/B,7,{T0},11,1,buy")


def test_a_file_may_lack_ids_and_sides_and_says_buy_sell_or_anything(tmp_path: Path) -> None:
    bare = from_file(tmp_path, f"v,A/B,{T0},10,1", header="venue,symbol,ts,price,amount")
    assert bare.rows.select(["trade_id", "side"]).to_pylist() == [{"trade_id": None, "side": None}]
    sides = from_file(tmp_path, *(f"v,A/B,{n},{T0 + n},10,1,{side}" for n, side in enumerate(["buy", "sell", "any"])))
    assert sides.rows["side"].to_pylist() == [1, -1, None]


def test_nobody_asks_for_trades(tmp_path: Path) -> None:
    spec = MarketSpec(venue="v", symbol="A/B", timeframe="1h", since="2023-01-01", source={"files": "none.csv"})
    month = fetch_trades([spec], "2023-06-01", Sources(folder=tmp_path), START)
    assert (month.rows.num_rows, month.certificates, month.failures) == (0, (), ())
