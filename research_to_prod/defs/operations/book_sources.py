"""What the rules on prices and on the book rest on: markets from the lake's views, allotments from ledger and files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from research_to_prod.lake import Lake, Snapshot
from research_to_prod.settings import Settings
from research_to_prod.values import day_bounds

if TYPE_CHECKING:
    from research_to_prod.operations.alerting.book_measures import BookDay
    from research_to_prod.operations.alerting.market_measures import MarketDay
    from research_to_prod.promotion.record import Record


def market_at(lake: Lake, day: str, moment: datetime) -> MarketDay:
    """Return what the lake's quotes and trades of ``day``, and its bars, say of prices at ``moment``."""
    from research_to_prod.operations.alerting.book_measures import minutes_to, windows_to
    from research_to_prod.operations.alerting.market_measures import market_of

    views = [name for name in ("quotes", "trades") if lake.has(name, day)]
    views += ["candles"] if lake.partitions("candles") else []
    times = sorted({*windows_to(moment).values(), *minutes_to(moment)})
    with lake.connection(views) as connection:
        return market_of(connection, views, times)


def versions_behind(lake: Lake, day: str) -> Snapshot:
    """Return the versions that the views have for what `market_at` reads of ``day``; no rows."""
    from research_to_prod.operations.alerting.market_measures import BASIS_PAST

    start, end = day_bounds(day)
    wanted = {"quotes": (day, day), "trades": (day, day), "candles": (f"{start - BASIS_PAST:%Y-%m}", f"{end:%Y-%m}")}
    found = (
        version
        for table, (first, last) in wanted.items()
        if lake.partitions(table)
        for partition, version in lake.versions(table).items()
        if partition is not None and first <= partition <= last
    )
    return Snapshot(pa.table({}), tuple(found))


def read_candidates(lake: Lake, *tables: pa.Table | None) -> list[Snapshot]:
    """Return the materialized candidate of each strategy that ``tables`` name, of those that have one."""
    names = {name for table in tables if table is not None for name in table["strategy"].to_pylist()}
    return [lake.read("candidate", name) for name in sorted(names) if lake.has("candidate", name)]


def book_at(
    settings: Settings,
    positions: pa.Table,
    fills: pa.Table,
    candidates: Sequence[Snapshot],
    since: datetime,
    moment: datetime,
    mids: pa.Table | None = None,
    candles: pa.Table | None = None,
) -> BookDay:
    """Return what the desk has stated and traded, with what each of its strategies may use at ``moment``.

    ``since`` is from when on ``fills`` has all, and ``candidates`` what `read_candidates` returned.
    """
    from research_to_prod.gates.capital import load_allocation
    from research_to_prod.operations.alerting.allotted import allotted_of
    from research_to_prod.operations.alerting.book_measures import BookDay
    from research_to_prod.research.candidate_table import candidate_from_table

    allocation = load_allocation(settings.desk / "capital" / "allocation.yaml")
    strategies = sorted({*positions["strategy"].to_pylist(), *fills["strategy"].to_pylist()})
    asking = [candidate_from_table(each.rows) for each in candidates]
    allotted = allotted_of(strategies, asking, _records(settings), allocation, moment)
    return BookDay(positions, fills, since, mids, candles, allotted, allocation.currency)


def _records(settings: Settings) -> Sequence[Record] | None:
    """Return the ledger's records; None where it does not verify, and then nobody's limit is known."""
    from research_to_prod.promotion.keys import PUBLIC_FILE, KeyFileError, read_keys
    from research_to_prod.promotion.ledger import Ledger, LedgerError
    from research_to_prod.promotion.verifier import RECORDS

    if not (settings.ledger / RECORDS).exists():
        return ()
    try:
        return Ledger(settings.ledger, read_keys(settings.keys / PUBLIC_FILE)).records()
    except (LedgerError, KeyFileError):
        return None
