"""A table is given the columns that a newer release declares; nothing that was stored or cited before changes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier

import duckdb
import pyarrow as pa
import pytest

from research_to_prod.lake import Column, Lake, LakeError, PartitionBy, PinnedLake, Schema, SchemaError
from research_to_prod.lake.schema import MONTH_OF_TS, TIMESTAMP
from research_to_prod.lake.warehouse import publish_warehouse

OLD = Schema(
    "one bar",
    (Column("ts", TIMESTAMP, "open time"), Column("close", pa.float64(), "last price")),
    key=("ts",),
    partition_by=MONTH_OF_TS,
)
TRADES = Column("trades", pa.int64(), "number of trades", nullable=True)
NEW = replace(OLD, columns=(*OLD.columns, TRADES))
SLICED_OLD = replace(OLD, partition_by=PartitionBy("ts", "%Y-%m", slice_days=1))
SLICED_NEW = replace(NEW, partition_by=SLICED_OLD.partition_by)


def bars(month: int, hours: int, trades: int | None = None) -> pa.Table:
    times = [datetime(2024, month, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(hours)]
    rows = pa.table({"ts": pa.array(times, TIMESTAMP), "close": pa.array([1.0] * hours)})
    return rows if trades is None else rows.append_column("trades", pa.array([trades] * hours, pa.int64()))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "a lake")


def test_rows_from_before_are_null_in_a_column_that_came_later(lake: Lake) -> None:
    lake.write("bars", "2024-01", bars(1, 2), OLD)
    assert lake.upgrade("bars", NEW) == ["trades"]
    lake.write("bars", "2024-02", bars(2, 1, trades=7), NEW)
    assert lake.read("bars").rows["trades"].to_pylist() == [None, None, 7]
    assert lake.read("bars").rows.schema.names == NEW.arrow.names
    assert lake.upgrade("bars", NEW) == []


def test_versions_from_before_stay_what_decisions_cite(lake: Lake) -> None:
    cited = [lake.write("bars", "2024-01", bars(1, hours), OLD) for hours in (2, 3)]
    lake.upgrade("bars", NEW)
    assert lake.version("bars", "2024-01") == cited[1]
    assert lake.history("bars", "2024-01") == tuple(cited)
    assert [lake.read_version(each).num_rows for each in cited] == [2, 3]
    later = lake.write("bars", "2024-02", bars(2, 1, trades=7), NEW)
    pinned = PinnedLake(lake, [cited[0], later]).read("bars", ["2024-01", "2024-02"])
    assert pinned.rows["trades"].to_pylist() == [None, None, 7]


def test_a_changed_file_from_before_is_still_noticed(lake: Lake, tmp_path: Path) -> None:
    cited = lake.write("bars", "2024-01", bars(1, 2), OLD)
    lake.upgrade("bars", NEW)
    other = Lake(tmp_path / "other")
    other.write("bars", "2024-01", bars(1, 3), OLD)
    (file,) = (tmp_path / "a lake" / "bars").rglob("part*.parquet")
    (changed,) = (tmp_path / "other" / "bars").rglob("part*.parquet")
    file.write_bytes(changed.read_bytes())
    with pytest.raises(LakeError, match="the stored files were changed"):
        lake.read_version(cited)


def test_sql_and_the_warehouse_see_the_column_whichever_file_comes_first(lake: Lake, tmp_path: Path) -> None:
    lake.write("bars", "2024-02", bars(2, 1), OLD)
    lake.upgrade("bars", NEW)
    # No file has the column yet; then one has, before or after those that have not.
    assert lake.sql("SELECT count(trades) AS n FROM bars").to_pylist() == [{"n": 0}]
    lake.write("bars", "2024-01", bars(1, 2, trades=7), NEW)
    lake.write("bars", "2024-03", bars(3, 3, trades=8), NEW)
    assert lake.sql("SELECT sum(trades) AS n, count(*) AS rows FROM bars").to_pylist() == [{"n": 38, "rows": 6}]
    assert lake.relation("bars", ["2024-02"]).fetchall()[0][2] is None
    publish_warehouse(lake, tmp_path / "warehouse.duckdb")
    with duckdb.connect(tmp_path / "warehouse.duckdb") as warehouse:
        assert warehouse.sql("SELECT sum(trades) FROM bars").fetchone() == (38,)


def test_a_span_of_a_partition_from_before_is_replaced_and_its_hash_is_that_of_writing_it_whole(
    lake: Lake, tmp_path: Path
) -> None:
    rows = bars(1, 72)
    lake.write("bars", "2024-01", rows, SLICED_OLD)
    lake.upgrade("bars", SLICED_NEW)
    day = (datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 3, tzinfo=UTC))
    spanned = lake.write_span("bars", "2024-01", day, bars(1, 48, trades=7).slice(24), SLICED_NEW)
    assert lake.read_version(spanned)["trades"].to_pylist() == [None] * 24 + [7] * 24 + [None] * 24
    whole = Lake(tmp_path / "whole").write("bars", "2024-01", lake.read("bars").rows, SLICED_NEW)
    assert spanned.content_sha256 == whole.content_sha256
    # The next span finds a partition of today's columns.
    lake.write_span("bars", "2024-01", day, bars(1, 48, trades=8).slice(24), SLICED_NEW)
    assert lake.read("bars").rows["trades"].to_pylist() == [None] * 24 + [8] * 24 + [None] * 24


def test_a_span_does_not_hide_a_file_that_was_changed_before_the_upgrade(lake: Lake, tmp_path: Path) -> None:
    lake.write("bars", "2024-01", bars(1, 72), SLICED_OLD)
    lake.upgrade("bars", SLICED_NEW)
    files = sorted((tmp_path / "a lake" / "bars").rglob("part*.parquet"))
    files[0].write_bytes(files[2].read_bytes())
    day = (datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 3, tzinfo=UTC))
    with pytest.raises(LakeError, match="the stored files were changed"):
        lake.write_span("bars", "2024-01", day, bars(1, 48, trades=7).slice(24), SLICED_NEW)


def test_writing_before_the_upgrade_names_the_remedy_and_writing_by_an_older_release_is_refused(lake: Lake) -> None:
    lake.write("bars", "2024-01", bars(1, 2), OLD)
    with pytest.raises(SchemaError, match="made by a release that declared trades otherwise; run `r2p upgrade`"):
        lake.write("bars", "2024-01", bars(1, 2, trades=7), NEW)
    lake.upgrade("bars", NEW)
    with pytest.raises(SchemaError, match="other columns or types: trades; use the release that wrote it"):
        lake.write("bars", "2024-01", bars(1, 2), OLD)
    assert lake.read("bars").rows.num_rows == 2


def test_a_column_that_may_be_null_from_now_on_takes_nulls_and_old_versions_stay(lake: Lake) -> None:
    cited = lake.write("bars", "2024-01", bars(1, 2), OLD)
    loose = replace(OLD, columns=(OLD.columns[0], replace(OLD.columns[1], nullable=True)))
    unknown = bars(2, 1).set_column(1, "close", pa.array([None], pa.float64()))
    with pytest.raises(SchemaError, match="declared close otherwise; run `r2p upgrade`"):
        lake.write("bars", "2024-02", unknown, loose)
    assert lake.upgrade("bars", loose) == ["close"]
    lake.write("bars", "2024-02", unknown, loose)
    assert lake.read("bars").rows["close"].to_pylist() == [1.0, 1.0, None]
    assert lake.read_version(cited)["close"].to_pylist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ((*OLD.columns, replace(TRADES, nullable=False)), "no column trades, which is not nullable"),
        ((OLD.columns[0], TRADES, OLD.columns[1]), "the columns ts, close, which are to stay the first"),
        ((OLD.columns[0], TRADES), "other columns or types: close"),
        ((OLD.columns[0], replace(OLD.columns[1], type=pa.string()), TRADES), "other columns or types: close"),
    ],
)
def test_what_would_make_old_versions_unreadable_or_their_hashes_untrue_is_refused(
    lake: Lake, columns: tuple[Column, ...], told: str
) -> None:
    lake.write("bars", "2024-01", bars(1, 2), OLD)
    with pytest.raises(SchemaError, match=f"table bars is stored with {told}"):
        lake.upgrade("bars", replace(OLD, columns=columns))
    lake.write("bars", "2024-01", bars(1, 3), OLD)


def test_upgrades_at_once_add_the_column_once_and_lose_no_row(lake: Lake) -> None:
    lake.write("bars", "2024-01", bars(1, 2), OLD)
    barrier = Barrier(3)

    def upgrade_and_write(month: int) -> list[str]:
        own = Lake(lake.root)
        barrier.wait()
        added = own.upgrade("bars", NEW)
        own.write("bars", f"2024-0{month}", bars(month, 1, trades=month), NEW)
        return added

    with ThreadPoolExecutor(3) as pool:
        added = list(pool.map(upgrade_and_write, (2, 3, 4)))
    assert sorted(added) == [[], [], ["trades"]]
    assert lake.read("bars").rows["trades"].to_pylist() == [None, None, 2, 3, 4]
