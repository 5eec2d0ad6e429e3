"""What the writer writes the inbox takes whole; what the inbox would refuse is never written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from research_to_prod.execution.contracts import INBOX_KINDS, POSITIONS
from research_to_prod.execution.inbox import read_inbox
from research_to_prod.execution.inbox_writer import InboxWriter
from research_to_prod.execution.row_checks import InboxError

DAY = "2026-01-02"
AT = datetime(2026, 1, 2, 3, tzinfo=UTC)


def position(symbol: str = "BTC/USDT", **changes: Any) -> dict[str, Any]:
    return {"strategy": "s", "venue": "v", "symbol": symbol, "held_at": AT, "position": Decimal("-1.5"), **changes}


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_rows_written_as_mappings_and_as_a_table_are_the_same_bytes_and_read_back(tmp_path: Path) -> None:
    rows = [position("BTC/USDT"), position("ETH/USDT", position="2", mark_price="0.1")]
    rows[0]["position"] = "-1.5"
    path = InboxWriter(tmp_path).write("positions", DAY, rows)
    assert path == tmp_path / "positions" / f"{DAY}.parquet"
    first = path.read_bytes()
    read = read_inbox(tmp_path, "positions", DAY)
    assert [row["position"] for row in read.rows.to_pylist()] == [Decimal("-1.5"), Decimal(2)]
    assert [row["mark_price"] for row in read.rows.to_pylist()] == [None, Decimal("0.1")]
    InboxWriter(tmp_path).write("positions", DAY, read.rows)
    assert path.read_bytes() == first
    assert files(tmp_path) == [f"positions/{DAY}.parquet"]


@pytest.mark.parametrize("kind", list(INBOX_KINDS))
def test_a_day_on_which_nothing_happened_is_written_too(tmp_path: Path, kind: str) -> None:
    InboxWriter(tmp_path).write(kind, DAY, [])
    assert read_inbox(tmp_path, kind, DAY).rows == INBOX_KINDS[kind].empty()


def test_pieces_and_revisions_have_the_names_that_the_inbox_knows(tmp_path: Path) -> None:
    writer = InboxWriter(tmp_path)
    writer.write("positions", DAY, [position("BTC/USDT")], part="desk-a")
    writer.write("positions", DAY, [position("ETH/USDT")], part="desk-b")
    writer.write("positions", DAY, [position("ETH/USDT", position=Decimal(7))], part="desk-b", revision=2)
    assert [name.removeprefix(f"positions/{DAY}") for name in files(tmp_path)] == [
        "-desk-a.parquet", "-desk-b.parquet", "-desk-b.r2.parquet",
    ]  # fmt: skip
    rows = read_inbox(tmp_path, "positions", DAY).rows
    assert dict(zip(rows["symbol"].to_pylist(), rows["position"].to_pylist(), strict=True)) == {
        "BTC/USDT": Decimal("-1.5"), "ETH/USDT": Decimal(7),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([position(), position("ETHUSDT")], "row 2: symbol is no ccxt unified symbol"),
        ([position(), position()], "rows repeat strategy, venue, symbol, held_at"),
        ([position(position=1.5)], "float has already lost"),
        ([position(position=None)], "row 1: position is missing"),
        ([position(held_at=AT.replace(tzinfo=None))], "times without a zone in held_at"),
        ([position(), position("ETH/USDT", held_at=AT.replace(tzinfo=None))], "times without a zone in held_at"),
        ([position(held_at=AT + timedelta(days=1))], f"held_at is not on {DAY}"),
        ([position(strategy=7)], "'strategy' is int64"),
        ([position(), position("ETH/USDT", strategy=7)], "values of different types in one column"),
        ([position(size=1)], "unknown column 'size'"),
        ([{"strategy": "s"}], "missing column 'venue'; missing column 'symbol'"),
        ([position(f"A{n}") for n in range(12)], "row 10: .*; and 2 more"),
    ],
)
def test_what_the_inbox_would_refuse_is_not_written(tmp_path: Path, rows: list[dict[str, Any]], complaint: str) -> None:
    InboxWriter(tmp_path).write("positions", DAY, [position()])
    before = (tmp_path / "positions" / f"{DAY}.parquet").read_bytes()
    with pytest.raises(InboxError, match=complaint):
        InboxWriter(tmp_path).write("positions", DAY, rows)
    assert files(tmp_path) == [f"positions/{DAY}.parquet"]
    assert (tmp_path / "positions" / f"{DAY}.parquet").read_bytes() == before


@pytest.mark.parametrize(
    ("kind", "day", "options"),
    [
        ("trades", DAY, {}),
        ("positions", "2026-1-2", {}),
        ("positions", "2026-02-30", {}),
        ("positions", DAY, {"part": "../x"}),
        ("positions", DAY, {"part": "a.r1"}),
        ("positions", DAY, {"revision": -1}),
    ],
)
def test_a_name_that_the_inbox_would_not_find_is_refused(
    tmp_path: Path, kind: str, day: str, options: dict[str, Any]
) -> None:
    with pytest.raises(InboxError):
        InboxWriter(tmp_path).write(kind, day, [], **options)
    assert files(tmp_path) == []


def test_a_table_of_wider_types_is_written_as_the_contract_says(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([position()], schema=POSITIONS.arrow)
    wide = table.set_column(0, "strategy", table["strategy"].cast(pa.large_string()))
    InboxWriter(tmp_path).write("positions", DAY, wide)
    assert read_inbox(tmp_path, "positions", DAY).rows == table
