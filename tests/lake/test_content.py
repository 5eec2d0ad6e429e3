"""The content hash sees logical rows and nothing else."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.lake.content import content_hash
from research_to_prod.lake.schema import DECIMAL, TIMESTAMP

SCHEMA = pa.schema(
    [
        ("t", TIMESTAMP), ("f", pa.float64()), ("i", pa.int64()), ("s", pa.string()),
        ("b", pa.bool_()), ("d", DECIMAL), ("l", pa.list_(pa.float64())),
    ]
)  # fmt: skip
ROW = st.fixed_dictionaries(
    {
        "t": st.none() | st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
        "f": st.none() | st.floats(allow_nan=True),
        "i": st.none() | st.integers(-(2**63), 2**63 - 1),
        "s": st.none() | st.text(max_size=8),
        "b": st.none() | st.booleans(),
        "d": st.none() | st.decimals(-(10**9), 10**9, places=18),
        "l": st.none() | st.lists(st.none() | st.floats(allow_nan=False), max_size=3),
    }
)


def table(rows: list[dict[str, object]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=SCHEMA)


@given(st.lists(ROW, max_size=6), st.integers(0, 6))
def test_chunks_and_slices_do_not_change_the_hash(rows: list[dict[str, object]], cut: int) -> None:
    whole = table(rows)
    pieces = pa.concat_tables([whole.slice(0, cut), whole.slice(cut)])
    assert content_hash(pieces) == content_hash(whole)


@given(st.lists(ROW, min_size=1, max_size=6))
def test_parquet_with_any_row_groups_gives_the_hash_back(rows: list[dict[str, object]]) -> None:
    whole = table(rows)
    sink = pa.BufferOutputStream()
    pq.write_table(whole, sink, row_group_size=2, compression="zstd")
    assert content_hash(pq.read_table(pa.BufferReader(sink.getvalue()))) == content_hash(whole)


@given(st.lists(ROW, max_size=4), st.lists(ROW, max_size=4))
def test_different_rows_have_different_hashes(left: list[dict[str, object]], right: list[dict[str, object]]) -> None:
    def canonical(rows: list[dict[str, object]]) -> str:
        return repr(table(rows).to_pylist())  # NaN prints the same whatever its bits

    assert (content_hash(table(left)) == content_hash(table(right))) == (canonical(left) == canonical(right))


def test_null_is_not_zero_and_not_empty() -> None:
    for column, filler in (("f", 0.0), ("i", 0), ("s", ""), ("b", False), ("d", Decimal(0)), ("l", [])):
        assert content_hash(table([{column: None}])) != content_hash(table([{column: filler}])), column


def test_every_nan_is_one_value() -> None:
    other = np.array([0x7FF8000000000001], dtype="<u8").view("<f8")
    plain = pa.table({"f": pa.array([float("nan")])})
    assert content_hash(pa.table({"f": pa.array(other)})) == content_hash(plain)


def test_swapped_columns_are_other_content() -> None:
    left = pa.table({"open": [1.0], "close": [2.0]})
    assert content_hash(left) != content_hash(pa.table({"close": [1.0], "open": [2.0]}))


def test_a_type_without_defined_bytes_is_refused() -> None:
    with pytest.raises(TypeError, match="no logical bytes"):
        content_hash(pa.table({"x": pa.array([{"a": 1}])}))


def test_the_hash_of_a_known_table_never_changes(tmp_path: Path) -> None:
    """Recorded hashes must be recomputable for ever; a change here breaks every recorded decision."""
    rows = table(
        [
            {
                "t": datetime(2024, 1, 1, tzinfo=UTC),
                "f": 1.5,
                "i": 2,
                "s": "BTC/USDT",
                "b": True,
                "d": Decimal("0.1"),
                "l": [1.0, None],
            },
            {"t": None, "f": None, "i": None, "s": None, "b": None, "d": None, "l": None},
        ]
    )
    assert content_hash(rows) == "951361ef4739859fc31a652bffbedaf4b6863289b3c9e8891335574be0f2f502"
