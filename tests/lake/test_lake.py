"""The lake replaces partitions whole, keeps every version, and loses nothing to concurrent writers."""

import itertools
import json
import shutil
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from research_to_prod.lake import Lake, LakeError, Schema, SchemaError, Version, log
from research_to_prod.lake.schema import MONTH_OF_TS, TIMESTAMP, Column, PartitionBy

BARS = Schema(
    "one bar",
    (Column("ts", TIMESTAMP, "open time"), Column("close", pa.float64(), "last price")),
    key=("ts",),
    partition_by=MONTH_OF_TS,
)
WHOLE = Schema("numbers", (Column("n", pa.int64(), "number"),), key=("n",))


def bars(month: int, rows: int, close: float = 1.0) -> pa.Table:
    start = datetime(2024, month, 1, tzinfo=UTC)
    times = [start + timedelta(hours=hour) for hour in range(rows)]
    return pa.table({"ts": pa.array(times, TIMESTAMP), "close": pa.array([close] * rows, pa.float64())})


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    # A space: checkouts lie under such paths, and delta-rs percent-encodes the URIs it hands out.
    return Lake(tmp_path / "a lake")


def test_a_write_replaces_its_partition_and_no_other(lake: Lake) -> None:
    lake.write("bars", "2024-01", bars(1, 5), BARS)
    lake.write("bars", "2024-02", bars(2, 3), BARS)
    lake.write("bars", "2024-01", bars(1, 2, close=9.0), BARS)
    assert lake.read("bars", "2024-01").rows.column("close").to_pylist() == [9.0, 9.0]
    assert lake.read("bars", "2024-02").rows.num_rows == 3
    assert lake.read("bars").rows.num_rows == 5


def test_each_write_is_one_commit_that_names_its_content(lake: Lake) -> None:
    first = lake.write("bars", "2024-01", bars(1, 5), BARS)
    second = lake.write("bars", "2024-01", bars(1, 4), BARS)
    third = lake.write("bars", "2024-01", bars(1, 5), BARS)
    assert [second.version, third.version] == [first.version + 1, first.version + 2]
    assert third.content_sha256 == first.content_sha256 != second.content_sha256


def test_every_version_stays_readable(lake: Lake) -> None:
    first = lake.write("bars", "2024-01", bars(1, 5), BARS)
    lake.write("bars", "2024-01", bars(1, 2), BARS)
    lake.write("bars", "2024-02", bars(2, 1), BARS)
    assert lake.read_version(first).num_rows == 5
    assert lake.read("bars", version=first.version).versions == (first,)


def test_a_read_names_the_version_of_each_partition(lake: Lake) -> None:
    january = lake.write("bars", "2024-01", bars(1, 5), BARS)
    february = lake.write("bars", "2024-02", bars(2, 5), BARS)
    assert lake.read("bars").versions == (january, february)
    assert lake.version("bars", "2024-01") == january


def test_the_history_of_a_partition_is_all_of_its_versions_and_no_others(lake: Lake) -> None:
    written = [
        lake.write("bars", f"2024-0{month}", bars(month, rows), BARS) for month, rows in ((1, 2), (2, 3), (1, 4))
    ]
    assert lake.history("bars", "2024-01") == (written[0], written[2])
    assert lake.history("bars", "2024-02") == (written[1],)
    assert lake.history("bars", "2024-03") == ()


def test_a_version_whose_files_are_gone_is_an_error_that_names_it(lake: Lake) -> None:
    version = lake.write("bars", "2024-01", bars(1, 2), BARS)
    (file,) = Path(lake.root).glob("bars/partition=*/*.parquet")
    for damage in (lambda: file.write_bytes(b"PAR1 and no more"), file.unlink):
        damage()
        with pytest.raises(LakeError, match="bars 2024-01 version 1 cannot be read"):
            lake.read_version(version)


def test_an_empty_partition_was_written_and_has_no_rows(lake: Lake) -> None:
    lake.write("bars", "2024-01", bars(1, 5), BARS)
    empty = lake.write("bars", "2024-01", bars(1, 0), BARS)
    assert empty.rows == 0
    assert lake.read("bars", "2024-01").rows.num_rows == 0
    assert lake.relation("bars", ["2024-01"]).fetchall() == []


MARKETS = Schema(
    "one bar of a market",
    (Column("symbol", pa.string(), "market"), *BARS.columns),
    key=("symbol", "ts"),
    partition_by=MONTH_OF_TS,
)


def test_one_market_of_a_partition_can_be_read_alone(lake: Lake) -> None:
    # More rows than a row group holds, so that some groups are skipped and one is cut.
    rows = pa.concat_tables(
        [bars(1, 700, close).append_column("symbol", pa.repeat(f"S{close}", 700)) for close in range(200)]
    )
    version = lake.write("markets", "2024-01", rows, MARKETS)
    whole = lake.read("markets", "2024-01").rows
    for symbol in ("S0", "S99", "S101"):
        found = lake.read("markets", "2024-01", where={"symbol": symbol})
        assert found.rows == whole.filter(pc.equal(whole["symbol"], symbol))
        assert found.rows.num_rows == 700
        assert found.versions == (version,)
    assert lake.read("markets", where={"symbol": "none"}).rows.num_rows == 0
    with pytest.raises(LakeError, match="can be chosen by symbol, ts; not by close"):
        lake.read("markets", where={"close": "1"})


def test_rows_that_another_tool_stored_out_of_order_are_read_in_key_order(lake: Lake) -> None:
    lake.write("bars", "2024-01", bars(1, 3), BARS)
    (path,) = Path(lake.root).glob("bars/partition=2024-01/*.parquet")
    pq.write_table(bars(1, 3).take(pa.array([2, 0, 1])), path)
    assert lake.read("bars", "2024-01").rows.to_pylist() == bars(1, 3).to_pylist()


def test_a_lake_sees_what_others_write(lake: Lake) -> None:
    other = Lake(lake.root)
    lake.write("bars", "2024-01", bars(1, 5), BARS)
    for rows in (4, 3, 2):
        version = other.write("bars", "2024-01", bars(1, rows), BARS)
        assert lake.version("bars", "2024-01") == version
        assert lake.read("bars", "2024-01").rows.num_rows == rows


def test_a_table_that_was_deleted_or_made_anew_is_not_read_from_memory(lake: Lake) -> None:
    for _ in range(3):
        lake.write("bars", "2024-01", bars(1, 5), BARS)
    shutil.rmtree(f"{lake.root}/bars")
    assert not lake.has("bars", "2024-01")
    with pytest.raises(LakeError, match="has no table 'bars'"):
        lake.read("bars")
    other = Lake(lake.root)
    for month in (2, 3, 4, 5, 6):
        anew = other.write("bars", f"2024-{month:02}", bars(month, 2), BARS)
    assert lake.version("bars", "2024-06") == anew
    assert not lake.has("bars", "2024-01")


def test_threads_do_not_see_each_others_handles_move(lake: Lake) -> None:
    lake.write("bars", "2024-01", bars(1, 1, close=0), BARS)

    def work(number: int) -> list[bool]:
        if number == 0:
            return [
                lake.write("bars", "2024-01", bars(1, 1 + turn, close=turn), BARS).rows > 0 for turn in range(1, 25)
            ]
        reads = (lake.read("bars", "2024-01") for _ in range(60))
        return [read.rows.num_rows == read.versions[0].rows for read in reads]

    with ThreadPoolExecutor(4) as pool:
        assert all(itertools.chain.from_iterable(pool.map(work, range(4))))


def walked(table: str, delta: DeltaTable) -> dict[str | None, Version]:
    """The versions of a table read from each of its commits, summaries ignored."""
    found: dict[str | None, Version] = {}
    for path in sorted(Path(delta.table_uri.removeprefix("file://").replace("%20", " ")).glob("_delta_log/*.json")):
        commit = next(
            json.loads(line).get("commitInfo", {}) for line in path.read_text().splitlines() if "commitInfo" in line
        )
        if int(path.stem) <= delta.version() and "r2p.commit_id" in commit:
            partition = commit["r2p.partition"] or None
            found[partition] = Version(
                table, partition, int(path.stem), commit["r2p.content_sha256"], int(commit["r2p.rows"])
            )
    return found


def test_summaries_tell_of_every_version_what_its_commits_tell(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_STRIDE", 4)
    uri = f"{lake.root}/bars"
    for turn in range(18):
        lake.write("bars", f"2024-{1 + turn * turn % 5:02}", bars(1 + turn * turn % 5, 1 + turn), BARS)
        if turn in (3, 9, 10):  # other tools commit too, and may take the number at which a summary was due
            DeltaTable(uri).optimize.compact()
            DeltaTable(uri).alter.set_table_properties({"delta.logRetentionDuration": f"interval {turn} days"})
    newest = DeltaTable(uri).version()
    summaries = [path for path in Path(uri).glob("_delta_log/*.json") if "r2p.summary" in path.read_text()]
    assert len(summaries) >= 3
    for version in range(newest + 1):
        delta = DeltaTable(uri, version=version)
        assert log.versions("bars", delta) == walked("bars", delta), version


def test_a_new_process_opens_few_commits_of_a_long_log(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_STRIDE", 5)
    for turn in range(23):
        lake.write("bars", f"2024-{1 + turn % 12:02}", bars(1 + turn % 12, 1), BARS)
    opened: list[int] = []
    read = log._read
    monkeypatch.setattr(log, "_read", lambda uri, version: opened.append(version) or read(uri, version))
    log._commit.cache_clear()
    assert len(log.versions("bars", DeltaTable(f"{lake.root}/bars"))) == 12
    assert len(opened) <= 6


def test_a_partition_never_written_is_an_error_not_an_empty_answer(lake: Lake) -> None:
    with pytest.raises(LakeError, match="has no table 'bars'"):
        lake.read("bars")
    lake.write("bars", "2024-01", bars(1, 5), BARS)
    with pytest.raises(LakeError, match="no partition 2024-03, 2024-04"):
        lake.read("bars", ["2024-03", "2024-04"])
    assert lake.has("bars", "2024-01")
    assert not lake.has("bars", "2024-03")


def test_refused_rows_leave_the_partition_as_it_was(lake: Lake) -> None:
    kept = lake.write("bars", "2024-01", bars(1, 5), BARS)
    with pytest.raises(SchemaError, match="outside partition"):
        lake.write("bars", "2024-01", bars(2, 5), BARS)
    assert lake.version("bars", "2024-01") == kept
    assert lake.read("bars", "2024-01").rows.num_rows == 5


def test_a_table_keeps_its_columns(lake: Lake) -> None:
    lake.write("numbers", None, pa.table({"n": [1]}), WHOLE)
    other = Schema("numbers", (Column("n", pa.float64(), "number"),), key=("n",))
    with pytest.raises(SchemaError, match="stored with other columns or types: n"):
        lake.write("numbers", None, pa.table({"n": [1.0]}), other)


def test_an_unpartitioned_table_is_replaced_whole(lake: Lake) -> None:
    lake.write("numbers", None, pa.table({"n": [1, 2, 3]}), WHOLE)
    lake.write("numbers", None, pa.table({"n": [4]}), WHOLE)
    assert lake.read("numbers").rows.column("n").to_pylist() == [4]


@pytest.mark.parametrize("name", ["../x", "", "a'b", "a b", "ü", "x/../../y", "A"])
def test_hostile_table_names_touch_nothing(lake: Lake, name: str) -> None:
    with pytest.raises(LakeError, match="table name"):
        lake.write(name, None, pa.table({"n": [1]}), WHOLE)
    assert not Path(lake.root).exists()


def test_changed_files_are_noticed_by_their_hash(lake: Lake) -> None:
    version = lake.write("bars", "2024-01", bars(1, 5), BARS)
    table = DeltaTable(f"{lake.root}/bars", version=version.version)
    (path,) = (Path(lake.root) / "bars" / "partition=2024-01").glob("*.parquet")
    forged = Lake(Path(lake.root).parent / "other")
    forged.write("bars", "2024-01", bars(1, 5, close=2.0), BARS)
    (other,) = (Path(forged.root) / "bars" / "partition=2024-01").glob("*.parquet")
    path.write_bytes(other.read_bytes())
    assert table.version() == version.version
    with pytest.raises(LakeError, match="stored files were changed"):
        lake.read_version(version)


def test_sql_sees_the_current_rows_with_bound_values(lake: Lake) -> None:
    lake.write("bars", "2024-01", bars(1, 5), BARS)
    lake.write("bars", "2024-01", bars(1, 3, close=7.0), BARS)
    since = datetime(2024, 1, 1, 1, tzinfo=UTC)
    assert lake.sql("SELECT count(*) AS n, sum(close) AS s FROM bars WHERE ts >= ?", [since]).to_pylist() == [
        {"n": 2, "s": 14.0}
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "COPY (SELECT 1) TO '/tmp/r2p-escape.csv'",
        "ATTACH '/tmp/r2p-escape.duckdb'",
        "SET enable_external_access = true",
        "SELECT * FROM glob('/etc/*')",
    ],
)
def test_sql_cannot_leave_the_lake(lake: Lake, statement: str) -> None:
    lake.write("bars", "2024-01", bars(1, 5), BARS)
    with pytest.raises(duckdb.Error):
        lake.sql(statement)


def test_a_relation_is_lazy_and_covers_only_the_partitions_asked_for(lake: Lake) -> None:
    lake.write("bars", "2024-01", bars(1, 5), BARS)
    lake.write("bars", "2024-02", bars(2, 7), BARS)
    relation = lake.relation("bars", ["2024-02"])
    assert relation.columns == ["ts", "close"]
    assert relation.aggregate("count(*)").fetchone() == (7,)


WRITER = """
    import sys
    from datetime import UTC, datetime, timedelta
    import pyarrow as pa
    from research_to_prod.lake import Lake, Schema
    from research_to_prod.lake.schema import MONTH_OF_TS, TIMESTAMP, Column

    schema = Schema(
        "one bar", (Column("ts", TIMESTAMP, "t"), Column("close", pa.float64(), "c")), ("ts",), MONTH_OF_TS
    )
    root, month, marker, times = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    start = datetime(2024, month, 1, tzinfo=UTC)
    lake = Lake(root)
    stamps = pa.array([start + timedelta(hours=hour) for hour in range(100)], TIMESTAMP)
    for turn in range(times):
        closes = pa.array([marker + turn] * 100, pa.float64())
        version = lake.write("bars", f"2024-{month:02d}", pa.table({"ts": stamps, "close": closes}), schema)
        print(version.version, version.content_sha256)
        # What this process follows must be what the storage says, whoever won the races before.
        mine = {each.partition: each for each in lake.read("bars", version=version.version).versions}
        assert mine[f"2024-{month:02d}"] == version
        followed, opened = lake._open("bars"), Lake(root)._open("bars", None)
        opened.load_as_version(followed.version())
        assert sorted(followed.file_uris()) == sorted(opened.file_uris())
"""


@pytest.mark.slow
def test_processes_writing_at_once_lose_and_double_nothing(lake: Lake) -> None:
    """Two fight over one partition from its first write on, a third writes another partition of the same table."""
    turns = 12
    jobs = [("1", "1000"), ("1", "2000"), ("2", "3000")]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), lake.root, month, marker, str(turns)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for month, marker in jobs
    ]
    acknowledged = [line.split() for writer in writers for line in writer.communicate()[0].splitlines()]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert len({version for version, _ in acknowledged}) == 3 * turns, "every acknowledged commit has its own version"
    for month in ("2024-01", "2024-02"):
        rows = lake.read("bars", month).rows
        assert rows.num_rows == 100
        assert len(set(rows.column("close").to_pylist())) == 1, "rows of two writers are mixed"
    assert lake.read("bars", "2024-02").rows.column("close").to_pylist()[0] == 3000.0 + turns - 1
    for version, content in acknowledged:
        as_of = lake.read("bars", version=int(version)).versions
        assert content in {each.content_sha256 for each in as_of}


def test_writers_that_create_a_table_at_once_make_one_table(tmp_path: Path) -> None:
    def write(root: Path, barrier: Barrier, month: int) -> int:
        barrier.wait()
        return Lake(root).write("bars", f"2024-0{month}", bars(month, 1), BARS).version

    for attempt in range(12):  # a creation lost the race in a third of the tries
        root, barrier = tmp_path / str(attempt), Barrier(3)
        with ThreadPoolExecutor(3) as writers:
            made = list(writers.map(write, [root] * 3, [barrier] * 3, [1, 2, 3]))
        assert sorted(made) == [1, 2, 3]


def test_a_commit_made_between_opening_and_writing_is_survived(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The race made certain: another writer replaces the same partition after we opened the table."""
    lake.write("bars", "2024-01", bars(1, 5), BARS)
    original = Lake._open_or_create
    rival = Lake(lake.root)
    raced = []

    def open_then_lose(self: Lake, table: str, schema: Schema) -> DeltaTable:
        opened = original(self, table, schema)
        if self is lake and not raced:
            raced.append(rival.write("bars", "2024-01", bars(1, 4, close=2.0), BARS))
        return opened

    monkeypatch.setattr(Lake, "_open_or_create", open_then_lose)
    mine = lake.write("bars", "2024-01", bars(1, 3, close=3.0), BARS)
    assert lake.read("bars", "2024-01").rows.column("close").to_pylist() == [3.0] * 3
    assert mine.version > raced[0].version


@pytest.mark.slow
def test_the_cost_of_a_partition_does_not_grow_with_their_number(lake: Lake) -> None:
    """A table of 250 partitions against one of 10, taken in turns; costs that grow with the number would be 25 to 1."""
    day = Schema("one bar", BARS.columns, key=("ts",), partition_by=PartitionBy("ts", "%Y-%m-%d"))
    start = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())
    rows = {
        f"{datetime.fromtimestamp(first, UTC):%Y-%m-%d}": pa.table(
            {"ts": pa.array(np.arange(first, first + 86_400, 4) * 10**6).cast(TIMESTAMP), "close": np.arange(21_600.0)}
        )
        for first in range(start, start + 250 * 86_400, 86_400)
    }
    for number, (key, each) in enumerate(rows.items()):
        for table in ["many"] if number >= 10 else ["few", "many"]:
            lake.write(table, key, each.slice(0, 1), day)
    ratios: dict[str, list[float]] = {"write": [], "read": []}
    for key in list(rows)[:10] * 3:
        took: dict[tuple[str, str], float] = {}
        for table in ("few", "many"):
            for what in ratios:
                began = time.perf_counter()
                lake.write(table, key, rows[key], day) if what == "write" else lake.read(table, key)
                took[what, table] = time.perf_counter() - began
        for what, each in ratios.items():
            each.append(took[what, "many"] / took[what, "few"])
    medians = {what: float(np.median(each)) for what, each in ratios.items()}
    assert max(medians.values()) <= 2, medians


def test_a_commit_by_other_tools_is_not_taken_for_a_version(lake: Lake) -> None:
    version = lake.write("bars", "2024-01", bars(1, 5), BARS)
    DeltaTable(f"{lake.root}/bars").optimize.compact()
    write_deltalake(f"{lake.root}/foreign", pa.table({"n": [1]}))
    assert lake.version("bars", "2024-01") == version
    assert lake.read_version(version).num_rows == 5
