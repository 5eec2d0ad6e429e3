"""A month assembled from its sources: topped up, certified, and whole or not at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from research_to_prod.market_data.certificates import certificates_from, certificates_table
from research_to_prod.market_data.contracts import FUNDING_RATES, RAW_CANDLES
from research_to_prod.market_data.ingest import IngestError, Month, Sources, fetch_funding, fetch_month
from research_to_prod.market_data.quarantine import split
from research_to_prod.market_data.reads import ATTEMPTS
from research_to_prod.market_data.universe import MarketSpec

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


def write_bars(path: Path, symbol: str, count: int) -> None:
    lines = [f"v,{symbol},1h,{T0 + i * HOUR},10,12,9,11,3" for i in range(count)]
    path.write_text("\n".join(["venue,symbol,timeframe,ts,open,high,low,close,volume", *lines]))


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


def test_one_incomplete_market_is_named_and_the_others_go_on(served: Any, sources: Sources) -> None:
    served.queue("/fapi/v1/klines", times=ATTEMPTS, body=b"{}")
    month = fetch_month([market(), market(symbol="BTC/USDT:USDT")], "2023-06", sources, at(10))
    assert hours(month) == list(range(10))
    (failure,) = month.failures
    assert (failure.venue, failure.symbol, failure.timeframe) == ("peer", "BTC/USDT:USDT", "1h")
    assert "is dict, not a list" in failure.error
    assert [each.scope for each in month.certificates] == ["BTC/USDT 1h"]


def test_a_failing_market_keeps_what_an_earlier_fetch_certified_and_nothing_else(
    served: Any, sources: Sources, kline: Any
) -> None:
    served.serve_klines([kline(T0 + i * HOUR) for i in range(48)], path="/fapi/v1/klines")
    both = [market(), market(symbol="BTC/USDT:USDT")]
    first = fetch_month(both, "2023-06", sources, at(10))
    served.queue("/fapi/v1/klines", times=ATTEMPTS, body=b"{}")
    second = fetch_month(both, "2023-06", sources, at(20), first)
    perpetual = second.rows.filter(pc.equal(second.rows["symbol"], "BTC/USDT:USDT"))
    assert perpetual.num_rows == 10
    assert second.rows.num_rows == 30
    assert [(each.scope, each.interval_end) for each in second.certificates] == [
        ("BTC/USDT 1h", at(10)),
        ("BTC/USDT 1h", at(20)),
        ("BTC/USDT:USDT 1h", at(10)),
    ]
    uncertified = Month(first.rows, first.certificates[:1])
    served.queue("/fapi/v1/klines", times=ATTEMPTS, body=b"{}")
    third = fetch_month(both, "2023-06", sources, at(20), uncertified)
    assert set(third.rows["symbol"].to_pylist()) == {"BTC/USDT"}


def test_a_file_that_went_bad_keeps_the_rows_that_it_brought(tmp_path: Path) -> None:
    good, bad = (market(venue="v", symbol=f"{name}/USDT", source={"files": f"{name}.csv"}) for name in "AB")
    for name in "AB":
        write_bars(tmp_path / f"{name}.csv", f"{name}/USDT", 5)
    first = fetch_month([good, bad], "2023-06", Sources(folder=tmp_path), at(5))
    (tmp_path / "B.csv").write_text("half a li")
    second = fetch_month([good, bad], "2023-06", Sources(folder=tmp_path), at(5), first)
    assert second.rows.equals(first.rows)
    assert second.certificates == first.certificates
    assert [each.symbol for each in second.failures] == ["B/USDT"]
    assert "B.csv: lacks the columns" in second.failures[0].error


def test_a_month_in_which_no_market_succeeds_is_an_error_that_names_them_all(tmp_path: Path) -> None:
    specs = [market(venue="v", symbol=f"{name}/USDT", source={"files": f"{name}.csv"}) for name in "AB"]
    with pytest.raises(IngestError, match=r"nothing is written: v A/USDT 1h: no file matches.*v B/USDT 1h: no file"):
        fetch_month(specs, "2023-06", Sources(folder=tmp_path), at(5))


def test_a_market_that_is_not_due_neither_fails_nor_saves_a_month(tmp_path: Path) -> None:
    missing = market(venue="v", source={"files": "a.csv"})
    later = market(venue="v", symbol="B/USDT", since="2024-01-01", source={"files": "b.csv"})
    assert fetch_month([later], "2023-06", Sources(folder=tmp_path), at(5)).failures == ()
    with pytest.raises(IngestError, match="no market was fetched"):
        fetch_month([missing, later], "2023-06", Sources(folder=tmp_path), at(5))


def test_a_venue_without_credentials_fails_its_own_markets_only(served: Any, client: Any) -> None:
    sources = Sources(clients={"peer": client}, refused={"other": "needs the environment variables KEY"})
    month = fetch_month([market(), market(venue="other")], "2023-06", sources, at(5))
    assert hours(month) == list(range(5))
    assert "needs the environment variables KEY" in month.failures[0].error


def test_a_programming_error_is_not_a_failed_market(served: Any, sources: Sources, monkeypatch: Any) -> None:
    def broken(*_: Any) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(sources.clients["peer"], "candles", broken)
    with pytest.raises(KeyError, match="a bug"):
        fetch_month([market()], "2023-06", sources, at(5))


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


def test_one_contradicting_market_leaves_the_funding_of_the_others(served: Any, client: Any, tmp_path: Path) -> None:
    served.serve_once(FUNDING, [funding(8), funding(8, "0.5")])
    (tmp_path / "f.csv").write_text(f"venue,symbol,ts,rate\nv,A/B:B,{T0},0.0001\n")
    other = market(venue="v", symbol="A/B:B", funding={"files": "f.csv"})
    sources = Sources(clients={"peer": client}, folder=tmp_path)
    month = fetch_funding([market(**PERPETUAL), other], "2023-06", sources, at(24))
    assert month.rows["symbol"].to_pylist() == ["A/B:B"]
    assert [each.scope for each in month.certificates] == ["A/B:B"]
    assert "two different rates" in month.failures[0].error


def test_failing_funding_keeps_the_payments_that_were_certified(served: Any, client: Any, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text(f"venue,symbol,ts,rate\nv,A/B:B,{T0},0.0001\n")
    other = market(venue="v", symbol="A/B:B", funding={"files": "f.csv"})
    sources = Sources(clients={"peer": client}, folder=tmp_path)
    served.serve_once(FUNDING, [funding(0)])
    first = fetch_funding([market(**PERPETUAL), other], "2023-06", sources, at(7))
    served.queue(FUNDING, times=ATTEMPTS, body=b"<html>")
    second = fetch_funding([market(**PERPETUAL), other], "2023-06", sources, at(24), first)
    kept = second.rows.filter(pc.equal(second.rows["symbol"], "BTC/USDT:USDT"))
    assert kept.num_rows == 1
    certificate = next(each for each in second.certificates if each.scope == "BTC/USDT:USDT")
    assert certificate.interval_end == at(7)


def test_no_funding_asked_for_is_an_empty_table(sources: Sources) -> None:
    month = fetch_funding([market()], "2023-06", sources, at(24))
    assert month.rows.schema == FUNDING_RATES.arrow
    assert month.rows.num_rows == 0
