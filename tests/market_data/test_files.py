"""Vendor files: what is read as it stands, and what is an error that names the file."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

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


def test_a_column_that_appears_twice_is_named(tmp_path: Path) -> None:
    (tmp_path / "bars.csv").write_text(f"{HEADER},close\nv,A/B,1h,2024-01-01,1,1,1,1,1,2\n")
    with pytest.raises(FileSourceError, match=r"bars\.csv: has the columns close more than once"):
        read_candles(VendorFiles(tmp_path), market(), START, END)


def test_a_file_with_a_header_only_says_that_it_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "bars.csv").write_text(HEADER + "\n")
    with pytest.raises(FileSourceError, match=r"bars\.csv: no row of v, A/B, 1h; the file has no rows; correct"):
        read_candles(VendorFiles(tmp_path), market(), START, END)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (
            ["2024-01-01T00:00:00Z", "2024-01-01T02:00:00+02:00"],
            "mixes time zones .* row 1 '2024-01-01T02:00:00.02:00'",
        ),
        (["2024-01-01T00:00:00Z", "2024-01-01T01:00:00"], "mixes time zones .* row 1"),
        (["2024-01-01T00:00:00", "1704070800"], "row 1 is '1704070800'"),
        (["1704067200", "2024-01-01T01:00:00"], "mixes time zones or forms.* row 1"),
        (["1704067200", "1e300"], "row 1 is 1e.300, too large"),
        (["1704067200.5", "nan"], "ts is empty in row 1|row 1"),
        (["2024-01-01T00:00:00Z", "2024-13-01T00:00:00Z"], "ts in row 1 is '2024-13-01T00:00:00Z'"),
        (["99999999999999999999", "1"], "ts in row 0"),
    ],
)
def test_times_that_cannot_be_placed_are_an_error_that_names_file_row_and_remedy(
    tmp_path: Path, rows: list[str], reason: str
) -> None:
    write(tmp_path, *rows)
    with pytest.raises(FileSourceError, match=rf"bars\.csv: .*{reason}.*; .*(write|correct)"):
        read_candles(VendorFiles(tmp_path), market(), START, END)


def test_a_number_that_is_none_is_named_by_row_and_column(tmp_path: Path) -> None:
    lines = [f"v,A/B,1h,{EPOCH + 3600 * hour},1,1,1,{'one' if hour == 37 else 1},1" for hour in range(100)]
    (tmp_path / "bars.csv").write_text("\n".join([HEADER, *lines]))
    with pytest.raises(FileSourceError, match=r"bars\.csv: column close in row 37 is 'one' and not a number"):
        read_candles(VendorFiles(tmp_path), market(), START, END)


def test_a_row_with_too_few_cells_is_named(tmp_path: Path) -> None:
    write(tmp_path, EPOCH, EPOCH + 3600)
    with (tmp_path / "bars.csv").open("a") as file:
        file.write("v,A/B\n")
    with pytest.raises(FileSourceError, match=r"bars\.csv: cannot be read: row 2 has 2 cells, the header has 9"):
        read_candles(VendorFiles(tmp_path), market(), START, END)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "cp037"])
def test_a_file_that_is_not_utf8_is_an_error_that_names_it(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "bars.csv").write_text(f"{HEADER}\nv,A/B,1h,2024-01-01,1,1,1,1,1\n", encoding=encoding)
    with pytest.raises(FileSourceError, match=r"bars\.csv: "):
        read_candles(VendorFiles(tmp_path), market(), START, END)


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    (tmp_path / "bars.csv").write_text(f"{HEADER}\nv,A/B,1h,2024-01-01,1,1,1,1,1\n", encoding="utf-8-sig")
    assert read_candles(VendorFiles(tmp_path), market(), START, END).rows.num_rows == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2024-01-01T00:00:00Z", "2024-01-01T03:00:00+02:00"),
        ("2024-01-01T00:00:00Z", "2024-01-01T01:00:00"),
        (EPOCH, (EPOCH + 3600) * 1000),
        (EPOCH, "2024-01-01T01:00:00Z"),
    ],
)
def test_files_of_one_pattern_that_write_their_times_differently_are_an_error_that_names_both(
    tmp_path: Path, first: Any, second: Any
) -> None:
    write(tmp_path, first, name="a.csv")
    write(tmp_path, second, name="b.csv")
    with pytest.raises(FileSourceError, match=r"b\.csv: its times are .*, those of .*a\.csv are .*; write the times"):
        read_candles(VendorFiles(tmp_path), market("*.csv"), START, END)


def test_a_truth_value_is_no_price(tmp_path: Path) -> None:
    write(tmp_path, START.isoformat())
    table = pa.csv.read_csv(tmp_path / "bars.csv")
    at = table.column_names.index("close")
    pq.write_table(table.set_column(at, "close", pa.array([True])), tmp_path / "bars.parquet")
    with pytest.raises(FileSourceError, match=r"column close is bool and not a number"):
        read_candles(VendorFiles(tmp_path), market("bars.parquet"), START, END)


def test_a_link_that_leaves_the_folder_is_refused_and_one_that_stays_is_read(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "vendor"
    outside.mkdir()
    folder.mkdir()
    write(outside, START.isoformat(), name="secret.csv")
    (folder / "bars.csv").symlink_to(outside / "secret.csv")
    with pytest.raises(FileSourceError, match=r"bars\.csv leads to .*secret\.csv, outside of .*; copy the file"):
        read_candles(VendorFiles(folder), market(), START, END)
    (folder / "bars.csv").unlink()
    write(folder, START.isoformat(), name="real.csv")
    (folder / "bars.csv").symlink_to(folder / "real.csv")
    assert read_candles(VendorFiles(folder), market(), START, END).rows.num_rows == 1


def test_a_folder_link_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "vendor").mkdir()
    write(tmp_path / "outside", START.isoformat())
    (tmp_path / "vendor" / "more").symlink_to(tmp_path / "outside")
    with pytest.raises(FileSourceError, match="outside of"):
        read_candles(VendorFiles(tmp_path / "vendor"), market("more/*.csv"), START, END)


def parquet_months(folder: Path, months: int, symbol: str = "A/B") -> None:
    for month in range(months):
        times = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=31 * month, hours=hour) for hour in range(24)]
        columns: dict[str, Any] = {"venue": ["v"] * 24, "symbol": [symbol] * 24, "timeframe": ["1h"] * 24}
        columns["ts"] = pa.array(times, pa.timestamp("us", "UTC"))
        columns |= {name: [1.0] * 24 for name in ("open", "high", "low", "close", "volume")}
        pq.write_table(pa.table(columns), folder / f"{symbol.replace('/', '-')}-{month:02}.parquet")


def test_only_the_files_that_hold_the_month_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet_months(tmp_path, 12)
    parquet_months(tmp_path, 2, symbol="C/D")
    opened: list[str] = []
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (opened.append(path.name), real(path))[1])
    fetched = read_candles(VendorFiles(tmp_path), market("*.parquet"), START, END)
    assert fetched.rows.num_rows == 24
    assert (opened, fetched.certificate.pages) == (["A-B-00.parquet"], 1)


def test_files_of_other_months_do_not_change_the_identity_of_this_one(tmp_path: Path) -> None:
    """A vendor adds a file a month; what was proven of an old month must not look new."""
    parquet_months(tmp_path, 2)
    before = read_candles(VendorFiles(tmp_path), market("*.parquet"), START, END)
    parquet_months(tmp_path, 5)
    assert read_candles(VendorFiles(tmp_path), market("*.parquet"), START, END) == before


def test_a_csv_is_read_once_to_learn_what_it_covers_and_again_when_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, START.isoformat(), name="a.csv")
    write(tmp_path, (END + timedelta(days=1)).isoformat(), name="b.csv")
    opened: list[str] = []
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (opened.append(path.name), real(path))[1])
    files = VendorFiles(tmp_path)
    assert read_candles(files, market("*.csv"), START, END).rows.num_rows == 1
    assert sorted(opened) == ["a.csv", "b.csv"]
    opened.clear()
    assert read_candles(files, market("*.csv"), START, END).rows.num_rows == 1
    assert opened == ["a.csv"]
    write(tmp_path, START.isoformat(), (START + timedelta(hours=1)).isoformat(), name="b.csv")
    assert read_candles(files, market("*.csv"), START, END).rows.num_rows == 3


def test_a_corrupt_file_among_many_is_named_whatever_month_is_asked_for(tmp_path: Path) -> None:
    parquet_months(tmp_path, 6)
    broken = tmp_path / "A-B-04.parquet"
    broken.write_bytes(broken.read_bytes()[:-20])
    with pytest.raises(FileSourceError, match=r"A-B-04\.parquet: cannot be read: .*; deliver it again"):
        read_candles(VendorFiles(tmp_path), market("*.parquet"), START, END)


@pytest.mark.parametrize("at", [980, 998, 1017, 1039, 1123, 1193, 1272, 1351])
def test_a_footer_on_which_arrow_ends_the_process_is_read_or_refused(tmp_path: Path, at: int) -> None:
    """Flips of these bytes of this file ended the process while Arrow was asked for the footer's statistics."""
    parquet_months(tmp_path, 1)
    path = tmp_path / "A-B-00.parquet"
    body = path.read_bytes()
    for bit in range(8):
        path.write_bytes(body[:at] + bytes([body[at] ^ 1 << bit]) + body[at + 1 :])
        with contextlib.suppress(FileSourceError):
            assert read_candles(VendorFiles(tmp_path), market("*.parquet"), START, END).rows.num_rows == 24


def test_a_file_of_fewer_rows_than_its_footer_states_is_refused(tmp_path: Path) -> None:
    """One flipped bit of a row group's count lost a third of the rows."""
    parquet_months(tmp_path, 1)
    path = tmp_path / "A-B-00.parquet"
    body = path.read_bytes()
    # Thrift's compact form of the row group's 24 rows: field 3, a 64-bit integer, zigzag.
    at = body.rindex(b"\x16\x30") + 1
    path.write_bytes(body[:at] + b"\x10" + body[at + 1 :])
    with pytest.raises(FileSourceError, match=r"A-B-00\.parquet: has 8 rows and a footer that states 24"):
        read_candles(VendorFiles(tmp_path), market("*.parquet"), START, END)


@given(cut=st.floats(0, 1), flip=st.integers(0, 255), at=st.floats(0, 1))
def test_a_damaged_parquet_file_is_read_or_refused_but_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, cut: float, flip: int, at: float
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    parquet_months(folder, 1)
    path = folder / "A-B-00.parquet"
    body = bytearray(path.read_bytes())
    body[int(at * (len(body) - 1))] ^= flip
    path.write_bytes(bytes(body[: int(cut * len(body))] if flip % 2 else body))
    with contextlib.suppress(FileSourceError):
        read_candles(VendorFiles(folder), market("*.parquet"), START, END)


@given(body=st.binary(max_size=300) | st.text(max_size=300).map(lambda text: f"{HEADER}\n{text}".encode()))
def test_any_bytes_are_read_or_refused_but_never_a_crash(tmp_path_factory: pytest.TempPathFactory, body: bytes) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "bars.csv").write_bytes(body)
    with contextlib.suppress(FileSourceError):
        read_candles(VendorFiles(folder), market(), START, END)


@given(cells=st.lists(st.text(st.characters(codec="utf-8"), max_size=12), min_size=9, max_size=9))
def test_any_cells_are_read_or_refused_but_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, cells: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("cells")
    with (folder / "bars.csv").open("w", newline="") as file:
        csv.writer(file).writerows([HEADER.split(","), cells])
    with contextlib.suppress(FileSourceError):
        read_candles(VendorFiles(folder), market(), START, END)


@example(pattern=".")
@given(pattern=st.text(min_size=1, max_size=20))
def test_any_pattern_finds_files_of_the_folder_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, pattern: str
) -> None:
    folder = tmp_path_factory.mktemp("patterns")
    write(folder, START.isoformat())
    try:
        found = VendorFiles(folder).matching(pattern)
    except FileSourceError as error:
        assert str(folder) in str(error)  # noqa: PT017 - one law, both ways
    else:
        assert all(path.resolve().is_relative_to(folder.resolve()) for path in found)


@pytest.mark.slow
def test_a_month_out_of_ten_thousand_files_takes_ten_seconds_at_most(tmp_path: Path) -> None:
    """Processor time: the machine's other work must not decide. Links, because they are made faster than files."""
    parquet_months(tmp_path, 12)
    for number in range(10_000):
        (tmp_path / f"more-{number:05}.parquet").hardlink_to(tmp_path / "A-B-07.parquet")
    steps: list[int] = []
    started = time.process_time()
    fetched = read_candles(
        VendorFiles(tmp_path), market("*.parquet"), START, END, lambda _label, done, _total: steps.append(done)
    )
    assert time.process_time() - started <= 10
    assert (fetched.rows.num_rows, fetched.certificate.pages) == (24, 1)
    assert steps == [1000 * number for number in range(1, 11)]


def test_funding_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text(
        "venue,symbol,ts,rate\nv,A/B:B,1704096000016,0.0001\nv,A/B:B,1706800000000,0.0002\n"
    )
    spec = market(symbol="A/B:B", funding={"files": "f.csv"})
    fetched = read_funding(VendorFiles(tmp_path), spec, START, END)
    rows = FUNDING_RATES.conform(fetched.rows, "2024-01").to_pylist()
    assert [(row["rate"], row["mark_price"]) for row in rows] == [(0.0001, None)]
    assert fetched.certificate.scope == "A/B:B"
