"""A million fills against twenty million quotes at three times each, against pandas and DuckDB; and flat memory.

All start from what the lake holds: fills in the order of market and time, quotes a day a partition in the order of
market and time. For pandas that is resorted by time beforehand, as ``merge_asof`` wants; for DuckDB it is a table of
its own, and the three times are one long column, because one ASOF join of three million rows is three times faster
than three of one million. Neither knows an age limit, a sequence number or a reason; ours does all that beside.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date, timedelta

import duckdb
import numpy as np
import pyarrow as pa

from benchmarks._harness import Claim, Seconds, in_turns, peak_memory, ratio, report
from research_to_prod.attribution.quote_match import QuoteMatch, StoredQuotes, compile_ahead, match_quotes
from research_to_prod.execution.contracts import QUOTES
from research_to_prod.lake import Lake
from research_to_prod.values import day_bounds

MARKETS = [f"C{number}/USDT" for number in range(10)]
A_DAY = 1_000_000  # quotes of one market
PARENTS, FILLS = 5_000, 10  # orders of one market a day, and fills of each within a minute
DAYS = [(date(2026, 1, 5) + timedelta(days=number)).isoformat() for number in range(6)]
INSTANTS = ("decided_at", "acknowledged_at", "filled_at")
_TIME = pa.timestamp("us", tz="UTC")


def quotes_of(number: int) -> pa.Table:
    random, start = np.random.default_rng(number), day_bounds(DAYS[number])[0]
    parts = []
    for symbol in MARKETS:
        at = np.sort(random.integers(0, 86_400_000_000, A_DAY)) + int(start.timestamp()) * 1_000_000
        bid = np.round(100 * np.exp(np.cumsum(random.normal(0, 1e-5, A_DAY))), 2)
        columns = {"venue": pa.repeat("v", A_DAY), "symbol": pa.repeat(symbol, A_DAY), "quoted_at": pa.array(at, _TIME)}
        columns |= {"received_at": pa.array(at + 20_000, _TIME), "sequence": pa.array(np.arange(A_DAY))}
        sizes = {"bid_size": pa.repeat(1.0, A_DAY), "ask_size": pa.repeat(1.0, A_DAY)}
        parts.append(pa.table(columns | {"bid": bid, "ask": bid + 0.01} | sizes).select(QUOTES.arrow.names))
    return pa.concat_tables(parts)


def fills_of(days: int) -> pa.Table:
    """Return a million: parents decide at random times, and are filled within a minute after their arrival."""
    random, start = np.random.default_rng(99), int(day_bounds(DAYS[0])[0].timestamp()) * 1_000_000
    parts = []
    for symbol in MARKETS:
        decided = np.sort(random.integers(1_000, days * 86_400_000_000 - 120_000_000, PARENTS * 2)) + start
        arrived = decided + random.integers(5_000, 500_000, len(decided))
        filled = np.repeat(arrived, FILLS) + random.integers(1_000, 60_000_000, len(decided) * FILLS)
        order = np.argsort(filled, kind="stable")
        times = (np.repeat(decided, FILLS)[order], np.repeat(arrived, FILLS)[order], filled[order])
        names = {"venue": pa.repeat("v", len(filled)), "symbol": pa.repeat(symbol, len(filled))}
        parts.append(pa.table(names | {n: pa.array(t, _TIME) for n, t in zip(INSTANTS, times, strict=True)}))
    return pa.concat_tables(parts).combine_chunks()


def streamed(folder: str, days: int) -> float:
    """Match the fills against ``days`` of stored quotes; return the peak memory of this process, GB."""
    lake, fills = Lake(folder), fills_of(2)
    stored = StoredQuotes(lake, tuple(lake.version("quotes", day) for day in DAYS[:days]))
    match_quotes(fills, dict.fromkeys(INSTANTS, "quoted_at"), stored)
    return peak_memory()


def side_by_side(lake: Lake) -> tuple[Seconds, list[Claim]]:
    import pandas as pd

    fills = fills_of(2)
    stored = StoredQuotes(lake, tuple(lake.version("quotes", day) for day in DAYS[:2]))
    pieces = list(stored)
    quotes = pa.concat_tables(pieces).unify_dictionaries().select(["venue", "symbol", "quoted_at", "bid", "ask"])
    by_time = quotes.to_pandas().sort_values("quoted_at", kind="stable", ignore_index=True)
    asked = fills.to_pandas()
    for name in ("venue", "symbol"):
        asked[name] = asked[name].astype(by_time[name].dtype)
    by_time["market"], asked["market"] = (each["symbol"].cat.codes.astype("int32") for each in (by_time, asked))
    probes = {name: asked[["venue", "symbol", "market", name]].sort_values(name, kind="stable") for name in INSTANTS}

    connection = duckdb.connect()
    connection.register("q", quotes)
    connection.execute(
        "CREATE TABLE quotes AS SELECT venue::VARCHAR venue, symbol::VARCHAR symbol, * EXCLUDE (venue, symbol) FROM q"
    )
    connection.register("f", fills.append_column("row", pa.array(np.arange(fills.num_rows))))
    long = " UNION ALL ".join(
        f"SELECT row, {k} AS k, venue, symbol, {name} AS asked FROM f" for k, name in enumerate(INSTANTS)
    )
    connection.execute(f"CREATE TABLE probes AS {long}")

    def merged(by: list[str]) -> list[pd.DataFrame]:
        right = by_time[[*by, "quoted_at", "bid", "ask"]]
        return [
            pd.merge_asof(
                probes[name][[*by, name]], right, left_on=name, right_on="quoted_at", by=by, allow_exact_matches=False
            )
            for name in INSTANTS
        ]

    def joined() -> pa.Table:
        return connection.execute(
            "SELECT row, k, (bid + ask) / 2 AS mid FROM probes p ASOF LEFT JOIN quotes q "
            "ON p.venue = q.venue AND p.symbol = q.symbol AND p.asked > q.quoted_at"
        ).to_arrow_table()

    clocks = dict.fromkeys(INSTANTS, "quoted_at")
    # An age limit of a day for the comparison alone: the peers have none.
    ours, pandas, numbered, duck, read = (
        "ours", "pandas merge_asof x 3, by venue and symbol", "pandas merge_asof x 3, markets numbered beforehand",
        "DuckDB, one ASOF join", "ours, read from the lake's files too",
    )  # fmt: skip
    expected = match_quotes(fills, clocks, pieces, timedelta(days=1))

    def check(name: str, result: object) -> None:
        for k, instant in enumerate(INSTANTS):
            if isinstance(result, dict):
                assert isinstance(result[instant], QuoteMatch), name
                mids = result[instant].mid
            elif isinstance(result, list):
                frame = result[k].set_index(probes[instant].index).sort_index()
                mids = ((frame["bid"] + frame["ask"]) / 2).to_numpy()
            else:
                assert isinstance(result, pa.Table), name
                rows = result.filter(pa.compute.equal(result["k"], k)).sort_by("row")
                mids = rows["mid"].to_numpy()
            np.testing.assert_allclose(mids, expected[instant].mid, rtol=1e-15, err_msg=f"{name} {instant}")

    contestants = {
        ours: lambda: match_quotes(fills, clocks, pieces, timedelta(days=1)),
        pandas: lambda: merged(["venue", "symbol"]),
        numbered: lambda: merged(["market"]),
        duck: joined,
        read: lambda: match_quotes(fills, clocks, stored, timedelta(days=1)),
    }
    seconds = in_turns(contestants, 3, check)
    return seconds, [
        Claim("times faster than pandas", ratio(seconds, pandas, ours), at_least=8),
        Claim("times faster than DuckDB", ratio(seconds, duck, ours), at_least=8),
        Claim("times faster than pandas with markets numbered beforehand", ratio(seconds, numbered, ours)),
        Claim("with reading the files, times faster than DuckDB's own table", ratio(seconds, duck, read)),
    ]


def main() -> int:
    began = time.perf_counter()
    compile_ahead()
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(folder)
        for number, day in enumerate(DAYS):
            lake.write("quotes", day, quotes_of(number), QUOTES)
        peaks = []
        for days in (2, len(DAYS)):
            # A process each: the peak is this work's alone.
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                peaks.append(pool.submit(streamed, folder, days).result())
        seconds, claims = side_by_side(lake)
    claims += [
        Claim("peak memory streaming 20M quotes, GB", peaks[0]),
        Claim("peak memory streaming 60M quotes, in times of 20M", peaks[1] / peaks[0], at_most=1.1),
    ]
    title = f"1M fills at three times each against 20M quotes ({time.perf_counter() - began:.0f} s)"
    return report(title, seconds, claims, dict.fromkeys(seconds, 3_000_000))


if __name__ == "__main__":
    sys.exit(main())
