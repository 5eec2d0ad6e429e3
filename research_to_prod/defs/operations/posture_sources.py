"""What the risk posture follows from, as the lake and the files have it at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.defs.operations.assets import VENUE_TABLES
from research_to_prod.lake import Lake, Snapshot
from research_to_prod.settings import Settings
from research_to_prod.values import day_bounds

if TYPE_CHECKING:
    from research_to_prod.market_data.calendars import Calendar
    from research_to_prod.operations.alerting.situation import Context
    from research_to_prod.promotion.manifest import Manifest
    from research_to_prod.reports.compile_standing import Standing
    from research_to_prod.reports.posture_inputs import Known, Place

Written = tuple[tuple[str, int, int], ...]
"""Path, time and size of files."""

ACCOUNT_TABLES = frozenset({"venue_fills", "venue_positions", "venue_balances"})
"""What must have been read completely for an account to count as seen."""
LOOK_BACK = 7
"""Days of an account's readings among which the last complete one is looked for."""


class PostureSources:
    """The newest of everything up to ``now``; ``read`` has the snapshots."""

    def __init__(self, lake: Lake, settings: Settings, now: datetime) -> None:
        self.read: list[Snapshot] = []
        self._lake, self._settings, self._now = lake, settings, now

    def context(self) -> Context:
        """Return what is held, by the desk's last statement, and what the profile expects of this hour."""
        return self._context()[0]

    def known(self) -> Known:
        """Return all that the posture follows from."""
        from research_to_prod.gates.capital import load_allocation
        from research_to_prod.operations.alerting.rules import load_alert_policy
        from research_to_prod.reports.posture_inputs import Known

        desk = self._settings.desk
        context, positions, profile = self._context()
        account, balances, certificates = self._account()
        payments, funding_to = self._funding()
        return Known(
            context=context,
            positions=positions,
            profile=profile,
            profile_to=None if profile is None else pc.min(profile["observed_to"]).as_py(),
            balances=balances,
            account_proven=account,
            payments=payments,
            funding_to=funding_to,
            maintenance=self._maintenance(),
            manifest=self._manifest(),
            allocation=load_allocation(desk / "capital" / "allocation.yaml"),
            settings=load_alert_policy(desk / "alerts").settings,
            standing=self._standing(certificates),
        )

    def _context(self) -> tuple[Context, pa.Table | None, pa.Table | None]:
        from research_to_prod.operations.alerting.day_context import context_of_day

        desk = self._settings.desk
        calendars, capital = _declared(desk, written(desk, "calendars/*.yaml", "capital/allocation.yaml"))
        day, week = self._newest("positions"), self._newest("liquidity_profile")
        positions, profile = self._rows("positions", day), self._rows("liquidity_profile", week)
        context = context_of_day(
            self._now,
            self._now if day is None else day_bounds(day)[0],
            positions,
            self._rows("orders", day),
            profile,
            None if week is None else self._lake.version("liquidity_profile", week).content_sha256,
            calendars,
            capital,
        )
        return context, positions, profile

    def _newest(self, table: str) -> str | None:
        return max((each for each in self._lake.partitions(table) if each <= f"{self._now:%Y-%m-%d}"), default=None)

    def _rows(self, table: str, partition: str | None) -> pa.Table | None:
        if partition is None or not self._lake.has(table, partition):
            return None
        snapshot = self._lake.read(table, partition)
        self.read.append(snapshot)
        return snapshot.rows

    def _account(self) -> tuple[Mapping[str, datetime], pa.Table | None, list[pa.Table]]:
        """Return up to when each account was last read completely, its wallets then, and the newest certificates."""
        newest = self._newest("venue_fills")
        proven: dict[str, datetime] = {}
        held: list[pa.Table] = []
        first: list[pa.Table] = []
        for back in range(0 if newest is None else LOOK_BACK):
            day = f"{day_bounds(newest or '')[0] - timedelta(days=back):%Y-%m-%d}"
            proofs = {name: self._rows("fetch_certificates", f"{name}-{day}") for name in VENUE_TABLES}
            first = first or [rows for rows in proofs.values() if rows is not None]
            given = [(name, row) for name, rows in proofs.items() if rows is not None for row in rows.to_pylist()]
            for venue in sorted({row["venue"] for _, row in given} - proven.keys()):
                own = [(name, row) for name, row in given if row["venue"] == venue and name in ACCOUNT_TABLES]
                if {name for name, _ in own} == ACCOUNT_TABLES and all(row["complete"] for _, row in own):
                    proven[venue] = min(self._now, *(row["interval_end"] for _, row in own))
                    rows = self._rows("venue_balances", day)
                    held += [] if rows is None else [rows.filter(pc.equal(rows["venue"], venue))]
            if proven and {row["venue"] for _, row in given} <= proven.keys():
                break
        return proven, pa.concat_tables(held) if held else None, first

    def _funding(self) -> tuple[Mapping[Place, list[tuple[datetime, float]]], Mapping[Place, datetime]]:
        payments: dict[Place, list[tuple[datetime, float]]] = {}
        proven: dict[Place, datetime] = {}
        month = self._newest("funding_rates")
        if month is None:
            return payments, proven
        rows = self._rows("funding_rates", month)
        for row in [] if rows is None else rows.sort_by("ts").to_pylist():
            if row["ts"] <= self._now:
                payments.setdefault((row["venue"], row["symbol"]), []).append((row["ts"], row["rate"]))
        certificates = self._rows("fetch_certificates", f"funding_rates-{month}")
        for row in [] if certificates is None else certificates.to_pylist():
            if row["complete"]:
                place = (row["venue"], row["scope"].partition(" ")[0])
                proven[place] = min(self._now, max(row["interval_end"], proven.get(place, row["interval_end"])))
        return payments, proven

    def _maintenance(self) -> Mapping[Place, float]:
        """Return the largest that any candidate's terms state, by market; a term of 0 states none."""
        from research_to_prod.research.candidate import load_candidates

        margins: dict[Place, float] = {}
        for candidate in load_candidates(self._settings.desk / "candidates"):
            for symbol, terms in candidate.instruments.items():
                if terms.maintenance_margin:
                    place = (candidate.venue, symbol)
                    margins[place] = max(terms.maintenance_margin, margins.get(place, 0.0))
        return margins

    def _manifest(self) -> Manifest | None:
        """Return the manifest that is in force; None where there is none, or none that verifies."""
        from research_to_prod.promotion.keys import PUBLIC_FILE, KeyFileError, read_keys
        from research_to_prod.promotion.manifest import ManifestError, read_manifest

        try:
            keys = read_keys(self._settings.keys / PUBLIC_FILE)
            manifest = read_manifest(self._settings.production / "manifest.json", keys)
        except (ManifestError, KeyFileError):
            return None
        return manifest if self._now < manifest.valid_until else None

    def _standing(self, certificates: list[pa.Table]) -> Standing:
        from research_to_prod.operations.control_journal import ControlJournal, ControlJournalError, Ladders
        from research_to_prod.operations.delivery.heartbeat import FILE, last_beat
        from research_to_prod.operations.incidents.store import IncidentError, Incidents, IncidentStore
        from research_to_prod.operations.watch import INCIDENTS
        from research_to_prod.reports.compile_standing import compile_standing

        incidents: Incidents | None = None
        controls: Ladders | str
        with suppress(IncidentError, OSError):
            incidents = IncidentStore(self._settings.operations / INCIDENTS).read()
        try:
            controls = ControlJournal(self._settings.controls).ladders()
        except (ControlJournalError, OSError) as error:
            controls = str(error)
        beat = last_beat(self._settings.operations / FILE)
        day = self._newest("breaks")
        rows = [row for table in certificates for row in table.select(["interval_end", "complete"]).to_pylist()]
        same = day is not None and day == self._newest("venue_fills")
        whole = same and bool(rows) and all(row["complete"] for row in rows)
        return compile_standing(
            self._rows("breaks", day),
            min(self._now, *(row["interval_end"] for row in rows)) if whole else None,
            incidents,
            None if beat is None else beat.at,
            controls,
            self._now,
        )


def written(folder: Path, *patterns: str) -> Written:
    """Return what tells whether one of the files has changed: what follows from them is made again only then."""
    files = sorted(path for pattern in patterns for path in folder.glob(pattern))
    return tuple((str(each), each.stat().st_mtime_ns, each.stat().st_size) for each in files)


@lru_cache(maxsize=1)
def _declared(desk: Path, _: Written) -> tuple[tuple[Calendar, ...], float]:
    """Return the calendars and the book's capital as the files of ``desk`` are written."""
    from research_to_prod.gates.capital import load_allocation
    from research_to_prod.market_data.calendars import load_calendars

    allocation = load_allocation(desk / "capital" / "allocation.yaml")
    return tuple(load_calendars(desk / "calendars")), allocation.book_capital.value
