"""A partition stored in slices: a span of it is replaced alone, and nobody can tell from the rows or their hash."""

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from research_to_prod.lake import Lake, LakeError, PartitionBy, Schema, SchemaError
from research_to_prod.lake.schema import TIMESTAMP, Column, in_order
from research_to_prod.lake.slices import Slicing, combined_hash, contents

BARS = Schema(
    "one bar of a market",
    (
        Column("symbol", pa.string(), "market"),
        Column("ts", TIMESTAMP, "open time"),
        Column("close", pa.float64(), "last price"),
    ),
    key=("symbol", "ts"),
    partition_by=PartitionBy("ts", "%Y-%m", slice_days=3),
)
UNSLICED = dataclasses.replace(BARS, partition_by=PartitionBy("ts", "%Y-%m"))
MONTH, START = "2024-02", datetime(2024, 2, 1, tzinfo=UTC)
DAYS = 29
SLICES = 11
"""2024-01-30 is the first day of a slice, so that February's first has one day in it and its last one day too."""


def bars(first: float, stop: float, close: float = 1.0, symbols: str = "AB") -> pa.Table:
    """Return bars every six hours from day ``first`` of the month until before day ``stop``, both from 0."""
    times = [START + timedelta(hours=hour) for hour in range(int(24 * first), int(24 * stop), 6)]
    return pa.table(
        {
            "symbol": pa.array([symbol for symbol in symbols for _ in times], pa.string()),
            "ts": pa.array(times * len(symbols), TIMESTAMP),
            "close": pa.array([close] * len(times) * len(symbols), pa.float64()),
        },
        BARS.arrow,
    )


def span(first: float, stop: float) -> tuple[datetime, datetime]:
    return START + timedelta(days=first), START + timedelta(days=stop)


def stored(lake: Lake) -> set[str]:
    return set(DeltaTable(f"{lake.root}/bars").file_uris())


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "a lake")


def test_a_day_written_again_replaces_the_day_and_one_file(lake: Lake) -> None:
    first = lake.write("bars", MONTH, bars(0, DAYS), BARS)
    before = stored(lake)
    second = lake.write_span("bars", MONTH, span(7, 8), bars(7, 8, close=2.0), BARS)
    assert len(before) == SLICES
    assert len(before - stored(lake)) == len(stored(lake) - before) == 1
    parts = [bars(0, 7), bars(7, 8, close=2.0), bars(8, DAYS)]
    assert lake.read("bars", MONTH).rows == in_order(pa.concat_tables(parts), BARS.key)
    assert second.version == first.version + 1
    assert second.rows == first.rows


def test_every_version_stays_readable_and_proven(lake: Lake) -> None:
    first = lake.write("bars", MONTH, bars(0, DAYS), BARS)
    second = lake.write_span("bars", MONTH, span(7, 8), bars(7, 8, close=2.0), BARS)
    third = lake.write_span("bars", MONTH, span(7, 8), bars(7, 8), BARS)
    assert lake.read_version(first) == lake.read_version(third) == bars(0, DAYS)
    assert lake.read_version(second) != bars(0, DAYS)
    assert first.content_sha256 == third.content_sha256 != second.content_sha256


QUARTERS = st.integers(0, 4 * DAYS).map(lambda quarter: quarter / 4)
WRITES = st.lists(st.tuples(QUARTERS, QUARTERS, st.sampled_from(["", "A", "B", "AB"])), max_size=4)


@settings(max_examples=15)
@given(st.tuples(QUARTERS, QUARTERS), WRITES)
def test_spans_leave_what_one_write_would_have_left(
    tmp_path_factory: pytest.TempPathFactory,
    whole: tuple[float, float],
    writes: list[tuple[float, float, str]],
) -> None:
    lake = Lake(tmp_path_factory.mktemp("lake"))
    expected = bars(min(whole), max(whole))
    lake.write("bars", MONTH, expected, BARS)
    for turn, (one, other, symbols) in enumerate(writes):
        first, stop = min(one, other), max(one, other) + 0.25
        rows = bars(first, stop, close=float(turn), symbols=symbols) if stop <= DAYS else bars(0, 0)
        lake.write_span("bars", MONTH, span(first, stop), rows, BARS)
        kept = expected.filter(Slicing("ts", 3).outside(expected, span(first, stop)))
        expected = in_order(pa.concat_tables([kept, rows]), BARS.key)
    assert lake.read("bars", MONTH).rows == expected
    assert lake.read("bars", MONTH, where={"symbol": "B"}).rows == expected.filter(pc.equal(expected["symbol"], "B"))
    version = lake.version("bars", MONTH)
    assert version.rows == expected.num_rows
    assert version.content_sha256 == lake.write("again", MONTH, expected, BARS).content_sha256
    lake.read_version(version)


def test_sql_sees_the_declared_columns_only(lake: Lake) -> None:
    lake.write("bars", MONTH, bars(0, DAYS), BARS)
    lake.write_span("bars", MONTH, span(7, 8), bars(7, 8, close=2.0), BARS)
    assert lake.relation("bars", [MONTH]).columns == ["symbol", "ts", "close"]
    assert lake.sql("FROM bars ORDER BY ALL").to_pylist() == lake.read("bars").rows.to_pylist()


def test_a_whole_write_replaces_all_slices(lake: Lake) -> None:
    lake.write("bars", MONTH, bars(0, DAYS), BARS)
    lake.write("bars", "2024-03", bars(29, 31), BARS)
    lake.write("bars", MONTH, bars(10, 12), BARS)
    assert lake.read("bars", MONTH).rows == bars(10, 12)
    assert lake.write("bars", MONTH, bars(0, 0), BARS).rows == 0
    assert lake.read("bars", MONTH).rows.num_rows == 0
    assert lake.read("bars", "2024-03").rows == bars(29, 31)


@pytest.mark.parametrize(
    ("refused", "named"),
    [
        (lambda lake: lake.write_span("bars", MONTH, span(7, 8), bars(7, 9), BARS), "8 rows lie outside the span"),
        (lambda lake: lake.write_span("bars", MONTH, span(8, 7), bars(0, 0), BARS), "is empty"),
        (lambda lake: lake.write_span("bars", MONTH, span(29, 30), bars(29, 30), BARS), "outside partition"),
        (lambda lake: lake.write_span("bars", "2024-03", span(29, 30), bars(29, 30), BARS), "no partition 2024-03"),
        (lambda lake: lake.write_span("other", MONTH, span(7, 8), bars(7, 8), BARS), "no table 'other'"),
        (lambda lake: lake.write_span("plain", MONTH, span(7, 8), bars(7, 8), UNSLICED), "write the whole partition"),
    ],
)
def test_what_cannot_be_replaced_alone_is_refused_and_nothing_written(
    lake: Lake, refused: Callable[[Lake], object], named: str
) -> None:
    lake.write("plain", MONTH, bars(0, DAYS), UNSLICED)
    version = lake.write("bars", MONTH, bars(0, DAYS), BARS)
    with pytest.raises((SchemaError, LakeError), match=named):
        refused(lake)
    assert lake.versions("bars") == {MONTH: version}
    assert lake.tables() == ["bars", "plain"]


def test_a_month_written_again_stores_only_the_slices_that_differ(lake: Lake) -> None:
    first = lake.write("bars", MONTH, bars(0, DAYS - 3), BARS)
    before = stored(lake)
    longer = in_order(pa.concat_tables([bars(0, 7), bars(7, 8, close=2.0), bars(8, DAYS)]), BARS.key)
    second = lake.write("bars", MONTH, longer, BARS)
    assert lake.read_version(second) == longer
    assert lake.read_version(first) == bars(0, DAYS - 3)
    # Of 10: the one that differs, and the last, whose other days were not there yet; the 11th is new.
    assert len(before & stored(lake)) == 8
    assert len(stored(lake) - before) == 3
    third = lake.write("bars", MONTH, longer, BARS)
    assert (third.version, third.content_sha256) == (second.version + 1, second.content_sha256)
    assert lake.read_version(third) == longer


def foreign_file(lake: Lake, close: float) -> bytes:
    """Return the file of another lake's third slice."""
    other = Lake(Path(lake.root).parent / "other")
    other.write("bars", MONTH, bars(0, DAYS, close=close), BARS)
    return third_file(other).read_bytes()


def third_file(lake: Lake) -> Path:
    (path,) = Path(lake.root).glob("bars/partition=2024-02/slice=2024-02-08/*.parquet")
    return path


def test_a_change_to_stored_rows_is_not_hidden_by_a_new_hash(lake: Lake) -> None:
    """The neighbours in the span's own file are read and hashed again; had they been changed, nobody would see it."""
    lake.write("bars", MONTH, bars(0, DAYS), BARS)
    third_file(lake).write_bytes(foreign_file(lake, close=6.0))
    with pytest.raises(LakeError, match="the stored files were changed; write the whole partition again"):
        lake.write_span("bars", MONTH, span(7, 8), bars(7, 8), BARS)
    # Elsewhere in the partition it stays as visible as it was.
    version = lake.write_span("bars", MONTH, span(20, 21), bars(20, 21), BARS)
    with pytest.raises(LakeError, match="the stored files were changed"):
        lake.read_version(version)


@pytest.mark.parametrize("broken", ["changed", "cut", "gone"])
def test_writing_a_partition_again_heals_its_files(lake: Lake, broken: str) -> None:
    lake.write("bars", MONTH, bars(0, DAYS), BARS)
    path = third_file(lake)
    if broken == "gone":
        path.unlink()
    else:
        path.write_bytes(foreign_file(lake, close=6.0) if broken == "changed" else path.read_bytes()[:-100])
    assert lake.read_version(lake.write("bars", MONTH, bars(0, DAYS), BARS)) == bars(0, DAYS)


def test_a_span_written_meanwhile_is_in_the_content_that_the_commit_names(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Delta sees no conflict between two files; each commit would name a content without the other's rows."""
    lake.write("bars", MONTH, bars(0, DAYS), BARS)
    original, rival = Lake._open_or_create, Lake(lake.root)
    raced = []

    def open_then_lose(self: Lake, table: str, schema: Schema) -> DeltaTable:
        opened = original(self, table, schema)
        if self is lake and not raced:
            raced.append(rival.write_span("bars", MONTH, span(20, 21), bars(20, 21, close=3.0), BARS))
        return opened

    monkeypatch.setattr(Lake, "_open_or_create", open_then_lose)
    mine = lake.write_span("bars", MONTH, span(7, 8), bars(7, 8, close=2.0), BARS)
    assert mine.version == raced[0].version + 1
    assert sorted(set(lake.read_version(mine)["close"].to_pylist())) == [1.0, 2.0, 3.0]


def test_writers_of_spans_at_once_lose_nothing(lake: Lake) -> None:
    lake.write("bars", MONTH, bars(0, DAYS), BARS)

    def work(day: int) -> None:
        Lake(lake.root).write_span("bars", MONTH, span(day, day + 1), bars(day, day + 1, close=100.0 + day), BARS)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(12)))
    version = lake.version("bars", MONTH)
    assert set(lake.read_version(version)["close"].to_pylist()) == {1.0, *(100.0 + day for day in range(12))}


@pytest.mark.parametrize("other", [UNSLICED, dataclasses.replace(BARS, partition_by=PartitionBy("ts", "%Y-%m", 5))])
def test_a_table_stored_in_another_layout_is_read_and_not_written(lake: Lake, other: Schema) -> None:
    """Such a lake was made before the table had these slices."""
    version = lake.write("bars", MONTH, bars(0, DAYS), other)
    assert lake.read_version(version) == bars(0, DAYS)
    remedy = "move its folder out of the lake and materialize its partitions again"
    with pytest.raises(SchemaError, match=remedy):
        lake.write("bars", MONTH, bars(0, DAYS), BARS)
    with pytest.raises(SchemaError, match=remedy):
        lake.write_span("bars", MONTH, span(7, 8), bars(7, 8), BARS)
    assert lake.version("bars", MONTH) == version


def test_slices_need_their_column_in_the_key() -> None:
    with pytest.raises(ValueError, match="slices by 'ts' need it in the key symbol"):
        dataclasses.replace(BARS, key=("symbol",))


HOURS = st.integers(-200, 200)


@given(st.lists(HOURS, max_size=30), st.integers(1, 5))
def test_each_row_lies_in_the_slice_of_its_time_in_the_order_given(hours: list[int], days: int) -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    rows = pa.table({"ts": pa.array([epoch + timedelta(hours=hour) for hour in hours], TIMESTAMP)})
    expected: dict[str, list[int]] = {}
    for hour in sorted(hours, key=lambda hour: hour // (24 * days)):
        expected.setdefault(f"{epoch + timedelta(days=hour // (24 * days) * days):%Y-%m-%d}", []).append(hour)
    found = Slicing("ts", days).split(rows)
    assert list(found) == list(expected)
    for name, each in found.items():
        assert [(ts - epoch) // timedelta(hours=1) for ts in each["ts"].to_pylist()] == expected[name]


def test_rows_in_no_order_of_time_are_split_alike() -> None:
    rows = bars(0, DAYS, symbols="".join(map(chr, range(65, 91)))).combine_chunks()
    shuffled = rows.take(pa.array(np.random.default_rng(3).permutation(rows.num_rows)))
    split = Slicing("ts", 3).split(shuffled)
    assert {name: in_order(each, BARS.key) for name, each in split.items()} == Slicing("ts", 3).split(rows)


@given(HOURS, st.integers(1, 200), st.integers(1, 5))
def test_a_span_touches_the_slices_of_its_first_and_its_last_moment(hour: int, hours: int, days: int) -> None:
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=hour)
    stop = start + timedelta(hours=hours)
    ends = pa.table({"ts": pa.array([start, stop - timedelta(microseconds=1)], TIMESTAMP)})
    names = list(Slicing("ts", days).split(ends))
    assert Slicing("ts", days).names((start, stop)) == (names[0], names[-1])


def test_the_hash_of_known_slices_never_changes() -> None:
    """Recorded hashes must be recomputable for ever; a change here breaks every recorded decision."""
    assert (
        combined_hash(contents(Slicing("ts", 3).split(bars(0, DAYS))))
        == "89b8c7b3e11be959c5cea8fa53fc428468d4058184b264badb8a47db2194cedd"
    )
    assert combined_hash({}) != combined_hash({"2024-01-30": ("0" * 64, 0)})
