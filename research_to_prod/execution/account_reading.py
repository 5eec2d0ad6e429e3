"""One reading of a venue's account in which nothing moved: fills, orders, payments, holdings, and the fills again.

Belongs here: the order of the reads, and whether they belong together. Doesn't: single reads
(``market_data.account_reads``), rows (``venue_records``), conclusions (``operations``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

import pyarrow as pa

from research_to_prod.execution.contracts import VENUE_FEES, VENUE_RECORDS
from research_to_prod.execution.venue_records import (
    venue_balances_table,
    venue_fills_table,
    venue_income_table,
    venue_orders_table,
    venue_positions_table,
)
from research_to_prod.market_data.account_reads import Wallet
from research_to_prod.market_data.certificates import Certificate, issue
from research_to_prod.market_data.universe import Universe
from research_to_prod.market_data.venue import VenueClient
from research_to_prod.market_data.venue_errors import VenueError
from research_to_prod.values import day_bounds

_SECOND = timedelta(seconds=1)
_ATTEMPTS = 2

_SETTLED_FOR = timedelta(hours=1)
"""Age from which a day's statement is expected; before that the closing is what is held now."""


@dataclass(frozen=True)
class Reading:
    """What was read of one venue.

    Parameters
    ----------
    tables
        The rows by the name of their asset.
    certificates
        By the same names. Of what could not be read there is one that is not complete.
    problems
        What could not be read, and why.
    settled
        Whether the fills were the same before and after everything else; if not, no certificate is complete.
    """

    tables: Mapping[str, pa.Table]
    certificates: Mapping[str, tuple[Certificate, ...]]
    problems: tuple[str, ...]
    settled: bool


class _Part:
    """Rows and certificates as they come, by table."""

    def __init__(self) -> None:
        self.rows: dict[str, list[pa.Table]] = {name: [schema.empty()] for name, schema in VENUE_RECORDS.items()}
        self.certificates: dict[str, list[Certificate]] = {name: [] for name in VENUE_RECORDS}
        self.problems: list[str] = []

    def add(self, table: str, rows: pa.Table, *certificates: Certificate) -> None:
        self.rows[table].append(rows)
        self.certificates[table] += certificates


def known_symbols(universe: Universe, traded: pa.Table | None) -> dict[str, set[str]]:
    """Return by venue every symbol that the desk follows or ever traded.

    Parameters
    ----------
    traded
        Columns ``venue`` and ``symbol`` of the fills that the desk ever recorded, of which venues that the universe no
        longer names are left out: nobody has their keys.
    """
    known = {
        venue.name: {each.symbol for each in universe.markets if each.venue == venue.name} for venue in universe.venues
    }
    if traded is not None:
        for row in traded.group_by(["venue", "symbol"]).aggregate([]).to_pylist():
            if row["venue"] in known:
                known[row["venue"]].add(row["symbol"])
    return {venue: symbols for venue, symbols in known.items() if symbols}


def read_account(client: VenueClient, known: Iterable[str], day: str, now: datetime) -> Reading:
    """Read the account of a day, or of its part that is over by ``now``.

    Fills are read first and again last; when they differ, something moved in between, and everything is read once more.
    When they differ again nothing is certified: what is absent may have been on its way.

    Parameters
    ----------
    known
        Every symbol that the desk ever traded or follows. Contracts that the account holds or was paid for, and spot
        markets of assets that it holds and no known market has, are read too.
    now
        The venue's clock, or ours.

    Raises
    ------
    VenueError
        If the fills can't be read. Of the rest what fails is a problem and unknown.
    """
    symbols = set(known)
    part, settled = _Part(), False
    for _ in range(_ATTEMPTS):
        part = _Part()
        first = _read_fills(client, symbols, day, part)
        _read_orders(client, symbols, day, part)
        _read_payments(client, day, part)
        _read_holdings(client, day, now, part)
        _read_fees(client, symbols, day, now, part)
        found = symbols | _markets_of(client, part, symbols)
        again = _Part()
        settled = _read_fills(client, found, day, again) == first and found == symbols
        if settled:
            break
        symbols = found
    certificates = {
        name: tuple(each if settled else _unsettled(each) for each in part.certificates[name]) for name in VENUE_RECORDS
    }
    tables = {name: pa.concat_tables(rows) for name, rows in part.rows.items()}
    problems = tuple(part.problems) if settled else (*part.problems, "fills changed during both readings")
    return Reading(tables, certificates, problems, settled)


def _read_fills(client: VenueClient, symbols: set[str], day: str, part: _Part) -> dict[str, frozenset[str]]:
    """Read the fills of each symbol; return what tells whether any came."""
    seen = {}
    for symbol in sorted(symbols):
        fetched = client.my_trades(symbol, *day_bounds(day))
        rows = venue_fills_table(fetched.rows, client.name, fetched.certificate.fetch_id)
        part.add("venue_fills", rows, fetched.certificate)
        seen[symbol] = frozenset(rows["trade_id"].to_pylist())
    return seen


def _read_orders(client: VenueClient, symbols: set[str], day: str, part: _Part) -> None:
    for symbol in sorted(symbols):
        try:
            fetched = client.my_orders(symbol, *day_bounds(day))
        except VenueError as error:
            _unread(client, "venue_orders", symbol, day, error, part)
            continue
        rows = venue_orders_table(fetched.rows, client.name, fetched.certificate.fetch_id)
        part.add("venue_orders", rows, fetched.certificate)


def _read_payments(client: VenueClient, day: str, part: _Part) -> None:
    try:
        found = client.payments(*day_bounds(day))
    except VenueError as error:
        for account in ("spot", "futures"):
            _unread(client, "venue_income", account, day, error, part)
        return
    for fetched in found:
        account = fetched.certificate.scope.partition(" ")[0]
        rows = venue_income_table(fetched.rows, account, client.name, fetched.certificate.fetch_id)
        part.add("venue_income", rows, fetched.certificate)


def _read_fees(client: VenueClient, symbols: set[str], day: str, now: datetime, part: _Part) -> None:
    """Read the terms of each market; one whose fees can't be read has no row, which claims nothing."""
    lots = {each.symbol: each.lot for each in client.instruments()}
    try:
        tiers = client.margin_tiers()
    except VenueError as error:
        tiers = {}
        part.problems.append(f"venue_fees margin tiers: {error}")
    rows = []
    for symbol in sorted(symbols):
        try:
            fee = client.fees(symbol)
        except VenueError as error:
            part.problems.append(f"venue_fees {symbol}: {error}")
            continue
        lot, own = lots.get(symbol), tiers.get(symbol)
        terms = {
            "maker_rate": Decimal(fee.maker),
            "taker_rate": Decimal(fee.taker),
            "lot": None if lot is None else Decimal(lot),
            "margin_floors": None if own is None else [Decimal(each.floor) for each in own],
            "margin_rates": None if own is None else [Decimal(each.rate) for each in own],
            "margin_deductions": None if own is None else [Decimal(each.deduction) for each in own],
        }
        rows.append({"day": day, "venue": client.name, "symbol": symbol, "stated_at": now} | terms)
    part.add("venue_fees", pa.Table.from_pylist(rows, schema=VENUE_FEES.arrow))


def _read_holdings(client: VenueClient, day: str, now: datetime, part: _Part) -> None:
    """Read the statements around the day; while it runs, or was not stated yet, the closing is what is held now."""
    start, end = day_bounds(day)
    stated = end - _SECOND if now >= end + _SETTLED_FOR else start - _SECOND
    try:
        statements = client.statements(start - _SECOND, stated)
        closing = client.holdings() if stated < start else ()
    except VenueError as error:
        parts = (("venue_balances", "spot"), ("venue_balances", "futures"), ("venue_positions", "futures"))
        for table, account in parts:
            _unread(client, table, account, day, error, part)
        return
    for fetched in statements:
        for wallet in fetched.rows:
            moment = "opening" if wallet.at < start else "closing"
            _add_wallet(client, wallet, moment, day, fetched.certificate, part)
        _add_certificate(fetched.certificate, part)
    for held in closing:
        _add_wallet(client, held.rows, "closing", day, held.certificate, part)
        _add_certificate(held.certificate, part)


def _add_wallet(client: VenueClient, wallet: Wallet, moment: str, day: str, proof: Certificate, part: _Part) -> None:
    part.add("venue_balances", venue_balances_table([wallet], moment, client.name, day, proof.fetch_id))
    part.add("venue_positions", venue_positions_table([wallet], moment, client.name, day, proof.fetch_id))


def _add_certificate(proof: Certificate, part: _Part) -> None:
    part.certificates["venue_balances"].append(proof)
    if proof.scope == "futures":
        part.certificates["venue_positions"].append(proof)


def _markets_of(client: VenueClient, part: _Part, known: set[str]) -> set[str]:
    """Return the markets that the account's own records name: contracts, and spot markets of assets that it holds."""
    named = {
        symbol
        for table in ("venue_income", "venue_positions")
        for rows in part.rows[table]
        for symbol in rows["symbol"].to_pylist()
        if symbol is not None
    }
    covered = {asset for symbol in known for asset in symbol.partition(":")[0].split("/")}
    held = {
        row["asset"]
        for rows in part.rows["venue_balances"]
        for row in rows.to_pylist()
        if row["account"] == "spot" and row["asset"] not in covered
    }
    listed = (each.symbol for each in client.instruments()) if held else ()
    return named | {symbol for symbol in listed if ":" not in symbol and symbol.split("/")[0] in held}


def _unread(client: VenueClient, table: str, scope: str, day: str, error: VenueError, part: _Part) -> None:
    """Note what could not be read: it is unknown, not absent."""
    part.problems.append(f"{table} {scope}: {error}")
    certificate = issue(
        venue=client.name,
        endpoint=table,
        scope=scope,
        interval=day_bounds(day),
        bodies=(),
        rows=0,
        terminal="unread",
        complete=False,
    )
    part.certificates[table].append(certificate)


def _unsettled(proof: Certificate) -> Certificate:
    return replace(proof, complete=False, terminal="unsettled")
