"""A day of public trades from files, with everything that files lack."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from research_to_prod.market_data.contracts import TRADES
from research_to_prod.market_data.ingest import IngestError, Sources, fetch_trades
from research_to_prod.market_data.universe import MarketSpec

START = datetime(2023, 6, 1, tzinfo=UTC)
T0 = int(START.timestamp() * 1000)

HEADER = "venue,symbol,trade_id,ts,price,amount,side"


def from_file(folder: Path, *lines: str, header: str = HEADER) -> Any:
    (folder / "t.csv").write_text("\n".join([header, *lines]))
    spec = MarketSpec(
        venue="v",
        symbol="A/B",
        timeframe="1h",
        since="2023-01-01",
        source={"files": "none.csv"},
        trades={"files": "t.csv"},
    )
    return fetch_trades([spec], "2023-06-01", Sources(folder=folder), START + timedelta(days=2))


def test_identified_trades_are_kept_once_and_anonymous_ones_all(tmp_path: Path) -> None:
    line = f"v,A/B,{{}},{T0},10,1,buy"
    month = from_file(tmp_path, line.format("7"), line.format("7"), line.format(""), line.format(""))
    rows = TRADES.conform(month.rows, "2023-06-01")
    assert rows["trade_id"].to_pylist().count("7") == 1
    assert rows["trade_id"].null_count == 2
    assert rows.num_rows == 3


def test_one_id_with_two_contents_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match="1 trade ids have two contents: 7; remove"):
        from_file(tmp_path, f"v,A/B,7,{T0},10,1,buy", f"v,A/B,7,{T0},11,1,buy")


def test_a_file_may_lack_ids_and_sides_and_says_buy_sell_or_anything(tmp_path: Path) -> None:
    bare = from_file(tmp_path, f"v,A/B,{T0},10,1", header="venue,symbol,ts,price,amount")
    assert bare.rows.select(["trade_id", "side"]).to_pylist() == [{"trade_id": None, "side": None}]
    sides = from_file(tmp_path, *(f"v,A/B,{n},{T0 + n},10,1,{side}" for n, side in enumerate(["buy", "sell", "any"])))
    assert sides.rows["side"].to_pylist() == [1, -1, None]


def test_nobody_asks_for_trades(tmp_path: Path) -> None:
    spec = MarketSpec(venue="v", symbol="A/B", timeframe="1h", since="2023-01-01", source={"files": "none.csv"})
    month = fetch_trades([spec], "2023-06-01", Sources(folder=tmp_path), START)
    assert (month.rows.num_rows, month.certificates, month.failures) == (0, (), ())
