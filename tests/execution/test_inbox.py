"""The inbox reads what the desk delivered exactly, and keeps what it refuses."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_to_prod.execution.contracts import FILLS, INBOX_KINDS
from research_to_prod.execution.inbox import MissingDeliveryError, read_inbox
from research_to_prod.execution.row_checks import InboxError, check_file
from research_to_prod.values import sha256_hex

DAY = "2026-01-02"
AT = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)


def fill(fill_id: str = "1", **changes: Any) -> dict[str, Any]:
    return {
        "fill_id": fill_id,
        "order_id": "order-1",
        "venue_order_id": "77",
        "strategy": "momentum",
        "venue": "sandbox",
        "symbol": "BTC/USDT",
        "side": 1,
        "quantity": Decimal("0.123456789012345678"),
        "price": Decimal("64000.1"),
        "liquidity": "taker",
        "fee": Decimal("-0.01"),
        "fee_currency": "USDT",
        "filled_at": AT,
        "received_at": AT + timedelta(milliseconds=30),
        "forced": None,
        "remark": None,
        **changes,
    }


def deliver_csv(inbox: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    """Write rows as an OMS would: amounts as the text that they are."""
    path = inbox / "fills" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(FILLS.arrow.names)]
    for row in rows:
        cells = [row[each].isoformat() if isinstance(row[each], datetime) else row[each] for each in FILLS.arrow.names]
        lines.append(",".join("" if cell is None else str(cell) for cell in cells))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def deliver_parquet(inbox: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    path = inbox / "fills" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=FILLS.arrow), path)
    return path


def reasons(delivery: Any) -> list[str]:
    return delivery.quarantined.column("reason").to_pylist()


def test_a_csv_amount_keeps_all_of_its_eighteen_decimals(tmp_path: Path) -> None:
    path = deliver_csv(tmp_path, f"{DAY}.csv", [fill()])
    delivery = read_inbox(tmp_path, "fills", DAY)
    assert delivery.rows.to_pylist() == [fill()]
    assert [(f.name, f.sha256, f.rows) for f in delivery.files] == [(path.name, sha256_hex(path.read_bytes()), 1)]
    assert delivery.quarantined.num_rows == 0
    assert delivery.repeated_rows == 0


@given(
    st.lists(
        st.decimals(min_value="0.000000000000000001", max_value="99999999999999999999", places=18),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=25, deadline=None)
def test_csv_and_parquet_deliver_the_same_rows_for_any_amounts(
    tmp_path_factory: pytest.TempPathFactory, amounts: list[Decimal]
) -> None:
    rows = [fill(str(number), quantity=amount) for number, amount in enumerate(amounts)]
    deliveries = []
    for write, suffix in ((deliver_csv, "csv"), (deliver_parquet, "parquet")):
        inbox = tmp_path_factory.mktemp("inbox")
        write(inbox, f"{DAY}.{suffix}", rows)
        deliveries.append(read_inbox(inbox, "fills", DAY).rows)
    assert deliveries[0] == deliveries[1]
    assert sorted(deliveries[0].column("quantity").to_pylist()) == sorted(amounts)


def test_delivering_the_same_file_again_changes_nothing_but_the_count(tmp_path: Path) -> None:
    deliver_csv(tmp_path, f"{DAY}.csv", [fill("1"), fill("2")])
    once = read_inbox(tmp_path, "fills", DAY)
    deliver_parquet(tmp_path, f"{DAY}-again.parquet", [fill("2"), fill("1")])
    twice = read_inbox(tmp_path, "fills", DAY)
    assert twice.rows == once.rows
    assert twice.repeated_rows == 2
    assert twice.quarantined.num_rows == 0


def test_rows_that_contradict_each_other_all_go_to_quarantine(tmp_path: Path) -> None:
    deliver_csv(tmp_path, f"{DAY}.csv", [fill("1"), fill("2")])
    deliver_csv(tmp_path, f"{DAY}b.csv", [fill("1", price=Decimal(1))])
    delivery = read_inbox(tmp_path, "fills", DAY)
    assert delivery.rows.column("fill_id").to_pylist() == ["2"]
    assert reasons(delivery) == ["rows with the same venue, symbol, fill_id and different content"] * 2
    assert delivery.quarantined.column("file").to_pylist() == [f"{DAY}.csv", f"{DAY}b.csv"]


def test_of_two_revisions_of_a_row_the_later_counts_and_the_earlier_is_kept_in_quarantine(tmp_path: Path) -> None:
    deliver_csv(tmp_path, f"{DAY}.csv", [fill("1"), fill("2"), fill("3")])
    deliver_parquet(tmp_path, f"{DAY}.r1.parquet", [fill("2", price=Decimal(2)), fill("3")])
    deliver_csv(tmp_path, f"{DAY}-desk.r10.csv", [fill("2", price=Decimal(10))])
    delivery = read_inbox(tmp_path, "fills", DAY)
    assert {row["fill_id"]: row["price"] for row in delivery.rows.to_pylist()} == {
        "1": Decimal("64000.1"),
        "2": Decimal(10),
        "3": Decimal("64000.1"),
    }
    # A later revision that says the same is a repetition, not a correction.
    assert (delivery.superseded_rows, delivery.repeated_rows) == (2, 1)
    told = zip(delivery.quarantined.column("file").to_pylist(), reasons(delivery), strict=True)
    assert list(told) == [
        (f"{DAY}.csv", "superseded by revision 10"),
        (f"{DAY}.r1.parquet", "superseded by revision 10"),
    ]
    assert json.loads(delivery.quarantined.column("content")[1].as_py())["price"] == "2.000000000000000000"


def test_a_correction_settles_what_contradicted_itself_and_may_contradict_itself(tmp_path: Path) -> None:
    deliver_csv(tmp_path, f"{DAY}.csv", [fill("1"), fill("1", price=Decimal(1))])
    assert read_inbox(tmp_path, "fills", DAY).rows.num_rows == 0
    deliver_csv(tmp_path, f"{DAY}.r1.csv", [fill("1", price=Decimal(2))])
    settled = read_inbox(tmp_path, "fills", DAY)
    assert settled.rows.column("price").to_pylist() == [Decimal(2)]
    assert reasons(settled) == ["superseded by revision 1"] * 2
    deliver_csv(tmp_path, f"{DAY}b.r1.csv", [fill("1", price=Decimal(3))])
    torn = read_inbox(tmp_path, "fills", DAY)
    assert torn.rows.num_rows == 0
    assert (
        sorted(reasons(torn))
        == ["rows with the same venue, symbol, fill_id and different content"] * 2 + ["superseded by revision 1"] * 2
    )


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("123"), st.integers(1, 3), st.integers(0, 2)), min_size=1, max_size=8),
    st.randoms(use_true_random=False),
)
def test_what_counts_follows_from_the_files_and_not_from_who_came_first(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int, int]], chance: Random
) -> None:
    def delivered(order: list[tuple[str, int, int]]) -> Any:
        inbox = tmp_path_factory.mktemp("inbox")
        for revision in {each[2] for each in order}:
            mine = [fill(key, price=Decimal(price)) for key, price, of in order if of == revision]
            deliver_csv(inbox, f"{DAY}.r{revision}.csv", mine)
        return read_inbox(inbox, "fills", DAY)

    once = delivered(rows)
    expected = {}
    for key in {each[0] for each in rows}:
        newest = max(revision for name, _, revision in rows if name == key)
        prices = {price for name, price, revision in rows if (name, revision) == (key, newest)}
        if len(prices) == 1:
            expected[key] = Decimal(prices.pop())
    assert {row["fill_id"]: row["price"] for row in once.rows.to_pylist()} == expected
    # Nothing is lost: every delivered row is a record, a repetition, or in quarantine.
    assert once.rows.num_rows + once.repeated_rows + once.quarantined.num_rows == len(rows)
    shuffled = list(rows)
    chance.shuffle(shuffled)
    again = delivered(shuffled)
    assert again.rows == once.rows
    assert sorted(reasons(again)) == sorted(reasons(once))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"quantity": "0.1e"}, "quantity is not a decimal128(38, 18)"),
        ({"quantity": "0.1234567890123456789"}, "quantity is not a decimal128(38, 18)"),
        ({"quantity": "NaN"}, "quantity is not a decimal128(38, 18)"),
        ({"quantity": "-1"}, "quantity is not positive"),
        ({"price": None}, "price is missing"),
        ({"price": "0"}, "price is not positive"),
        ({"side": 0}, "side is neither +1 nor -1"),
        ({"symbol": "BTCUSDT"}, "symbol is no ccxt unified symbol"),
        ({"forced": "margin call"}, "forced is none of liquidation, adl"),
        ({"liquidity": "marker"}, "liquidity is none of maker, taker, unknown"),
        ({"filled_at": "2026-01-02T03:04:05"}, "filled_at is not a timestamp[us, tz=UTC]"),
        ({"filled_at": "2026-01-03T00:00:00Z"}, "filled_at is not on 2026-01-02 (UTC)"),
        ({"filled_at": "2026-01-02T00:30:00+01:00"}, "filled_at is not on 2026-01-02 (UTC)"),
    ],
)
def test_a_bad_row_goes_to_quarantine_with_its_reason_and_the_good_ones_stay(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    deliver_csv(tmp_path, f"{DAY}.csv", [fill("1"), fill("2", **changes), fill("3")])
    delivery = read_inbox(tmp_path, "fills", DAY)
    assert delivery.rows.column("fill_id").to_pylist() == ["1", "3"]
    assert reasons(delivery) == [reason]
    assert delivery.quarantined.column("row").to_pylist() == [2]
    assert json.loads(delivery.quarantined.column("content")[0].as_py())["fill_id"] == "2"


def test_a_line_with_too_few_cells_is_quarantined_and_does_not_shift_the_row_numbers(tmp_path: Path) -> None:
    path = deliver_csv(tmp_path, f"{DAY}.csv", [fill("1"), fill("2"), fill("3", side=7)])
    lines = path.read_text(encoding="utf-8").splitlines()
    lines.insert(2, "cut,short")
    path.write_text("\n".join(lines), encoding="utf-8")
    delivery = read_inbox(tmp_path, "fills", DAY)
    assert delivery.rows.column("fill_id").to_pylist() == ["1", "2"]
    assert list(zip(delivery.quarantined.column("row").to_pylist(), reasons(delivery), strict=True)) == [
        (2, "line has 2 cells, the header has 16"),
        (4, "side is neither +1 nor -1"),
    ]
    assert delivery.files[0].rows == 4


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("kind", list(INBOX_KINDS))
def test_a_day_without_rows_is_a_delivery(tmp_path: Path, kind: str, suffix: str) -> None:
    folder = tmp_path / kind
    folder.mkdir()
    empty = INBOX_KINDS[kind].empty()
    if suffix == "csv":
        pa_csv.write_csv(empty, folder / f"{DAY}.csv")
    else:
        pq.write_table(empty, folder / f"{DAY}.parquet")
    delivery = read_inbox(tmp_path, kind, DAY)
    assert delivery.rows == empty
    assert delivery.files[0].rows == 0


def test_a_day_without_a_file_names_the_file_that_is_expected(tmp_path: Path) -> None:
    deliver_csv(tmp_path, "2026-01-03.csv", [])
    with pytest.raises(MissingDeliveryError, match=r"fills.2026-01-02\*\.parquet or \.csv"):
        read_inbox(tmp_path, "fills", DAY)


@pytest.mark.parametrize("name", [f".{DAY}.csv", f"{DAY}.csv.tmp", f"{DAY}.tmp", f"{DAY}.csv.part"])
def test_a_file_that_is_still_being_written_is_not_seen(tmp_path: Path, name: str) -> None:
    deliver_csv(tmp_path, name, [fill()])
    with pytest.raises(MissingDeliveryError):
        read_inbox(tmp_path, "fills", DAY)


def test_a_column_that_may_be_null_may_be_left_out(tmp_path: Path) -> None:
    path = deliver_parquet(tmp_path, f"{DAY}.parquet", [fill(received_at=None)])
    pq.write_table(pq.read_table(path).drop_columns(["received_at", "forced", "remark"]), path)
    assert read_inbox(tmp_path, "fills", DAY).rows.to_pylist() == [fill(received_at=None)]


def test_every_unreadable_file_of_a_day_is_named(tmp_path: Path) -> None:
    deliver_csv(tmp_path, f"{DAY}.csv", [fill()])
    for name in (f"{DAY}a.csv", f"{DAY}b.parquet"):
        (tmp_path / "fills" / name).write_bytes(b"")
    with pytest.raises(InboxError, match=rf"(?s){DAY}a\.csv cannot be read.*{DAY}b\.parquet cannot be read"):
        read_inbox(tmp_path, "fills", DAY)


def test_wrong_columns_are_all_named(tmp_path: Path) -> None:
    path = deliver_csv(tmp_path, f"{DAY}.csv", [fill()])
    text = path.read_text(encoding="utf-8").replace("price,", "prise,", 1).replace("fee_currency", "fee_ccy", 1)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InboxError) as error:
        read_inbox(tmp_path, "fills", DAY)
    for part in (f"{DAY}.csv", "'prise'", "'fee_ccy'", "missing column 'price'", "missing column 'fee_currency'"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("column", "values", "complaint"),
    [
        ("price", pa.array([1.5]), "float has already lost"),
        ("filled_at", pa.array([AT.replace(tzinfo=None)]), "without a zone"),
        ("fill_id", pa.array([1]), "is text, the other not"),
        ("side", pa.array([1.5]), "'side' is double"),
        ("side", pa.array([AT]), "'side' is timestamp"),
    ],
)
def test_a_parquet_column_of_a_wrong_type_refuses_the_file(
    tmp_path: Path, column: str, values: pa.Array, complaint: str
) -> None:
    path = deliver_parquet(tmp_path, f"{DAY}.parquet", [fill()])
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.column_names.index(column), column, values), path)
    with pytest.raises(InboxError, match=complaint):
        read_inbox(tmp_path, "fills", DAY)


def test_parquet_may_carry_amounts_as_text_and_text_as_large_string(tmp_path: Path) -> None:
    path = deliver_parquet(tmp_path, f"{DAY}.parquet", [fill()])
    table = pq.read_table(path)
    table = table.set_column(table.column_names.index("price"), "price", pa.array(["64000.1"]))
    index = table.column_names.index("symbol")
    pq.write_table(table.set_column(index, "symbol", pa.array(["BTC/USDT"], pa.large_string())), path)
    assert read_inbox(tmp_path, "fills", DAY).rows.to_pylist() == [fill()]


@pytest.mark.parametrize("name", [f"{DAY}.parquet", f"{DAY}.csv"])
def test_a_file_that_is_not_what_its_name_says_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "fills").mkdir()
    (tmp_path / "fills" / name).write_bytes(b"\x00\xff\xfe<html>")
    with pytest.raises(InboxError, match=name):
        read_inbox(tmp_path, "fills", DAY)


def test_every_column_of_the_contracts_says_what_it_means() -> None:
    for schema in INBOX_KINDS.values():
        assert all(column.description for column in schema.columns)
        assert set(schema.key) <= {column.name for column in schema.columns}


def test_a_link_out_of_the_inbox_is_refused_and_nothing_of_it_is_shown(tmp_path: Path) -> None:
    """Whoever may deliver would read through it, row by row in quarantine, what only the pipeline may read."""
    (tmp_path / "secret.csv").write_text("password\nhunter2\n")
    (tmp_path / "inbox" / "fills").mkdir(parents=True)
    (tmp_path / "inbox" / "fills" / f"{DAY}.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(InboxError, match=r"2026-01-02\.csv: leads to .*, outside of the inbox") as refused:
        read_inbox(tmp_path / "inbox", "fills", DAY)
    assert "hunter2" not in str(refused.value)
    assert "password" not in str(refused.value)


def test_a_time_beyond_python_s_calendar_is_quarantined(tmp_path: Path) -> None:
    path = deliver_parquet(tmp_path, f"{DAY}.parquet", [fill("1"), fill("2")])
    rows = pq.read_table(path)
    beyond = pa.array([rows["filled_at"][0].value, 2**62]).cast(rows["filled_at"].type)
    pq.write_table(rows.set_column(rows.column_names.index("filled_at"), "filled_at", beyond), path)
    (refused,) = read_inbox(tmp_path, "fills", DAY).quarantined["content"].to_pylist()
    assert json.loads(refused)["filled_at"].startswith("17036-")


STORED = pa.BufferOutputStream()
pq.write_table(pa.Table.from_pylist([fill("1"), fill("2")], schema=FILLS.arrow), STORED)
PARQUET = STORED.getvalue().to_pybytes()
HEADER = ",".join(FILLS.arrow.names).encode()


# The same examples each time: a damaged Parquet file of one kind ends the process inside Arrow (vendor_files).
@settings(derandomize=True, max_examples=200)
@given(name=st.sampled_from(["a.csv", "a.parquet"]), body=st.data())
def test_any_bytes_are_read_or_refused_by_name(name: str, body: st.DataObject) -> None:
    place = body.draw(st.integers(0, len(PARQUET) - 1))
    damaged = PARQUET[:place] + body.draw(st.binary(min_size=1, max_size=1)) + PARQUET[place + 1 :]
    text = HEADER + b"\n" + body.draw(st.text(max_size=60)).encode()
    content = body.draw(st.sampled_from([damaged, text, HEADER + b"\n" + body.draw(st.binary(max_size=60))]))
    try:
        check_file(name, content, FILLS, DAY)
    except InboxError as error:
        assert name in str(error)  # noqa: PT017 - one law, both ways
