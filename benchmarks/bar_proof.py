"""Eight checks on ten million bars: the proof of the contract of bars against what a desk would use instead.

Everyone gets the same rows in the form it likes best, built before the clock runs: text columns coded (Arrow
dictionaries, Polars and pandas categoricals, DuckDB enums), rows sorted by market and time. The checks: prices not
above zero, negative volume, high not highest, low not lowest, times off the grid, repeated bars, gaps, and returns
beyond 10 %. The project, DuckDB and the known defects agree on every count, the others on which checks fail.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit, prange

from benchmarks._bars import MINUTE, minutes, spoil
from benchmarks._harness import Claim, in_turns, ratio, report
from research_to_prod.market_data.bar_proof import count_violations
from research_to_prod.market_data.contracts import MARKET_KEY

MARKETS = 19
OUTLIER = 0.1
Counts = dict[str, int]


@njit(parallel=True)
def count_series(
    codes: npt.NDArray[np.int32], ts: npt.NDArray[np.int64], close: npt.NDArray[np.float64]
) -> tuple[int, int]:
    """Count gaps and outlying returns: rules about series, which the contract of bars doesn't have."""
    gaps = outliers = 0
    # Slices: an index that might be negative forbids vector code.
    market, time, price = codes[1:], ts[1:], close[1:]
    market_before, time_before, price_before = codes[:-1], ts[:-1], close[:-1]
    for i in prange(len(market)):
        same = market[i] == market_before[i]
        gaps += same & (time[i] - time_before[i] > MINUTE)
        outliers += same & (abs(price[i] / price_before[i] - 1.0) > OUTLIER)
    return gaps, outliers


def proof(bars: pa.Table) -> Callable[[], Counts]:
    def run() -> Counts:
        broken = count_violations(bars)
        codes, ts, close = (bars[name].chunk(0) for name in ("symbol", "ts", "close"))
        gaps, outliers = count_series(codes.indices.to_numpy(), ts.view(pa.int64()).to_numpy(), close.to_numpy())
        return {
            "positive": broken.prices_are_finite_positive,
            "volume": broken.volume_is_finite_not_negative,
            "high": broken.high_is_highest,
            "low": broken.low_is_lowest,
            "grid": broken.ts_is_on_grid,
            "unique": broken.unique_by_key,
            "gaps": gaps,
            "outliers": outliers,
        }

    return run


def duckdb_lag(bars: pa.Table) -> Callable[[], Counts]:
    connection = duckdb.connect()
    connection.register("incoming", bars)
    connection.execute("CREATE TYPE market AS ENUM (SELECT DISTINCT symbol::VARCHAR FROM incoming)")
    connection.execute(
        "CREATE TABLE bars AS SELECT symbol::VARCHAR::market AS symbol, epoch_us(ts) AS ts, "
        "open, high, low, close, volume FROM incoming"
    )
    query = f"""
        WITH ordered AS (
            SELECT *, lag(ts) OVER market AS before, lag(close) OVER market AS last
            FROM bars WINDOW market AS (PARTITION BY symbol ORDER BY ts)
        )
        SELECT
            count(*) FILTER (NOT (open > 0 AND high > 0 AND low > 0 AND close > 0)) AS positive,
            count(*) FILTER (NOT volume >= 0) AS volume,
            count(*) FILTER (NOT high >= greatest(open, low, close)) AS high,
            count(*) FILTER (NOT low <= least(open, high, close)) AS low,
            count(*) FILTER (ts % {MINUTE} <> 0) AS grid,
            count(*) FILTER (ts = before) AS "unique",
            count(*) FILTER (ts - before > {MINUTE}) AS gaps,
            count(*) FILTER (abs(close / last - 1) > {OUTLIER}) AS outliers
        FROM ordered
    """

    def run() -> Counts:
        return {name: int(count) for name, count in connection.execute(query).fetch_df().iloc[0].items()}

    return run


def pandera_polars(bars: pa.Table) -> Callable[[], set[str]]:
    import pandera.polars as pap
    import polars as pl

    frame = pl.from_arrow(bars.select(["symbol", "ts", "open", "high", "low", "close", "volume"]))
    symbol, ts, close = pl.col("symbol"), pl.col("ts"), pl.col("close")
    first = (symbol != symbol.shift(1)).fill_null(value=True)
    rules = {
        "high": pl.col("high") >= pl.max_horizontal("open", "low", "close"),
        "low": pl.col("low") <= pl.min_horizontal("open", "high", "close"),
        "grid": ts.dt.epoch("us") % MINUTE == 0,
        "gaps": first | (ts.diff().dt.total_microseconds() <= MINUTE),
        "outliers": first | ((close / close.shift(1) - 1).abs() <= OUTLIER),
    }
    positive = pap.Column(pl.Float64, pap.Check.gt(0))
    schema = pap.DataFrameSchema(
        dict.fromkeys(("open", "high", "low", "close"), positive) | {"volume": pap.Column(pl.Float64, pap.Check.ge(0))},
        checks=[
            pap.Check(lambda data, rule=rule: data.lazyframe.select(rule), name=name) for name, rule in rules.items()
        ],
        unique=["symbol", "ts"],
    )

    def run() -> set[str]:
        try:
            schema.validate(frame, lazy=True)
        except pap.errors.SchemaErrors as error:
            # It names the checks of columns and the key itself, whatever name they were given.
            own = {"greater_than(0)": "positive", "greater_than_or_equal_to(0)": "volume"}
            names = error.failure_cases["check"].unique()
            return {"unique" if "unique" in name else own.get(name, name) for name in names}
        return set()

    return run


def great_expectations(bars: pa.Table) -> Callable[[], set[str]]:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # it would call home
    import great_expectations as gx
    import great_expectations.expectations as gxe

    frame = bars.select(["symbol", "ts", "open", "high", "low", "close", "volume"]).to_pandas()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    batches = (
        context.data_sources.add_pandas("memory")
        .add_dataframe_asset("bars")
        .add_batch_definition_whole_dataframe("all")
    )

    def above(check: str, high: str, low: str) -> gxe.Expectation:
        return gxe.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A=high, column_B=low, or_equal=True, meta={"check": check}
        )

    def within(check: str, column: str, least: float, most: float | None, *, strict: bool = False) -> gxe.Expectation:
        return gxe.ExpectColumnValuesToBeBetween(
            column=column, min_value=least, max_value=most, strict_min=strict, meta={"check": check}
        )

    expectations = [
        *(within("positive", name, 0, None, strict=True) for name in ("open", "high", "low", "close")),
        within("volume", "volume", 0, None),
        *(above("high", "high", name) for name in ("open", "low", "close")),
        *(above("low", name, "low") for name in ("open", "high", "close")),
        within("grid", "off_grid", 0, 0),
        gxe.ExpectCompoundColumnsToBeUnique(column_list=["symbol", "ts"], meta={"check": "unique"}),
        within("gaps", "since_last", 0, MINUTE),
        within("outliers", "jump", 0, OUTLIER),
    ]
    suite = gx.ExpectationSuite("bars", expectations)

    def run() -> set[str]:
        # It has no check across rows, so those columns are part of the work.
        micros = frame["ts"].astype("int64")
        same = frame["symbol"].cat.codes.diff() == 0
        judged = frame.assign(
            off_grid=micros % MINUTE,
            since_last=micros.diff().where(same),
            jump=(frame["close"] / frame["close"].shift(1) - 1).abs().where(same),
        )
        result = batches.get_batch({"dataframe": judged}).validate(suite, result_format="BASIC")
        return {each.expectation_config.meta["check"] for each in result.results if not each.success}

    return run


def coded(bars: pa.Table) -> pa.Table:
    for name in MARKET_KEY:
        index = bars.column_names.index(name)
        bars = bars.set_column(index, name, bars[name].combine_chunks().dictionary_encode())
    return bars


def main() -> int:
    year = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 12, 31, tzinfo=UTC)
    texts, expected = spoil(minutes(MARKETS, *year).drop_columns(["repair"]), MARKETS)
    texts = texts.combine_chunks()
    bars = coded(texts)
    contestants: dict[str, Callable[[], object]] = {
        "bar_proof, coded text": proof(bars),
        "bar_proof, plain text": lambda: count_violations(texts),
        "DuckDB lag() window": duckdb_lag(bars),
        "pandera-polars": pandera_polars(bars),
        "great_expectations (pandas)": great_expectations(bars),
    }
    failing = {name for name, count in expected.items() if count}

    def check(name: str, found: object) -> None:
        if isinstance(found, dict):
            assert found == expected, f"{name} counted {found}, there are {expected}"
        if isinstance(found, set):
            assert found == failing, f"{name} found {found}, there are {failing}"

    seconds = in_turns(contestants, rounds=3, check=check)
    ours = "bar_proof, coded text"
    claims = [
        Claim("times faster than pandera-polars", ratio(seconds, "pandera-polars", ours), at_least=15),
        Claim("times faster than great_expectations", ratio(seconds, "great_expectations (pandas)", ours), at_least=40),
        Claim("times faster than DuckDB's lag() window", ratio(seconds, "DuckDB lag() window", ours), at_least=8),
    ]
    title = f"Eight checks on {bars.num_rows:,} bars of {MARKETS} markets; defects by check: {expected}"
    return report(title, seconds, claims, dict.fromkeys(seconds, bars.num_rows))


if __name__ == "__main__":
    sys.exit(main())
