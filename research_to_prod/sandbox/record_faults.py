"""Records that go wrong on purpose: what the desk's systems lose or get wrong, and what the venue does unasked.

Belongs here: the kinds, carrying them out on a day's tables, and the journal's word on each. Doesn't: faults on the
wire (`faults`, `server`), and what a reconciliation should make of any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa

from research_to_prod.sandbox.faults import Journal

Row = dict[str, Any]
Tables = dict[str, list[Row]]


class RecordFault(StrEnum):
    """What goes wrong with one record or one balance."""

    LOST_FILL = "lost_fill"
    INVENTED_FILL = "invented_fill"
    TWO_VERSIONS = "two_versions"  # the desk has one trade id with two quantities
    WRONG_QUANTITY = "wrong_quantity"
    WRONG_PRICE = "wrong_price"
    WRONG_SIDE = "wrong_side"
    WRONG_FEE = "wrong_fee"
    WRONG_FEE_ASSET = "wrong_fee_asset"
    WRONG_CLOCK = "wrong_clock"
    FORGOTTEN_ORDER = "forgotten_order"  # the desk lost all that it knew of an order without fills
    GHOST_ORDER = "ghost_order"  # the desk believes in an order that never reached the venue
    UNENDED_ORDER = "unended_order"  # the desk did not hear of a cancel
    LIQUIDATION = "liquidation"  # the venue closes a part of a position
    LOST_FUNDING = "lost_funding"
    WRONG_FUNDING = "wrong_funding"
    UNBOOKED_TRANSFER = "unbooked_transfer"  # coins leave the spot wallet, and the desk does not know
    WRONG_POSITION = "wrong_position"
    FLIPPED_POSITION = "flipped_position"
    SILENT_DEBIT = "silent_debit"  # a balance falls, and no record of the venue says why
    DUST = "dust"


class FetchFault(StrEnum):
    """What goes wrong with the reading of one list."""

    CUT_SHORT = "cut_short"  # rows are missing, and the certificate says so
    EMPTY = "empty"  # the venue says for as long as it is asked that there is nothing


class Records:
    """One day's tables of both sides, changed in place.

    Parameters
    ----------
    desk, venue
        Tables by name, as `SandboxDesk.deliveries` and `venue_tables` give them.
    random
        Draws the victims.
    """

    def __init__(
        self, desk: Mapping[str, pa.Table], venue: Mapping[str, pa.Table], random: np.random.Generator, journal: Journal
    ) -> None:
        names = ("fills", "order_events", "positions", "ledger_entries")
        self._schemas = {name: desk[name].schema for name in names} | {
            name: rows.schema for name, rows in venue.items()
        }
        self.rows: Tables = {name: desk[name].to_pylist() for name in names}
        self.rows |= {name: rows.to_pylist() for name, rows in venue.items()}
        self._random = random
        self._journal = journal
        # No two faults share an order, a contract or a balance: what each does must be told apart.
        self._taken: set[str] = set()

    def table(self, name: str) -> pa.Table:
        """Return one table as it is now."""
        return pa.Table.from_pylist(self.rows[name], schema=self._schemas[name])

    def inject(self, fault: RecordFault) -> bool:
        """Carry out one fault and note it; tell whether there was a record that it could happen to."""
        done = _FAULTS[fault](self)
        if done is None:
            return False
        row, symbol, record_id = done
        at = next((row[name] for name in _TIMES if row.get(name) is not None), None)
        assert at is not None  # noqa: S101 - every record has a time
        where = "venue" if fault in _OF_THE_VENUE else "desk"
        self._journal.add(at, where, fault, f"{symbol} {record_id}", rows=(symbol, record_id))
        return True

    def cut(self, name: str, scope: str, fault: FetchFault) -> bool:
        """Let the venue's list of one market or wallet lack rows; tell whether there were any."""
        column = "symbol" if name in {"venue_fills", "venue_orders", "venue_positions"} else "account"
        of_it = [row for row in self.rows[name] if row[column] == scope or name == "venue_positions"]
        if not of_it:
            return False
        lost = of_it if fault is FetchFault.EMPTY else of_it[: 1 + int(self._random.integers(len(of_it)))]
        self.rows[name] = [row for row in self.rows[name] if row not in lost]
        at = next(lost[0][each] for each in _TIMES if lost[0].get(each) is not None)
        self._journal.add(at, name, fault, f"{len(lost)} rows of {scope}", rows=(scope,))
        return True

    def pick(self, rows: Sequence[Row], place: Callable[[Row], str]) -> Row | None:
        """Return a row whose place no other fault has, and take the place."""
        free = [row for row in rows if place(row) not in self._taken]
        if not free:
            return None
        row = free[int(self._random.integers(len(free)))]
        self._taken.add(place(row))
        return row


_TIMES = ("filled_at", "occurred_at", "created_at", "booked_at", "held_at", "snapshot_at", "traded_at")
_OF_THE_VENUE = {RecordFault.LIQUIDATION, RecordFault.UNBOOKED_TRANSFER, RecordFault.SILENT_DEBIT, RecordFault.DUST}
_Done = tuple[Row, str, str] | None


def _order_of(row: Row) -> str:
    return f"{row['symbol']} {row['venue_order_id']}"


def _fill(records: Records) -> Row | None:
    return records.pick(records.rows["fills"], _order_of)


def _changed(**changes: Callable[[Row], Any]) -> Callable[[Records], _Done]:
    def carry_out(records: Records) -> _Done:
        row = _fill(records)
        if row is None:
            return None
        row |= {name: change(row) for name, change in changes.items()}
        return row, row["symbol"], row["fill_id"]

    return carry_out


def _lost_fill(records: Records) -> _Done:
    row = _fill(records)
    if row is None:
        return None
    records.rows["fills"].remove(row)
    return row, row["symbol"], row["fill_id"]


def _another_fill(**changes: Callable[[Row], Any]) -> Callable[[Records], _Done]:
    def carry_out(records: Records) -> _Done:
        row = _fill(records)
        if row is None:
            return None
        twin = row | {name: change(row) for name, change in changes.items()}
        records.rows["fills"].append(twin)
        return twin, twin["symbol"], twin["fill_id"]

    return carry_out


def _idle_orders(records: Records) -> list[Row]:
    """Return the first event of each order that ended without a fill, away from the ends of the day."""
    by_order: dict[str, list[Row]] = {}
    for row in records.rows["order_events"]:
        by_order.setdefault(_order_of(row), []).append(row)
    return [
        events[0]
        for events in by_order.values()
        if [each["event"] for each in events] == ["new", "cancel_sent", "cancelled"]
        and 0 < events[0]["occurred_at"].hour < 23
    ]


def _forgotten_order(records: Records) -> _Done:
    row = records.pick(_idle_orders(records), _order_of)
    if row is None:
        return None
    events = records.rows["order_events"]
    # When it was sent the order had no id of the venue's yet, but ours.
    records.rows["order_events"] = [
        each for each in events if _order_of(each) != _order_of(row) and each["child_id"] != row["child_id"]
    ]
    return row, row["symbol"], row["venue_order_id"]


def _ghost_order(records: Records) -> _Done:
    row = records.pick(_idle_orders(records), _order_of)
    if row is None:
        return None
    ghost = row | {"venue_order_id": f"9{row['venue_order_id']}", "child_id": "ghost", "event_id": "ghost-1"}
    records.rows["order_events"].append(ghost)
    return ghost, ghost["symbol"], ghost["venue_order_id"]


def _unended_order(records: Records) -> _Done:
    row = records.pick(_idle_orders(records), _order_of)
    if row is None:
        return None
    events = records.rows["order_events"]
    ends = [each for each in events if _order_of(each) == _order_of(row) and each["event"] == "cancelled"]
    records.rows["order_events"] = [each for each in events if each not in ends]
    return row, row["symbol"], row["venue_order_id"]


def _held(records: Records) -> Row | None:
    """Return the closing position of a contract that no other fault has."""
    closing = [row for row in records.rows["venue_positions"] if row["moment"] == "closing"]
    return records.pick(closing, lambda row: row["symbol"])


def _liquidation(records: Records) -> _Done:
    """Let the venue take one thousandth off a position, with an order and a fill of its own; it charges no fee."""
    held = _held(records)
    if held is None:
        return None
    of_it = [row for row in records.rows["venue_fills"] if row["symbol"] == held["symbol"]]
    orders = [row for row in records.rows["venue_orders"] if row["symbol"] == held["symbol"]]
    if not of_it or not orders:
        return None
    quantity, side = Decimal("0.001"), -1 if held["position"] > 0 else 1
    at = held["snapshot_at"] - timedelta(hours=12)
    number = f"8{of_it[0]['trade_id']}"
    own = {"side": side, "quantity": quantity, "venue_order_id": number}
    records.rows["venue_fills"].append(of_it[0] | own | {"trade_id": number, "fee": Decimal(0), "traded_at": at})
    order = {"client_order_id": f"autoclose-{number}", "filled": quantity, "status": "closed"}
    records.rows["venue_orders"].append(orders[0] | own | order | {"created_at": at, "updated_at": at})
    held["position"] += side * quantity
    for row in records.rows["positions"]:
        if row["symbol"] == held["symbol"] and row["held_at"] > at:
            # The desk's positions come from the venue, and so have what its fills lack.
            row["position"] += side * quantity
    return {"created_at": at}, held["symbol"], number


def _funding(change: Callable[[Row], Row | None]) -> Callable[[Records], _Done]:
    def carry_out(records: Records) -> _Done:
        entries = records.rows["ledger_entries"]
        paid = [row for row in entries if row["entry_type"] == "funding" and abs(row["amount"]) > 1]
        row = records.pick(paid, lambda row: f"entry {row['entry_id']}")
        if row is None:
            return None
        changed = change(row)
        records.rows["ledger_entries"] = [each for each in entries if each is not row] + ([changed] if changed else [])
        return row, row["symbol"], row["entry_id"]

    return carry_out


def _balance(records: Records, asset: str) -> Row | None:
    closing = [row for row in records.rows["venue_balances"] if row["moment"] == "closing"]
    of_it = [row for row in closing if (row["account"], row["asset"]) == ("spot", asset)]
    return records.pick(of_it, lambda row: f"spot {row['asset']}")


def _unbooked_transfer(records: Records) -> _Done:
    row = _balance(records, "USDT")
    if row is None:
        return None
    row["amount"] -= 4321
    paid = {
        "account": "spot",
        "income_id": "w1",
        "income_type": "withdrawal",
        "asset": "USDT",
        "amount": Decimal(-4321),
    }
    paid |= {"symbol": None, "reference": None, "booked_at": row["snapshot_at"] - timedelta(hours=12)}
    records.rows["venue_income"].append(paid | {"venue": row["venue"], "fetch_id": row["fetch_id"]})
    return paid, "USDT", "w1"


def _moved(asset: str, amount: Decimal) -> Callable[[Records], _Done]:
    def carry_out(records: Records) -> _Done:
        row = _balance(records, asset)
        if row is None:
            return None
        row["amount"] += amount
        return row, asset, ""

    return carry_out


def _believed(change: Callable[[Decimal], Decimal]) -> Callable[[Records], _Done]:
    def carry_out(records: Records) -> _Done:
        last = max(row["held_at"] for row in records.rows["positions"])
        held = {row["symbol"] for row in records.rows["venue_positions"] if row["moment"] == "closing"}
        rows = [row for row in records.rows["positions"] if row["held_at"] == last and row["symbol"] in held]
        # What was traded after the desk's last word is added to it, and must not turn the change around.
        rows = [row for row in rows if row["position"] and not _traded_after(records, row["symbol"], last)]
        row = records.pick(rows, lambda row: row["symbol"])
        if row is None:
            return None
        row["position"] = change(row["position"])
        return row, row["symbol"], ""

    return carry_out


def _traded_after(records: Records, symbol: str, at: Any) -> bool:
    return any(row["symbol"] == symbol and row["filled_at"] > at for row in records.rows["fills"])


_FAULTS: Mapping[RecordFault, Callable[[Records], _Done]] = {
    RecordFault.LOST_FILL: _lost_fill,
    RecordFault.INVENTED_FILL: _another_fill(fill_id=lambda row: f"7{row['fill_id']}"),
    RecordFault.TWO_VERSIONS: _another_fill(quantity=lambda row: row["quantity"] * 2),
    RecordFault.WRONG_QUANTITY: _changed(quantity=lambda row: row["quantity"] * 2),
    RecordFault.WRONG_PRICE: _changed(price=lambda row: row["price"] + Decimal("0.00000001")),
    RecordFault.WRONG_SIDE: _changed(side=lambda row: -row["side"]),
    RecordFault.WRONG_FEE: _changed(fee=lambda row: row["fee"] * 2 + Decimal("0.00001")),
    RecordFault.WRONG_FEE_ASSET: _changed(fee_currency=lambda _: "BNB"),
    RecordFault.WRONG_CLOCK: _changed(filled_at=lambda row: row["filled_at"] + timedelta(seconds=2)),
    RecordFault.FORGOTTEN_ORDER: _forgotten_order,
    RecordFault.GHOST_ORDER: _ghost_order,
    RecordFault.UNENDED_ORDER: _unended_order,
    RecordFault.LIQUIDATION: _liquidation,
    RecordFault.LOST_FUNDING: _funding(lambda _: None),
    RecordFault.WRONG_FUNDING: _funding(lambda row: row | {"amount": -row["amount"]}),
    RecordFault.UNBOOKED_TRANSFER: _unbooked_transfer,
    RecordFault.WRONG_POSITION: _believed(lambda held: held + Decimal("0.01") * (1 if held > 0 else -1)),
    RecordFault.FLIPPED_POSITION: _believed(lambda held: -held),
    RecordFault.SILENT_DEBIT: _moved("BTC", Decimal("-0.0015")),
    RecordFault.DUST: _moved("DOGE", Decimal("0.5")),
}
