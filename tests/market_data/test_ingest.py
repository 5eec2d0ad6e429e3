"""A month assembled from its sources: topped up, certified, and whole or not at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from research_to_prod.market_data.certificates import certificates_from, certificates_table
from research_to_prod.market_data.contracts import FUNDING_RATES, RAW_CANDLES
from research_to_prod.market_data.ingest import IngestError, Month, Sources, fetch_funding, fetch_month
from research_to_prod.market_data.quarantine import split
from research_to_prod.market_data.universe import MarketSpec
from research_to_prod.market_data.venue import ATTEMPTS, VenueShape

HOUR = 3_600_000
START = datetime(2023, 6, 1, tzinfo=UTC)
T0 = int(START.timestamp() * 1000)
KLINES = "/api/v3/klines"


def market(**changes: Any) -> MarketSpec:
    return MarketSpec(**{"venue": "peer", "symbol": "BTC/USDT", "timeframe": "1h", "since": "2023-01-01", **changes})


def hours(month: Month) -> list[int]:
    return sorted(int((ts - START) / timedelta(hours=1)) for ts in month.rows["ts"].to_pylist())


def at(hour: float) -> datetime:
    return START + timedelta(hours=hour)


@pytest.fixture
def sources(client: Any) -> Sources:
    return Sources(clients={"peer": client})


@pytest.fixture
def served(peer: Any, kline: Any) -> Any:
    peer.serve_klines([kline(T0 + i * HOUR) for i in range(-48, 30 * 24 + 48)])
    return peer


def test_a_past_month_is_fetched_whole_and_nothing_else(served: Any, sources: Sources) -> None:
    steps: list[tuple[str, int, int]] = []
    month = fetch_month(
        [market()], "2023-06", sources, at(2000), progress=lambda label, done, total: steps.append((label, done, total))
    )
    assert hours(month) == list(range(720))
    RAW_CANDLES.conform(month.rows, "2023-06")
    assert [(each.interval_start, each.interval_end) for each in month.certificates] == [(START, at(720))]
    assert steps == [("peer BTC/USDT 1h", 1, 1)]


def test_the_running_month_tops_up_from_its_last_complete_bar(served: Any, sources: Sources) -> None:
    first = fetch_month([market()], "2023-06", sources, at(10.5))
    assert hours(first) == list(range(10))
    served.requests.clear()
    second = fetch_month([market()], "2023-06", sources, at(20.2), first)
    assert hours(second) == list(range(20))
    assert [int(query["startTime"]) for query in served.asked(KLINES)] == [T0 + 10 * HOUR]
    assert [each.interval_start for each in second.certificates] == [START, at(10)]
    assert set(second.rows["fetch_id"].to_pylist()) == {each.fetch_id for each in second.certificates}
    RAW_CANDLES.conform(second.rows, "2023-06")


def test_a_month_without_news_asks_for_nothing(served: Any, sources: Sources) -> None:
    first = fetch_month([market()], "2023-06", sources, at(10.5))
    served.requests.clear()
    assert fetch_month([market()], "2023-06", sources, at(10.9), first) == first
    assert not served.asked(KLINES)


def test_a_bar_that_the_venue_lacked_at_the_end_is_asked_for_again(served: Any, sources: Sources, kline: Any) -> None:
    served.serve_klines([kline(T0 + i * HOUR) for i in range(8)])
    first = fetch_month([market()], "2023-06", sources, at(10))
    served.serve_klines([kline(T0 + i * HOUR) for i in range(12)])
    assert hours(fetch_month([market()], "2023-06", sources, at(12), first)) == list(range(12))


def test_rows_without_a_certificate_are_fetched_again(served: Any, sources: Sources) -> None:
    first = fetch_month([market()], "2023-06", sources, at(10))
    second = fetch_month([market()], "2023-06", sources, at(12), Month(first.rows, ()))
    assert hours(second) == list(range(12))
    assert len(second.certificates) == 1


def test_an_earlier_since_refetches_what_no_certificate_covers(served: Any, sources: Sources) -> None:
    first = fetch_month([market(since=at(5))], "2023-06", sources, at(10))
    assert hours(first) == list(range(5, 10))
    assert hours(fetch_month([market()], "2023-06", sources, at(10), first)) == list(range(10))


def test_rows_of_a_market_that_left_the_universe_are_dropped(served: Any, sources: Sources, kline: Any) -> None:
    served.serve_klines([kline(T0)], path="/fapi/v1/klines")
    both = fetch_month([market(), market(symbol="BTC/USDT:USDT")], "2023-06", sources, at(10))
    assert set(both.rows["symbol"].to_pylist()) == {"BTC/USDT", "BTC/USDT:USDT"}
    assert set(fetch_month([market()], "2023-06", sources, at(10), both).rows["symbol"].to_pylist()) == {"BTC/USDT"}


def test_defects_pass_through_to_the_quarantine(served: Any, sources: Sources, kline: Any) -> None:
    served.serve_klines([kline(T0), kline(T0), kline(T0 + HOUR, close="99"), kline(T0 + 2 * HOUR)])
    judged = split(fetch_month([market()], "2023-06", sources, at(10)).rows)
    assert judged.accepted.num_rows == 2
    assert judged.rejected["rule"].to_pylist() == ["duplicate", "high_is_highest"]


def test_one_incomplete_market_fails_the_month(served: Any, sources: Sources) -> None:
    served.queue("/fapi/v1/klines", times=ATTEMPTS, body=b"{}")
    with pytest.raises(VenueShape):
        fetch_month([market(), market(symbol="BTC/USDT:USDT")], "2023-06", sources, at(10))


def test_a_month_before_the_market_is_empty_without_a_request(served: Any, sources: Sources) -> None:
    month = fetch_month([market(since="2023-07-01")], "2023-06", sources, at(2000))
    assert (month.rows.num_rows, month.certificates, served.requests) == (0, (), [])


def test_files_and_a_venue_serve_one_month(served: Any, client: Any, tmp_path: Path) -> None:
    lines = ["venue,symbol,timeframe,ts,open,high,low,close,volume"]
    lines += [f"vendor,ETH/USDT,1h,{T0 + i * HOUR},10,12,9,11,3" for i in range(30 * 24)]
    (tmp_path / "eth.csv").write_text("\n".join(lines))
    specs = [market(), market(venue="vendor", symbol="ETH/USDT", source={"files": "eth.csv"})]
    sources = Sources(clients={"peer": client}, folder=tmp_path)
    first = fetch_month(specs, "2023-06", sources, at(10))
    second = fetch_month(specs, "2023-06", sources, at(20), first)
    assert second.rows.num_rows == 40
    RAW_CANDLES.conform(second.rows, "2023-06")


def test_a_missing_source_is_named(served: Any) -> None:
    with pytest.raises(IngestError, match="no connection to venue 'peer'"):
        fetch_month([market()], "2023-06", Sources(), at(10))
    with pytest.raises(IngestError, match="no folder of vendor data"):
        fetch_month([market(source={"files": "x.csv"})], "2023-06", Sources(), at(10))


def test_certificates_make_the_round_trip_through_their_table(served: Any, sources: Sources) -> None:
    month = fetch_month([market()], "2023-06", sources, at(10))
    table = certificates_table([*month.certificates, *month.certificates], "raw_candles-2023-06")
    assert certificates_from(table) == month.certificates


PERPETUAL: dict[str, Any] = {"symbol": "BTC/USDT:USDT", "funding": True}
FUNDING = "/fapi/v1/fundingRate"


def funding(hour: int, rate: str = "0.0001", mark: str = "27000") -> dict[str, Any]:
    return {"symbol": "BTCUSDT", "fundingTime": T0 + hour * HOUR + 3, "fundingRate": rate, "markPrice": mark}


def test_funding_is_fetched_for_the_markets_that_ask_for_it(served: Any, sources: Sources) -> None:
    served.serve_once(FUNDING, [funding(0), funding(8), funding(8), funding(16, "-0.0002")])
    month = fetch_funding([market(), market(**PERPETUAL)], "2023-06", sources, at(24))
    rows = FUNDING_RATES.conform(month.rows, "2023-06")
    assert rows["rate"].to_pylist() == [0.0001, 0.0001, -0.0002]
    assert [each.scope for each in month.certificates] == ["BTC/USDT:USDT"]


def test_contradicting_funding_is_an_error(served: Any, sources: Sources) -> None:
    served.serve_once(FUNDING, [funding(8), funding(8, "0.5")])
    with pytest.raises(IngestError, match=r"two different rates: BTC/USDT:USDT 2023-06-01T08"):
        fetch_funding([market(**PERPETUAL)], "2023-06", sources, at(24))


def test_funding_that_is_no_number_is_an_error(served: Any, sources: Sources) -> None:
    served.serve_once(FUNDING, [funding(8, "nan")])
    with pytest.raises(IngestError, match="1 funding rates are not finite"):
        fetch_funding([market(**PERPETUAL)], "2023-06", sources, at(24))


def test_no_funding_asked_for_is_an_empty_table(sources: Sources) -> None:
    month = fetch_funding([market()], "2023-06", sources, at(24))
    assert month.rows.schema == FUNDING_RATES.arrow
    assert month.rows.num_rows == 0
