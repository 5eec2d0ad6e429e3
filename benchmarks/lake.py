"""The lake against plain files and DuckDB's own table: ten million bars in, a day again, one market out, and flatness.

The peers do less: no versions, no content hash, no check of columns, order and keys. The ratios say what those cost.
"""

from __future__ import annotations

import itertools
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks._bars import TIMEFRAME, VENUE, minutes, symbols
from benchmarks._harness import Claim, Seconds, in_turns, peak_memory, ratio, report
from research_to_prod.lake import Lake, PartitionBy, Schema
from research_to_prod.lake.change import Span
from research_to_prod.market_data.certificates import issue
from research_to_prod.market_data.contracts import (
    CANDLE_QUARANTINE,
    CANDLES,
    MARKET_FINDINGS,
    MARKET_QUALITY,
    RAW_CANDLES,
)
from research_to_prod.market_data.examination import examine
from research_to_prod.market_data.findings import findings_table
from research_to_prod.market_data.quality import profile
from research_to_prod.market_data.quality_policy import load_quality_policy
from research_to_prod.market_data.quarantine import split
from research_to_prod.market_data.series import read_series
from research_to_prod.market_data.universe import MarketSpec
from research_to_prod.settings import Settings
from research_to_prod.values import month_bounds

MARKETS = 19
YEAR = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 12, 31, tzinfo=UTC)
MONTHS = [f"2024-{month:02}" for month in range(1, 13)]
MONTH, DAY = "2024-06", datetime(2024, 6, 15, tzinfo=UTC)
AFTER = datetime(2025, 1, 1, tzinfo=UTC)

# The rows of CANDLES, but a partition a day, as the tables of trades and quotes are stored.
DAILY = Schema(CANDLES.description, CANDLES.columns, CANDLES.key, PartitionBy("ts", "%Y-%m-%d"))


def between(bars: pa.Table, start: datetime, stop: datetime) -> pa.Table:
    ts = bars["ts"]
    return bars.filter(pc.and_(pc.greater_equal(ts, start), pc.less(ts, stop))).combine_chunks()


def bulk_and_reads(bars: pa.Table, folder: Path) -> tuple[Seconds, list[Claim]]:
    """Time ten million bars into the lake, a day again, and one market of a month out."""
    import polars as pl

    frame = pl.from_arrow(bars)
    months = {month: between(bars, *month_bounds(month)) for month in MONTHS}
    fresh = (Lake(folder / f"lake-{number}") for number in itertools.count())
    lakes: list[Lake] = []

    def lake_bulk() -> None:
        lakes.append(next(fresh))
        for month, rows in months.items():
            lakes[-1].write("candles", month, rows, CANDLES)

    bulk = in_turns(
        {
            "10M bars: lake, 12 months": lake_bulk,
            "10M bars: polars, one zstd file": lambda: frame.write_parquet(folder / "bars.parquet", compression="zstd"),
        },
        rounds=3,
    )

    lake = lakes[-1]
    connection = duckdb.connect(folder / "bars.duckdb")
    connection.execute("CREATE TABLE bars AS FROM bars")
    days = [(start, start + timedelta(days=1)) for start in (DAY + timedelta(days=number) for number in range(8))]
    fetched = {span: between(months[MONTH], *span) for span in days}

    def duckdb_day(span: Span) -> None:
        connection.register("incoming", fetched[span])
        connection.execute("BEGIN")
        connection.execute("DELETE FROM bars WHERE ts >= ? AND ts < ?", list(span))
        connection.execute("INSERT INTO bars FROM incoming")
        connection.execute("COMMIT")

    def lake_month(span: Span) -> None:
        # What a pipeline does that makes its month anew and doesn't know which day is another.
        rows = lake.read("candles", MONTH).rows
        kept = pc.or_(pc.less(rows["ts"], span[0]), pc.greater_equal(rows["ts"], span[1]))
        lake.write("candles", MONTH, pa.concat_tables([rows.filter(kept), fetched[span]]), CANDLES)

    def each_day(again: Callable[[Span], object]) -> Callable[[], object]:
        # Another day each round: nobody meets a file, or rows at the end of a table, that the round before left him.
        left = iter(days)
        return lambda: again(next(left))

    again = in_turns(
        {
            "a day again: lake, partition a day": each_day(
                lambda span: lake.write("candles_daily", f"{span[0]:%Y-%m-%d}", fetched[span], DAILY)
            ),
            "a day again: lake, in its month": each_day(
                lambda span: lake.write_span("candles", MONTH, span, fetched[span], CANDLES)
            ),
            "a day again: lake, its month read and written": each_day(lake_month),
            "a day again: DuckDB delete + insert": each_day(duckdb_day),
        },
        rounds=len(days) - 1,
    )
    assert lake.read("candles", MONTH).rows == months[MONTH], "the month is not what it was"

    symbol = symbols(MARKETS)[7]
    query = "FROM bars WHERE symbol = ? AND ts >= ? AND ts < ?"

    def same_rows(name: str, rows: object) -> None:
        assert isinstance(rows, pa.Table), name
        assert rows.num_rows == months[MONTH].num_rows // MARKETS, f"{name} read {rows.num_rows} rows"

    reads = in_turns(
        {
            "a market's month: lake": lambda: lake.read("candles", MONTH, where={"symbol": symbol}).rows,
            "a market's month: DuckDB table": lambda: connection.execute(
                query, [symbol, *month_bounds(MONTH)]
            ).to_arrow_table(),
        },
        rounds=15,
        check=same_rows,
    )
    connection.close()
    seconds = bulk | again | reads
    lake_day, month_day, month_again, duck_day = again
    lake_read, duck_read = reads
    return seconds, [
        Claim("10M bars into the lake, in times of polars' one file", ratio(bulk, *bulk), at_most=2.5),
        Claim("a day again in its month, in times of DuckDB", ratio(again, month_day, duck_day), at_most=5),
        Claim("a day again by writing its month, in times of DuckDB", ratio(again, month_again, duck_day)),
        Claim("a day again in a partition a day, in times of DuckDB", ratio(again, lake_day, duck_day), at_most=5),
        Claim("one market's month out, in times of DuckDB", ratio(reads, lake_read, duck_read), at_most=3),
    ]


def whole_month(folder: str) -> tuple[Seconds, float]:
    """Time a month of 20 markets judged, profiled and written against the writing alone; return the peak memory too.

    Each turn has a lake of its own: a month that is there already would not be written again.
    """
    names = symbols(20)
    bars = minutes(20, *month_bounds(MONTH))
    raw = bars.drop_columns(["repair"]).append_column("fetch_id", pa.repeat("f" * 64, bars.num_rows))
    rows = np.tile(np.arange(bars.num_rows // 20), 20)
    raw = raw.append_column("page", pa.array(rows // 1000)).append_column("row", pa.array(rows % 1000))
    raw = raw.select(RAW_CANDLES.arrow.names).cast(RAW_CANDLES.arrow)
    specs = [MarketSpec(venue=VENUE, symbol=name, timeframe=TIMEFRAME, since=YEAR[0]) for name in names]
    policy = load_quality_policy(Settings().desk / "policies" / "market_quality.yaml")
    proofs = [
        issue(
            venue=VENUE,
            endpoint="klines",
            scope=f"{name} {TIMEFRAME}",
            interval=month_bounds(MONTH),
            bodies=[],
            rows=len(rows) // 20,
            terminal="end_reached",
        )
        for name in names
    ]
    lakes = (Lake(f"{folder}/{number}") for number in itertools.count())

    def pipeline() -> None:
        lake = next(lakes)
        judged = split(raw)
        series = read_series(judged.accepted, specs, MONTH, AFTER)
        quality = profile(series, judged.rejected, MONTH, proofs, policy)
        findings = examine(series, raw, judged.rejected, MONTH, AFTER, proofs, policy)
        lake.write("candles", MONTH, judged.accepted, CANDLES)
        lake.write("candle_quarantine", MONTH, judged.rejected, CANDLE_QUARANTINE)
        lake.write("market_quality", MONTH, quality, MARKET_QUALITY)
        lake.write("market_findings", MONTH, findings_table(findings, MONTH), MARKET_FINDINGS)

    seconds = in_turns(
        {
            "a month of 20 markets: judged, profiled, examined, written": pipeline,
            "a month of 20 markets: written": lambda: next(lakes).write("candles", MONTH, bars, CANDLES),
        },
        rounds=7,
    )
    return seconds, peak_memory()


def flatness(day: pa.Table, folder: Path) -> tuple[Seconds, list[Claim]]:
    """Time one partition of tables that have 10, 100 and 1,000 of them."""
    days = [DAY + timedelta(days=number) for number in range(1000)]
    tables = {10: "ten", 100: "hundred", 1000: "thousand"}
    lake = Lake(folder / "flat")
    first = day.slice(0, 1)
    for count, name in tables.items():
        for each in days[:count]:
            moved = first.set_column(3, day.schema.field("ts"), pa.array([each], day.schema.field("ts").type))
            lake.write(name, f"{each:%Y-%m-%d}", moved, DAILY)
    key = f"{DAY:%Y-%m-%d}"

    def contestants() -> Iterator[tuple[str, object]]:
        for count, name in tables.items():
            yield f"write a day, of {count:,}", lambda name=name: lake.write(name, key, day, DAILY)
            yield f"read a day, of {count:,}", lambda name=name: lake.read(name, key)
            yield f"read a day, of {count:,}, handle opened anew", lambda name=name: Lake(lake.root).read(name, key)

    seconds = in_turns(dict(contestants()), rounds=21)
    return seconds, [
        Claim(
            f"{what}, of 1,000 partitions in times of 10",
            ratio(seconds, f"{what}, of 1,000", f"{what}, of 10"),
            at_most=2,
        )
        for what in ("write a day", "read a day")
    ] + [
        Claim(
            "read a day with the handle opened anew, of 1,000 partitions in times of 10",
            ratio(seconds, "read a day, of 1,000, handle opened anew", "read a day, of 10, handle opened anew"),
        )
    ]


def main() -> int:
    began = time.perf_counter()
    bars = minutes(MARKETS, *YEAR)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds, claims = bulk_and_reads(bars, folder)
        day = between(bars, DAY, DAY + timedelta(days=1))
        rows = bars.num_rows
        del bars
        flat, flat_claims = flatness(day, folder)
        # A process of its own: the peak is this work's alone.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            month, peak = pool.submit(whole_month, str(folder / "month")).result()
    whole, alone = month
    claims += [
        Claim("a month judged, profiled and written, in times of the writing", ratio(month, whole, alone), at_most=3),
        Claim("its peak memory, GB", peak, at_most=1.5),
        *flat_claims,
    ]
    units = {name: rows for name in seconds if name.startswith("10M")}
    took = time.perf_counter() - began
    return report(f"The lake, {rows:,} bars of {MARKETS} markets ({took:.0f} s)", seconds | month | flat, claims, units)


if __name__ == "__main__":
    sys.exit(main())
