"""A schema accepts exactly the declared columns, and names everything that is wrong otherwise."""

import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.lake.schema import (
    DECIMAL,
    MONTH_OF_TS,
    TIMESTAMP,
    Column,
    PartitionBy,
    Schema,
    SchemaError,
    ascends,
    in_order,
)

BARS = Schema(
    "one bar",
    (
        Column("symbol", pa.string(), "market"),
        Column("ts", TIMESTAMP, "open time"),
        Column("open", pa.float64(), "first price"),
        Column("close", pa.float64(), "last price"),
        Column("note", pa.string(), "remark", nullable=True),
    ),
    key=("symbol", "ts"),
    partition_by=MONTH_OF_TS,
)
JANUARY = datetime(2024, 1, 1, tzinfo=UTC)


def bars(**changes: object) -> pa.Table:
    columns: dict[str, object] = {
        "symbol": pa.array(["B", "A"]),
        "ts": pa.array([JANUARY, JANUARY], TIMESTAMP),
        "open": pa.array([1.0, 2.0]),
        "close": pa.array([3.0, 4.0]),
        "note": pa.array([None, None], pa.string()),
    }
    columns.update(changes)
    return pa.table({name: column for name, column in columns.items() if column is not None})


def test_columns_are_matched_by_name_not_by_position() -> None:
    swapped = bars().select(["close", "note", "open", "ts", "symbol"])
    conformed = BARS.conform(swapped, "2024-01")
    assert conformed.column_names == ["symbol", "ts", "open", "close", "note"]
    assert conformed.column("open").to_pylist() == [2.0, 1.0]


def test_rows_come_out_in_key_order() -> None:
    assert BARS.conform(bars(), "2024-01").column("symbol").to_pylist() == ["A", "B"]


keys = st.tuples(st.sampled_from(["", "A", "AA", "B"]) | st.none(), st.integers(-2, 2))


@given(st.lists(keys, max_size=6), st.booleans(), st.integers(0, 6))
def test_only_rows_whose_keys_ascend_strictly_are_taken_for_sorted_and_unique(
    rows: list[tuple[str | None, int]], presorted: bool, cut: int
) -> None:
    if presorted:
        rows = sorted(set(rows), key=lambda row: (row[0] is not None, row[0] or "", row[1]))
    table = pa.table(
        {"name": pa.array([name for name, _ in rows], pa.string()), "n": pa.array([n for _, n in rows], pa.int64())}
    )
    pieces = pa.concat_tables([table.slice(0, cut), table.slice(cut)])
    strict = (
        all(one < other for one, other in itertools.pairwise(rows))
        if all(name is not None for name, _ in rows)
        else None
    )
    assert ascends(pieces, ("name", "n")) == (strict if strict is not None else len(rows) < 2)
    ordered = in_order(pieces, ("name", "n"))
    assert ordered == table.sort_by([("name", "ascending"), ("n", "ascending")])


def test_a_key_of_floats_is_never_taken_for_sorted() -> None:
    assert not ascends(pa.table({"n": [1.0, 2.0]}), ("n",))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"volume": pa.array([1.0, 2.0])}, "unknown column 'volume'"),
        ({"close": None}, "missing column 'close'"),
        ({"close": pa.array(["3", "4"])}, "column 'close' is string, declared double"),
        ({"ts": pa.array([JANUARY.replace(tzinfo=None)] * 2, pa.timestamp("us"))}, "column 'ts'"),
        ({"open": pa.array([1.0, None])}, "column 'open' has 1 nulls"),
        ({"symbol": pa.array(["A", "A"])}, "1 rows repeat the key symbol, ts"),
        ({"ts": pa.array([JANUARY, JANUARY + timedelta(days=31)], TIMESTAMP)}, "1 rows lie outside partition"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, object], named: str) -> None:
    with pytest.raises(SchemaError, match=named.replace("(", r"\(")):
        BARS.conform(bars(**changes), "2024-01")


def test_all_faults_are_listed_at_once() -> None:
    with pytest.raises(SchemaError, match=r"unknown column .volume.*missing column .close"):
        BARS.conform(bars(close=None, volume=pa.array([1.0, 2.0])), "2024-01")


def test_a_missing_price_in_a_data_frame_is_a_null_and_refused() -> None:
    frame = bars().to_pandas()
    frame.loc[0, "close"] = float("nan")
    with pytest.raises(SchemaError, match="column 'close' has 1 nulls"):
        BARS.conform(frame, "2024-01")


def test_integers_widen_and_never_narrow() -> None:
    counts = Schema("counts", (Column("n", pa.int64(), "count"),), key=("n",))
    assert counts.conform(pa.table({"n": pa.array([1], pa.int32())}), None).column("n").type == pa.int64()
    with pytest.raises(SchemaError, match="column 'n'"):
        counts.conform(pa.table({"n": pa.array([1.5])}), None)


def test_a_decimal_that_would_lose_digits_is_refused() -> None:
    money = Schema("money", (Column("amount", DECIMAL, "amount"),), key=("amount",))
    fine = pa.table({"amount": pa.array([Decimal("1.123456789012345678")])})
    assert money.conform(fine, None).column("amount").to_pylist() == [Decimal("1.123456789012345678")]
    with pytest.raises(SchemaError, match="column 'amount'"):
        money.conform(pa.table({"amount": pa.array([Decimal("1.1234567890123456789")])}), None)


def test_pandas_nanoseconds_that_are_whole_microseconds_are_accepted() -> None:
    frame = pd.DataFrame({"ts": pd.to_datetime(["2024-01-05"], utc=True).as_unit("ns")})
    times = Schema("times", (Column("ts", TIMESTAMP, "time"),), key=("ts",), partition_by=MONTH_OF_TS)
    assert times.conform(frame, "2024-01").column("ts").type == TIMESTAMP


def test_a_partition_must_be_given_exactly_when_the_table_has_them() -> None:
    whole = Schema("whole", (Column("n", pa.int64(), "count"),), key=("n",))
    with pytest.raises(SchemaError, match="not partitioned"):
        whole.conform(pa.table({"n": [1]}), "2024-01")
    with pytest.raises(SchemaError, match="no partition given"):
        BARS.conform(bars(), None)


def test_a_table_partitioned_by_a_text_column_refuses_rows_of_another_value() -> None:
    by_name = Schema("rows", (Column("candidate", pa.string(), "name"),), ("candidate",), PartitionBy("candidate"))
    assert by_name.conform(pa.table({"candidate": ["a"]}), "a").num_rows == 1
    with pytest.raises(SchemaError, match="1 rows lie outside partition 'a'"):
        by_name.conform(pa.table({"candidate": ["b"]}), "a")
