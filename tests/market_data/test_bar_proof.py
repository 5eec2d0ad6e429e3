"""The fast count and the contract of bars reach the same verdict on every rule, whatever the rows."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandera.errors import SchemaErrors

from research_to_prod.market_data.bar_contract import BarContract
from research_to_prod.market_data.bar_proof import Violations, count_violations
from research_to_prod.market_data.contracts import BAR_KEY, CANDLES, MARKET_KEY

DEFAULT = Path(__file__).resolve().parents[3] / "shared" / "market_data"
FOLDER = Path(os.environ.get("R2P_REAL_DATA") or DEFAULT) / "candles"

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NULLABLE = pa.schema([field.with_nullable(True) for field in CANDLES.arrow if field.name != "repair"])
GOOD: dict[str, Any] = {
    "venue": "v", "symbol": "A/B", "timeframe": "1h", "ts": EPOCH + timedelta(days=19_723),
    "open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "volume": 3.0,
}  # fmt: skip


def explained(bars: pa.Table) -> dict[str, int]:
    """Rows that pandera names under each rule."""
    counts = {field.name: 0 for field in fields(Violations)}
    try:
        BarContract.validate(bars.to_pandas(), lazy=True)
    except SchemaErrors as error:
        # A rule that could not be evaluated has no row: it would be counted under 0 rows, and differ.
        counts |= error.failure_cases.groupby("check")["index"].nunique().to_dict()
    return counts


def counted_as_explained(bars: pa.Table) -> dict[str, int]:
    """What the fast count must return: pandera names the first row of a repetition too, the count doesn't."""
    expected = explained(bars)
    if expected["unique_by_key"]:
        expected["unique_by_key"] = int(bars.to_pandas().duplicated(list(BAR_KEY)).sum())
    return expected


def as_dictionaries(bars: pa.Table) -> pa.Table:
    """The same bars with coded market columns, as Parquet readers and data frames hand them over."""
    for index, name in enumerate(MARKET_KEY):
        bars = bars.set_column(index, name, bars[name].dictionary_encode())
    return bars


def test_a_count_is_kept_for_each_rule_of_the_contract_and_for_nothing_else() -> None:
    assert {field.name for field in fields(Violations)} == {check.name for check in BarContract.to_schema().checks}


numbers = st.sampled_from([8.0, 9.0, 10.0, 11.0, 12.0, 0.0, -0.0, -1.0, 5e-324, math.nan, math.inf, -math.inf, None])
times = st.one_of(
    st.sampled_from([0, 1, 2, 2.5, 3, 24, 48, -1]).map(lambda hours: GOOD["ts"] + timedelta(hours=hours)),
    # Beyond 2**53 microseconds (year 2255) float64, in which the contract divides, no longer holds every microsecond.
    st.datetimes(datetime(1900, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.integers(2_400_000, 2_600_000).map(lambda hours: EPOCH + timedelta(hours=hours, microseconds=hours % 3)),
    st.none(),
)
rows = st.fixed_dictionaries(
    {
        "venue": st.sampled_from(["v", "w", "", None]),
        "symbol": st.sampled_from(["A/B", "B/A", "AA/B", "", None]),
        "timeframe": st.sampled_from(
            ["1h", "1m", "1d", "7h", "99999999d", "999999999d", "9999999999d", "bad", "", None]
        ),
        "ts": times,
    }
    | dict.fromkeys(("open", "high", "low", "close", "volume"), numbers)
)
good_rows = st.sampled_from([0, 1, 2, 3, 5]).map(lambda hour: GOOD | {"ts": GOOD["ts"] + timedelta(hours=hour)})


# pandera needs a tenth of a second for each example that breaks rules; each example holds many rows instead.
@settings(max_examples=40)
@given(st.lists(rows | good_rows, max_size=40), st.integers(0, 40))
def test_the_counts_are_those_of_the_contract(raw: list[dict[str, Any]], cut: int) -> None:
    bars = pa.Table.from_pylist(raw, schema=NULLABLE)
    expected = counted_as_explained(bars)
    assert asdict(count_violations(bars)) == expected
    pieces = pa.concat_tables([bars.slice(0, cut), as_dictionaries(bars.slice(cut)).cast(NULLABLE)])
    assert asdict(count_violations(pieces)) == expected
    coded = pa.concat_tables([as_dictionaries(bars.slice(0, cut)), as_dictionaries(bars.slice(cut))])
    assert asdict(count_violations(coded)) == expected


@settings(max_examples=30)
@given(st.lists(rows, min_size=2, max_size=12), st.randoms(use_true_random=False))
def test_repetitions_are_found_in_any_order(raw: list[dict[str, Any]], random: Any) -> None:
    doubled = [*raw, *raw]
    random.shuffle(doubled)
    bars = pa.Table.from_pylist(doubled, schema=NULLABLE)
    assert count_violations(bars).unique_by_key == bars.to_pandas().duplicated(list(BAR_KEY)).sum() >= len(raw)


def series(symbols: int, length: int) -> pa.Table:
    """Good bars of several markets, in order, longer than the pieces in which they are counted."""
    hours = [(symbol, hour) for symbol in range(symbols) for hour in range(length)]
    start = int(GOOD["ts"].timestamp()) * 10**6
    columns = {name: pa.array([GOOD[name]] * len(hours), NULLABLE.field(name).type) for name in GOOD}
    columns["symbol"] = pa.array([f"S{symbol}" for symbol, _ in hours])
    columns["ts"] = pa.array([start + hour * 3_600_000_000 for _, hour in hours]).cast(NULLABLE.field("ts").type)
    return pa.table(columns).cast(NULLABLE)


LONG = series(symbols=3, length=50_000)


@pytest.mark.parametrize("row", [0, 1, 65_535, 65_536, 99_999, 100_000, 149_999])
def test_a_defect_at_the_seam_of_two_pieces_or_markets_is_counted_once(row: int) -> None:
    assert count_violations(LONG).none
    repeated = pa.concat_tables([LONG.slice(0, row + 1), LONG.slice(row)])
    assert asdict(count_violations(repeated)) == asdict(Violations(0, 0, 0, 0, 0, 0, 1))
    low = LONG["low"].to_pylist()
    low[row] = 10.5
    broken = LONG.set_column(LONG.column_names.index("low"), "low", pa.array(low))
    assert asdict(count_violations(broken)) == asdict(Violations(0, 0, 0, 0, 0, 1, 0))


def test_bars_of_interleaved_or_recurring_markets_are_still_unique() -> None:
    by_time = LONG.slice(40_000, 20_000).sort_by("ts")
    assert count_violations(by_time).none
    recurring = pa.concat_tables([LONG.slice(0, 10), LONG.slice(60_000, 10), LONG.slice(10, 10)])
    assert count_violations(recurring).none
    again = pa.concat_tables([recurring, LONG.slice(5, 1)])
    assert count_violations(again).unique_by_key == 1


def test_no_rows_break_no_rule() -> None:
    assert count_violations(CANDLES.empty()).none


def test_columns_of_another_type_are_refused_not_counted() -> None:
    other = (
        LONG.slice(0, 1)
        .set_column(4, "open", pa.array(["10"]))
        .drop_columns("low")
        .append_column("low", pa.array([9], pa.int64()))
    )
    with pytest.raises(TypeError, match=r"open is string, declared double; low is int64, declared double"):
        count_violations(other)


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no real market data: R2P_REAL_DATA is not set and {DEFAULT} absent")
def test_the_counts_are_those_of_the_contract_on_every_file_of_real_candles() -> None:
    files = sorted(FOLDER.glob("*.parquet"))
    assert len(files) >= 30
    broken = []
    for file in files:
        bars = pq.read_table(file).select(NULLABLE.names).cast(NULLABLE)
        counts = asdict(count_violations(bars))
        assert counts == counted_as_explained(bars), file.name
        broken += [file.name for _ in range(any(counts.values()))]
    assert broken, "files with known defects are among them"
