"""Foreign exports become drops of the inbox, which judges them; the real ones with every row accounted for."""

from __future__ import annotations

import json
import os
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import research_to_prod
from research_to_prod.execution.inbox import Delivery, read_inbox
from research_to_prod.execution.inbox_writer import InboxWriter
from research_to_prod.execution.mapping import Mapping, MappingError, deliver_export, load_mapping, map_rows

MAPPINGS = Path(research_to_prod.__file__).parent / "desk" / "mappings"
FILE: dict[str, Any] = {
    "kind": "fills",
    "columns": {
        "fill_id": "id", "symbol": "product", "side": "way", "quantity": "size", "price": "price", "fee": "fee",
        "filled_at": "time",
    },
    "constants": {"venue": "v", "strategy": "s", "liquidity": "unknown", "fee_currency": "USD"},
    "identifiers": {"order_id": ["time", "product"]},
    "enums": {"side": {"B": 1, "S": -1}},
    "times": {"filled_at": {"format": "%d/%m/%Y %H:%M:%S", "zone": "Europe/Berlin"}},
    "symbols": {"names": {"XBT": "BTC/USD"}, "pattern": "([A-Z]+)-([A-Z]+)", "unified": r"\1/\2"},
}  # fmt: skip
ROW = {"id": "7", "product": "BTC-USD", "way": "B", "size": "1.5", "price": "10", "fee": "0.1",
       "time": "02/01/2026 13:00:00"}  # fmt: skip


def mapping(**changes: Any) -> Mapping:
    return Mapping(name="export", **{**FILE, **changes})


def export(path: Path, *rows: dict[str, str]) -> Path:
    pa_csv.write_csv(pa.Table.from_pylist(list(rows)), path)
    return path


def test_columns_words_times_and_symbols_become_ours(tmp_path: Path) -> None:
    path = export(tmp_path / "export.csv", ROW, ROW | {"id": "8", "product": "XBT", "way": "S"})
    (drop,) = deliver_export(path, mapping(), InboxWriter(tmp_path / "inbox"))
    first, second = read_inbox(tmp_path / "inbox", "fills", "2026-01-02").rows.to_pylist()
    assert drop.name.startswith("2026-01-02-export-")
    assert (first["symbol"], first["side"], first["quantity"]) == ("BTC/USD", 1, Decimal("1.5"))
    # Berlin is an hour ahead in winter.
    assert first["filled_at"] == datetime(2026, 1, 2, 12, tzinfo=UTC)
    assert (second["symbol"], second["side"], second["received_at"]) == ("BTC/USD", -1, None)
    # The same market under two names in the export: they are told apart by what it says.
    assert first["order_id"] != second["order_id"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"way": None}, "side is missing"),
        ({"way": "X"}, "side is not a int64"),
        ({"product": "BTC_USD"}, "symbol is no ccxt unified symbol"),
        ({"size": "-1"}, "quantity is not positive"),
        ({"price": "ten"}, "price is not a decimal128(38, 18)"),
    ],
)
def test_what_has_no_translation_is_refused_by_the_inbox_and_shown_as_it_came(
    tmp_path: Path, change: dict[str, str], reason: str
) -> None:
    path = export(tmp_path / "export.csv", ROW, ROW | {"id": "8"} | change)
    deliver_export(path, mapping(), InboxWriter(tmp_path / "inbox"))
    delivery = read_inbox(tmp_path / "inbox", "fills", "2026-01-02")
    assert delivery.rows["fill_id"].to_pylist() == ["7"]
    assert delivery.quarantined["reason"].to_pylist() == [reason]
    (value,) = change.values()
    assert value in json.loads(delivery.quarantined["content"][0].as_py()).values()


def test_the_same_export_twice_an_overlapping_and_a_corrected_one(tmp_path: Path) -> None:
    writer, rows = InboxWriter(tmp_path / "inbox"), [ROW | {"id": str(n)} for n in range(4)]
    first = deliver_export(export(tmp_path / "a.csv", *rows[:3]), mapping(), writer)
    assert deliver_export(tmp_path / "a.csv", mapping(), writer) == first
    deliver_export(export(tmp_path / "b.csv", *rows[1:]), mapping(), writer)
    corrected = [rows[0] | {"price": "11"}, rows[1]]
    deliver_export(export(tmp_path / "c.csv", *corrected), mapping(), writer, revision=1)
    delivery = read_inbox(tmp_path / "inbox", "fills", "2026-01-02")
    prices = {row["fill_id"]: row["price"] for row in delivery.rows.to_pylist()}
    assert prices == {"0": Decimal(11), "1": Decimal(10), "2": Decimal(10), "3": Decimal(10)}
    # Of eight rows: row 1 three times, row 2 twice, row 0 superseded.
    assert (delivery.repeated_rows, delivery.superseded_rows) == (3, 1)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"time": "2026-01-02"}, "row 2: filled_at '2026-01-02' is no time with a zone"),
        ({"time": None}, "row 2: filled_at None is no time with a zone"),
        ({"desk": "paper"}, "row 2: desk is 'paper', not 'live'"),
    ],
)
def test_a_row_that_cannot_be_placed_refuses_the_whole_file_and_nothing_is_written(
    tmp_path: Path, change: dict[str, str], complaint: str
) -> None:
    live = ROW | {"desk": "live"}
    path = export(tmp_path / "export.csv", live, live | change)
    with pytest.raises(MappingError, match=complaint):
        deliver_export(path, mapping(expects={"desk": "live"}), InboxWriter(tmp_path / "inbox"))
    assert not (tmp_path / "inbox").exists()


def test_a_file_that_lacks_columns_or_cells_is_refused_with_all_of_them(tmp_path: Path) -> None:
    path = export(tmp_path / "export.csv", {"id": "7", "product": "BTC-USD"})
    with pytest.raises(MappingError, match=r"missing column 'fee'; .*'way'"):
        deliver_export(path, mapping(), InboxWriter(tmp_path / "inbox"))
    path.write_text("id,product\n1\n")
    with pytest.raises(MappingError, match="row 1: line has 1 cells, the header has 2"):
        deliver_export(path, mapping(), InboxWriter(tmp_path / "inbox"))


@pytest.mark.parametrize(
    ("rule", "written"),
    [
        ({"unit": "s"}, 1767355200),
        ({"unit": "ms"}, 1767355200000),
        ({"unit": "us"}, 1767355200000000),
        ({"unit": "ns"}, 1767355200000000999),
        ({"unit": "s"}, "1767355200.000000"),
        ({"format": "%Y%m%d %H:%M %z"}, "20260102 13:00 +0100"),
    ],
)
def test_a_time_is_the_same_however_it_is_written(rule: dict[str, str], written: Any) -> None:
    rows = pa.Table.from_pylist([ROW | {"time": written}])
    mapped = map_rows("export", rows, mapping(times={"filled_at": rule}))
    assert mapped["filled_at"].to_pylist() == ["2026-01-02T12:00:00+00:00"]


@given(st.decimals(min_value="0.000001", max_value="999999999", places=6))
def test_a_float_becomes_the_number_that_its_author_wrote(price: Decimal) -> None:
    mapped = map_rows("export", pa.Table.from_pylist([ROW | {"price": float(price)}]), mapping())
    assert Decimal(mapped["price"][0].as_py()) == price


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"kind": "trades"}, "no kind of the inbox"),
        ({"colums": {}}, "colums: Extra inputs"),
        ({"constants": {"venue": "v"}}, "strategy is not given .* liquidity is not given .* fee_currency is not given"),
        ({"constants": {**FILE["constants"], "side": "1"}}, "side is given twice"),
        ({"constants": {**FILE["constants"], "sid": "1"}}, "fills have no column 'sid'"),
        ({"enums": {"sides": {}}}, "sides has a rule and no column"),
        ({"times": {"filled_at": {"unit": "s", "format": "%Y"}}}, "give unit or format"),
        ({"times": {"filled_at": {"format": "%Y"}}}, "zone belongs to a format without %z"),
        ({"times": {"filled_at": {"format": "%Y", "zone": "Mars/Base"}}}, "no time zone"),
        ({"symbols": {"pattern": "(A)"}}, "pattern and unified belong together"),
        ({"symbols": {"pattern": "(A", "unified": "x"}}, "pattern '\\(A'"),
    ],
)
def test_a_wrong_mapping_names_its_file_and_field(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    path = tmp_path / "desk_fills.yaml"
    path.write_text(yaml.safe_dump({**FILE, **change}))
    with pytest.raises(MappingError, match=f"(?s)desk_fills.yaml.*{complaint}"):
        load_mapping(path)


@pytest.mark.parametrize("text", ["", "- a", "kind: [", "1: 2"])
def test_a_file_that_is_no_mapping_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(MappingError, match=r"x\.yaml"):
        load_mapping(path)


def test_every_mapping_of_the_desk_loads() -> None:
    assert {load_mapping(path).name for path in MAPPINGS.glob("*.yaml")} == {"coinbase_fills", "hyperliquid_fills"}


FOLDER = Path(os.environ.get("R2P_REAL_DATA") or Path(__file__).resolve().parents[3] / "shared" / "market_data")
real = pytest.mark.skipif(not FOLDER.is_dir(), reason="no real market data: set R2P_REAL_DATA to its folder")


def delivered(inbox: Path, name: str, export_name: str) -> list[Delivery]:
    drops = deliver_export(FOLDER / "fills" / export_name, load_mapping(MAPPINGS / f"{name}.yaml"), InboxWriter(inbox))
    return [read_inbox(inbox, "fills", drop.name[:10]) for drop in drops]


@pytest.mark.real_data
@real
def test_all_503_fills_of_a_real_coinbase_account_load(tmp_path: Path) -> None:
    days = delivered(tmp_path, "coinbase_fills", "coinbase__multi__2021-06_2021-08.parquet")
    assert len(days) == 42
    assert sum(day.rows.num_rows for day in days) == 503
    assert sum(day.quarantined.num_rows + day.repeated_rows for day in days) == 0
    rows = [row for day in days for row in day.rows.to_pylist()]
    first = next(row for row in rows if row["fill_id"] == "11866")
    assert (first["symbol"], first["side"]) == ("DOGE/USD", 1)
    assert (first["quantity"], first["price"], first["fee"]) == (
        Decimal("8.6"),
        Decimal("0.4037"),
        Decimal("0.00867955"),
    )
    assert first["filled_at"] == datetime(2021, 6, 3, 17, 16, 25, 53000, tzinfo=UTC)
    # The export's own total agrees with price, quantity and fee of every row.
    source = pq.read_table(FOLDER / "fills" / "coinbase__multi__2021-06_2021-08.parquet").to_pylist()
    totals = {row["fill_id"]: row["cost"] for row in source}
    for row in rows:
        total = -row["side"] * row["quantity"] * row["price"] - row["fee"]
        assert float(total) == pytest.approx(totals[row["fill_id"]], abs=1e-6)


@pytest.mark.real_data
@real
@pytest.mark.slow
def test_of_a_real_hyperliquid_account_206_repeats_are_dropped_and_34_rows_without_side_refused(tmp_path: Path) -> None:
    days = delivered(tmp_path, "hyperliquid_fills", "hyperliquid__multi__2024.parquet")
    assert len(days) == 63
    assert sum(day.rows.num_rows for day in days) == 6_582
    assert sum(day.repeated_rows for day in days) == 206
    refused = [row for day in days for row in day.quarantined.to_pylist()]
    assert {row["reason"] for row in refused} == {"side is missing"}
    assert len(refused) == 34
    remarks = Counter(json.loads(row["content"])["remark"] for row in refused)
    assert remarks == {
        "Close Short (Price Improved)": 20,
        "Open Long (Price Improved)": 9,
        "Close Long (Price Improved)": 3,
        "Open Short (Price Improved)": 2,
    }
    # An export of the next day repeats the last weeks: nothing changes but the count.
    whole = pq.read_table(FOLDER / "fills" / "hyperliquid__multi__2024.parquet")
    pq.write_table(whole.slice(6_000), tmp_path / "later.parquet")
    mapped = load_mapping(MAPPINGS / "hyperliquid_fills.yaml")
    drops = deliver_export(tmp_path / "later.parquet", mapped, InboxWriter(tmp_path))
    again = {drop.name[:10]: read_inbox(tmp_path, "fills", drop.name[:10]) for drop in drops}
    before = {day.files[0].name[:10]: day for day in days}
    assert all(day.rows == before[name].rows for name, day in again.items())
    repeated = sum(day.repeated_rows - before[name].repeated_rows for name, day in again.items())
    refused_again = sum(day.quarantined.num_rows - before[name].quarantined.num_rows for name, day in again.items())
    assert repeated + refused_again == 822


@pytest.mark.real_data
@real
def test_paper_fills_are_not_taken_for_an_accounts(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="venue is 'kraken-dryrun', not 'coinbase'"):
        delivered(tmp_path, "coinbase_fills", "kraken-dryrun__multi__freqtrade-dryrun_2023-11.parquet")
