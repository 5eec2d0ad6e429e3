"""The lake's tables as the rules' measurements of one day need them, with the exact versions that were read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa

from research_to_prod.defs.operations.book_sources import book_at, market_at, read_candidates, versions_behind
from research_to_prod.execution.contracts import VENUE_RECORDS
from research_to_prod.lake import Lake, Snapshot
from research_to_prod.operations.alerting.accounts import Accounts
from research_to_prod.operations.alerting.evaluation import Observation
from research_to_prod.operations.alerting.situation import Context
from research_to_prod.settings import Settings
from research_to_prod.values import day_bounds

if TYPE_CHECKING:
    from research_to_prod.operations.alerting.burn_measures import Promised

DAILY = (
    *("orders", "fills", "quotes", "trades", "positions", "venue_fills"),
    *("slippage", "shadow", "pnl_waterfall", "edge_verdicts", "breaks"),
)
"""Tables with a partition a day; one that lacks the day is late."""

ACCOUNTS = ("order_events", "ledger_entries", *VENUE_RECORDS)
"""What else is read of the accounts. The first two need not be delivered, and the others come together."""


class DaySources:
    """What is known of ``day``; a table without the day, or not there at all, gives nothing."""

    def __init__(self, lake: Lake, settings: Settings, day: str) -> None:
        from research_to_prod.gates.capital import load_allocation
        from research_to_prod.market_data.calendars import load_calendars
        from research_to_prod.operations.alerting.rules import load_objectives

        self.read: list[Snapshot] = [versions_behind(lake, day)]
        self._lake, self._settings, self._day = lake, settings, day
        self._start, self._end = day_bounds(day)
        self._allocation = load_allocation(settings.desk / "capital" / "allocation.yaml")
        self._calendars = load_calendars(settings.desk / "calendars")
        start = date.fromisoformat(day)
        self._tables = {
            name: self._rows(name, day)
            for name in ("orders", "fills", "venue_fills", "slippage", "shadow", "positions")
        }
        self._breaks = self._rows("breaks", day)
        self._certificates = {
            name: rows
            for name in VENUE_RECORDS
            if (rows := self._rows("fetch_certificates", f"{name}-{day}")) is not None
        }
        read = {name: self._tables[name] if name in self._tables else self._rows(name, day) for name in VENUE_RECORDS}
        self._venue = {name: rows for name, rows in read.items() if rows is not None}
        self._candidates = read_candidates(lake, self._tables["positions"], self._tables["fills"])
        self.read += self._candidates
        self._objectives = load_objectives(settings.desk / "alerts")
        # Whether orders still fill is asked of views over four weeks; the day itself is read above.
        self.read += [self._behind(name, start - timedelta(days=28)) for name in ("orders", "fills")]
        # Of bars and payments one day back is looked at, which may lie in the month before.
        self._months = {
            name: self._recent(name, sorted({f"{start - timedelta(days=back):%Y-%m}" for back in (0, 1)}))
            for name in ("candles", "funding_rates")
        }
        self._profile = self._rows("liquidity_profile", (start - timedelta(days=start.weekday())).isoformat())
        version = [each for snapshot in self.read for each in snapshot.versions if each.table == "liquidity_profile"]
        self._profile_version = version[0].content_sha256 if version else None

    def observations(self, moment: datetime, runs: Sequence[Promised] | None) -> list[Observation]:
        """Return what the tables say at ``moment``, and what became of ``runs`` that schedules asked for before it."""
        from research_to_prod.operations.alerting.burn_measures import observe_burns
        from research_to_prod.operations.alerting.day_measures import DayTables, events_seen, observe_day
        from research_to_prod.operations.alerting.fill_ratio import fill_ratio, filled_shares

        seen = None
        if all(self._lake.has(each, self._day) for each in ("quotes", "trades")):
            with self._lake.connection(["quotes", "trades"]) as connection:
                seen = events_seen(connection, moment)
        market = market_at(self._lake, self._day, moment)
        positions, fills = self._tables["positions"], self._tables["fills"]
        book = None
        if positions is not None and fills is not None:
            held = (self._settings, positions, fills, self._candidates, self._start, moment)
            book = book_at(*held, market.mids, self._months["candles"])
        tables = DayTables(
            seen=seen,
            certificates=self._certificates.get("venue_fills"),
            accounts=self._accounts(moment),
            lags={name: self._lag(name) for name in DAILY},
            market=market,
            book=book,
            **self._tables,
            **self._months,
        )
        burns = observe_burns(self._tables["orders"], list(self._certificates.values()), runs, self._objectives, moment)
        ratios: list[Observation] = []
        if all(self._lake.has(each, self._day) for each in ("orders", "fills")):
            with self._lake.connection(["orders", "fills"]) as connection:
                ratios = list(fill_ratio(filled_shares(connection, moment), moment))
        return [*observe_day(tables, moment), *burns, *ratios]

    def context(self, moment: datetime) -> Context:
        """Return what was held and expected at ``moment``."""
        from research_to_prod.operations.alerting.day_context import context_of_day

        return context_of_day(
            moment,
            self._start,
            self._tables["positions"],
            self._tables["orders"],
            self._profile,
            self._profile_version,
            self._calendars,
            self._allocation.book_capital.value,
        )

    def _accounts(self, moment: datetime) -> Accounts | None:
        """Return what is known of the accounts; None where none was read."""
        from research_to_prod.operations.alerting.margin_measures import last_prices

        if not self._certificates:
            return None
        return Accounts(
            since=self._start,
            told_to=self._end,
            forced_since=self._start,
            breaks=self._breaks,
            venue=self._venue,
            certificates=self._certificates,
            recorded=frozenset(each for each in ("order_events", "ledger_entries") if self._lake.has(each, self._day)),
            fills=self._tables["fills"],
            positions=self._tables["positions"],
            capital=self._allocation.book_capital.value,
            currency=self._allocation.currency,
            funding_rates=self._months["funding_rates"],
            deviations=self.context(moment).hour_deviations,
            prices=last_prices(self._months["candles"], moment),
        )

    def _rows(self, table: str, partition: str) -> pa.Table | None:
        if not self._lake.has(table, partition):
            return None
        snapshot = self._lake.read(table, partition)
        self.read.append(snapshot)
        return snapshot.rows

    def _behind(self, table: str, first: date) -> Snapshot:
        """Return the versions that a view has of the days from ``first`` to the one before the day; no rows."""
        days = self._lake.versions(table) if self._lake.partitions(table) else {}
        found = (each for day, each in days.items() if day is not None and first.isoformat() <= day < self._day)
        return Snapshot(pa.table({}), tuple(found))

    def _recent(self, table: str, months: list[str]) -> pa.Table | None:
        from research_to_prod.operations.alerting.day_measures import before

        parts = [rows for month in months if (rows := self._rows(table, month)) is not None]
        return before(pa.concat_tables(parts), "ts", self._end, days=2) if parts else None

    def _lag(self, table: str) -> float:
        """Return the days from the newest partition to the day, 0 where it is there; the day's own age without any."""
        made = [each for each in self._lake.partitions(table) if each <= self._day]
        newest = date.fromisoformat(max(made)) if made else self._start.date() - timedelta(days=1)
        return float((date.fromisoformat(self._day) - newest).days)
