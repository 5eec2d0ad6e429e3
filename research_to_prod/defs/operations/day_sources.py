"""The lake's tables as the rules' measurements of one day need them, with the exact versions that were read."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pyarrow as pa

from research_to_prod.execution.contracts import VENUE_RECORDS
from research_to_prod.lake import Lake, Snapshot
from research_to_prod.operations.alerting.accounts import Accounts
from research_to_prod.operations.alerting.evaluation import Observation
from research_to_prod.operations.alerting.situation import Context
from research_to_prod.settings import Settings
from research_to_prod.values import day_bounds

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

        self.read: list[Snapshot] = []
        self._lake, self._day = lake, day
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
        # Of bars and payments one day back is looked at, which may lie in the month before.
        self._months = {
            name: self._recent(name, sorted({f"{start - timedelta(days=back):%Y-%m}" for back in (0, 1)}))
            for name in ("candles", "funding_rates")
        }
        self._profile = self._rows("liquidity_profile", (start - timedelta(days=start.weekday())).isoformat())
        version = [each for snapshot in self.read for each in snapshot.versions if each.table == "liquidity_profile"]
        self._profile_version = version[0].content_sha256 if version else None

    def observations(self, moment: datetime) -> list[Observation]:
        """Return what the tables say at ``moment``."""
        from research_to_prod.operations.alerting.day_measures import DayTables, events_seen, observe_day

        seen = None
        if all(self._lake.has(each, self._day) for each in ("quotes", "trades")):
            with self._lake.connection(["quotes", "trades"]) as connection:
                seen = events_seen(connection, moment)
        tables = DayTables(
            seen=seen,
            certificates=self._certificates.get("venue_fills"),
            accounts=self._accounts(moment),
            loss_limit=self._allocation.expected_shortfall_limit.value,
            lags={name: self._lag(name) for name in DAILY},
            **self._tables,
            **self._months,
        )
        return observe_day(tables, moment)

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

    def _recent(self, table: str, months: list[str]) -> pa.Table | None:
        from research_to_prod.operations.alerting.day_measures import before

        parts = [rows for month in months if (rows := self._rows(table, month)) is not None]
        return before(pa.concat_tables(parts), "ts", self._end, days=2) if parts else None

    def _lag(self, table: str) -> float:
        """Return the days from the newest partition to the day, 0 where it is there; the day's own age without any."""
        made = [each for each in self._lake.partitions(table) if each <= self._day]
        newest = date.fromisoformat(max(made)) if made else self._start.date() - timedelta(days=1)
        return float((date.fromisoformat(self._day) - newest).days)
