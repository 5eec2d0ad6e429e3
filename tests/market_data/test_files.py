"""Vendor files: what is read as it stands, and what is an error that names the file."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from research_to_prod.market_data.contracts import FUNDING_RATES, RAW_CANDLES
from research_to_prod.market_data.files import FileSourceError, VendorFiles, read_candles, read_funding
from research_to_prod.market_data.universe import MarketSpec

START, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)
HEADER = "venue,symbol,timeframe,ts,open,high,low,close,volume"


def market(files: str = "bars.csv", **changes: Any) -> MarketSpec:
    given = {"venue": "v", "symbol": "A/B", "timeframe": "1h", "since": START, "source": {"files": files}}
    return MarketSpec(**{**given, **changes})


def write(folder: Path, *times: Any, name: str = "bars.csv", symbol: str = "A/B") -> Path:
    path = folder / name
    lines = [f"v,{symbol},1h,{each},10,12,9,11,3.5" for each in times]
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


EPOCH = int(START.timestamp())


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01T00:00:00Z",
        "2024-01-01 00:00:00",
        "2024-01-01",
        "2024-01-01T02:00:00+02:00",
        EPOCH,
        EPOCH * 1000,
        EPOCH * 1_000_000,
        float(EPOCH),
    ],
)
def test_times_are_read_as_utc_in_every_usual_form(tmp_path: Path, text: Any) -> None:
    write(tmp_path, text)
    assert read_candles(VendorFiles(tmp_path), market(), START, END).rows["ts"].to_pylist() == [START]


def test_milliseconds_survive(tmp_path: Path) -> None:
    write(tmp_path, EPOCH * 1000 + 7)
    assert read_candles(VendorFiles(tmp_path), market(), START, END).rows["ts"].to_pylist() == [
        START + timedelta(milliseconds=7)
    ]


def test_rows_keep_file_order_and_position_and_only_the_interval_is_taken(tmp_path: Path) -> None:
    newest_first = [START + timedelta(hours=hour) for hour in (800, 2, 1, 1, 0, -1)]
    write(tmp_path, *(each.isoformat() for each in newest_first))
    fetched = read_candles(VendorFiles(tmp_path), market(), START, END)
    RAW_CANDLES.conform(fetched.rows, "2024-01")
    assert fetched.rows["ts"].to_pylist() == newest_first[1:5]
    assert fetched.rows["row"].to_pylist() == [1, 2, 3, 4]
    assert fetched.certificate.rows == 4


def test_the_certificate_carries_the_hashes_of_the_files(tmp_path: Path) -> None:
    paths = [write(tmp_path, START.isoformat(), name=f"{name}.csv") for name in "ab"]
    fetched = read_candles(VendorFiles(tmp_path), market("*.csv"), START, END)
    hashes = "".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    certificate = fetched.certificate
    assert certificate.body_sha256 == hashlib.sha256(hashes.encode()).hexdigest()
    assert (certificate.endpoint, certificate.scope, certificate.pages) == ("files:*.csv", "A/B 1h", 2)
    assert (certificate.terminal, certificate.complete, certificate.venue_clock_before) == ("end_of_file", True, None)
    assert fetched.rows["page"].to_pylist() == [0, 1]


def test_parquet_is_read_like_csv(tmp_path: Path) -> None:
    write(tmp_path, START.isoformat(), (START + timedelta(hours=1)).isoformat())
    pq.write_table(pa.csv.read_csv(tmp_path / "bars.csv"), tmp_path / "bars.parquet")
    one = read_candles(VendorFiles(tmp_path), market(), START, END).rows.drop_columns("fetch_id")
    other = read_candles(VendorFiles(tmp_path), market("bars.parquet"), START, END).rows.drop_columns("fetch_id")
    assert one == other


def test_other_markets_in_the_file_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, START.isoformat(), name="a.csv")
    write(tmp_path, START.isoformat(), name="b.csv", symbol="C/D")
    assert read_candles(VendorFiles(tmp_path), market("*.csv"), START, END).rows["symbol"].to_pylist() == ["A/B"]


def test_broken_values_that_can_be_carried_are_carried(tmp_path: Path) -> None:
    (tmp_path / "bars.csv").write_text(f"{HEADER}\nv,A/B,1h,2024-01-01T00:00:00Z,,inf,-1,nan,0\n")
    row = read_candles(VendorFiles(tmp_path), market(), START, END).rows.to_pylist()[0]
    assert (row["open"], row["high"], row["low"], row["volume"]) == (None, float("inf"), -1.0, 0.0)


def test_no_file_is_an_error_that_names_the_pattern(tmp_path: Path) -> None:
    with pytest.raises(FileSourceError, match=r"no file matches 'x/\*\.csv'"):
        read_candles(VendorFiles(tmp_path), market("x/*.csv"), START, END)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "bars.csv").write_text("venue,symbol,timeframe,time,open,high,low,close\nv,A/B,1h,1,1,1,1,1\n")
    with pytest.raises(FileSourceError, match=r"bars\.csv: lacks the columns ts, volume; it has venue"):
        read_candles(VendorFiles(tmp_path), market(), START, END)


def test_a_file_of_another_market_is_an_error_that_says_what_it_has(tmp_path: Path) -> None:
    write(tmp_path, START.isoformat(), symbol="C/D")
    with pytest.raises(FileSourceError, match=r"no row of v, A/B, 1h; the file has .*C/D"):
        read_candles(VendorFiles(tmp_path), market(), START, END)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (HEADER.encode() + b"\nv,A/B\n", "cannot be read"),
        (HEADER.encode() + b"\nv,A/B,1h,soon,1,1,1,1,1\n", "is not a timestamp"),
        (HEADER.encode() + b"\nv,A/B,1h,,1,1,1,1,1\n", "ts is empty in row 0"),
        (HEADER.encode() + b"\nv,A/B,1h,1704067200,1,1,1,1,1\nv,A/B,1h,1704067200000,1,1,1,1,1\n", "mixes units"),
        (HEADER.encode() + b"\nv,A/B,1h,2024-01-01,one,1,1,1,1\n", "column open"),
    ],
)
def test_an_unusable_file_is_an_error_that_names_it(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "bars.csv").write_bytes(content)
    with pytest.raises(FileSourceError, match=rf"bars\.csv: .*{reason}"):
        read_candles(VendorFiles(tmp_path), market(), START, END)


def test_a_corrupt_parquet_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "bars.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(FileSourceError, match=r"bars\.parquet: cannot be read"):
        read_candles(VendorFiles(tmp_path), market("bars.parquet"), START, END)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bars.xlsx").write_bytes(b"x")
    with pytest.raises(FileSourceError, match=r"neither \.parquet nor \.csv"):
        read_candles(VendorFiles(tmp_path), market("bars.xlsx"), START, END)


def test_funding_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text(
        "venue,symbol,ts,rate\nv,A/B:B,1704096000016,0.0001\nv,A/B:B,1706800000000,0.0002\n"
    )
    spec = market(symbol="A/B:B", funding={"files": "f.csv"})
    fetched = read_funding(VendorFiles(tmp_path), spec, START, END)
    rows = FUNDING_RATES.conform(fetched.rows, "2024-01").to_pylist()
    assert [(row["rate"], row["mark_price"]) for row in rows] == [(0.0001, None)]
    assert fetched.certificate.scope == "A/B:B"
