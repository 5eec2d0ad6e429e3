"""What the lake holds of the markets that a desk held or traded on a day, as the failure modes look at it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.attribution.failure_mode_inputs import TRADES_OF_DAYS, DeskTables, MarketTables
from research_to_prod.attribution.quote_match import StoredQuotes, match_quotes
from research_to_prod.attribution.shadow_days import Place
from research_to_prod.defs.tables import TABLES
from research_to_prod.lake import Lake, Snapshot
from research_to_prod.market_data.series import Integers

_BASIS_DAYS, _FUNDING_DAYS = 9, 183


class MarketDays:
    """Reads the day's inputs market by market, and remembers what was read.

    Parameters
    ----------
    shadow
        ``SHADOW`` rows of all days up to ``day``.
    """

    def __init__(self, lake: Lake, day: str, shadow: pa.Table) -> None:
        self._lake, self._day, self._shadow = lake, day, shadow
        self.read: list[Snapshot] = []
        self._stored, self._made = lake.tables(), dict[str, Collection[str | None]]()
        trades = self._days(TRADES_OF_DAYS)
        self._decisions, self._orders, self._slippage, self._markouts = (
            self._table(name, trades) for name in ("decisions", "orders", "slippage", "markouts")
        )
        self._schedules = self._table("fee_schedules", [day])
        week = date.fromisoformat(day) - timedelta(days=date.fromisoformat(day).weekday())
        self._profile = self._table("liquidity_profile", [week.isoformat()])
        self._findings = self._table("market_findings", [day[:7]])
        self._fills = self._touched()
        venues = {row["venue"] for row in self._today().to_pylist()}
        # One venue's silence says nothing; the quotes of a day are not read for it.
        self._quoted = self._quote_times() if len(venues) > 1 else {}

    def places(self) -> list[Place]:
        """Return the markets that were held or traded on the day."""
        rows = self._today().select(["strategy", "venue", "symbol"]).to_pylist()
        return sorted(Place(**row) for row in rows)

    def market(self, place: Place) -> MarketTables:
        """Return what is known of a market."""
        base = place.symbol.partition(":")[0]
        other = base if ":" in place.symbol else f"{base}:{base.partition('/')[2]}"
        months = self._months(_BASIS_DAYS)
        symbols = {"venue": place.venue, "symbol": place.symbol}
        perpetual = ":" in place.symbol
        return MarketTables(
            candles=self._table("candles", months, symbols),
            other_candles=self._table("candles", months, symbols | {"symbol": other}),
            profile=_of(self._profile, place),
            funding=self._table("funding_rates", self._months(_FUNDING_DAYS), symbols) if perpetual else None,
            findings=None if self._findings is None else _rows(self._findings, place),
            fee_schedules=_of(self._schedules, place),
            quotes=self._quoted.get((place.venue, place.symbol)),
            quotes_elsewhere={
                venue: times
                for (venue, symbol), times in self._quoted.items()
                if symbol == place.symbol and venue != place.venue
            },
        )

    def desk(self, place: Place) -> DeskTables:
        """Return the desk's records of a strategy's market."""
        own = self._shadow.filter(pc.equal(self._shadow["strategy"], place.strategy))
        return DeskTables(
            shadow=own,
            decisions=_rows(_or_empty(self._decisions, "decisions"), place, place.strategy),
            orders=_rows(_or_empty(self._orders, "orders"), place, place.strategy),
            slippage=_of(self._slippage, place, place.strategy),
            markouts=_of(self._markouts, place, place.strategy),
            fills=_rows(self._fills, place, place.strategy),
        )

    def _today(self) -> pa.Table:
        return self._shadow.filter(pc.equal(self._shadow["day"], self._day))

    def _days(self, back: int) -> list[str]:
        last = date.fromisoformat(self._day)
        return [(last - timedelta(days=n)).isoformat() for n in reversed(range(back))]

    def _months(self, back: int) -> list[str]:
        return sorted({each[:7] for each in self._days(back)})

    def _table(self, name: str, partitions: Sequence[str], where: Mapping[str, str] | None = None) -> pa.Table | None:
        """Return the rows of those partitions that were made; None where none was, or none is of this market."""
        if name not in self._made:
            self._made[name] = self._lake.versions(name).keys() if name in self._stored else ()
        made = [each for each in partitions if each in self._made[name]]
        if not made:
            return None
        found = self._lake.read(name, made, where=where)
        self.read.append(found)
        return found.rows if found.rows.num_rows or not where else None

    def _touched(self) -> pa.Table:
        """Return the day's fills with bid and ask just before each; NaN where no quote stood."""
        fills = _or_empty(self._table("fills", [self._day]), "fills").sort_by(
            [("venue", "ascending"), ("symbol", "ascending"), ("filled_at", "ascending")]
        )
        quotes = StoredQuotes(self._lake, self._quotes().versions)
        match = match_quotes(fills, {"filled_at": "quoted_at"}, quotes)["filled_at"]
        return fills.append_column("bid", pa.array(match.bid)).append_column("ask", pa.array(match.ask))

    def _quotes(self) -> Snapshot:
        versions = (self._lake.version("quotes", self._day),) if self._lake.has("quotes", self._day) else ()
        found = Snapshot(TABLES["quotes"].empty(), versions)
        self.read.append(found)
        return found

    def _quote_times(self) -> dict[tuple[str, str], Integers]:
        """Return when each market was quoted, in microseconds."""
        found: dict[tuple[str, str], list[Integers]] = defaultdict(list)
        if self._lake.has("quotes", self._day):
            version = self._lake.version("quotes", self._day)
            for piece in self._lake.pieces(version, ["venue", "symbol", "quoted_at"]):
                markets = piece.group_by(["venue", "symbol"], use_threads=False).aggregate([("quoted_at", "list")])
                for row in range(markets.num_rows):
                    at = markets["quoted_at_list"][row].values.cast(pa.int64()).to_numpy()
                    found[markets["venue"][row].as_py(), markets["symbol"][row].as_py()].append(at)
        return {market: np.concatenate(times) for market, times in found.items()}


def _or_empty(table: pa.Table | None, name: str) -> pa.Table:
    return TABLES[name].empty() if table is None else table


def _rows(table: pa.Table, place: Place, strategy: str | None = None) -> pa.Table:
    own = pc.and_(pc.equal(table["venue"], place.venue), pc.equal(table["symbol"], place.symbol))
    return table.filter(own if strategy is None else pc.and_(own, pc.equal(table["strategy"], strategy)))


def _of(table: pa.Table | None, place: Place, strategy: str | None = None) -> pa.Table | None:
    """Return the rows of a market; None where there are none."""
    rows = None if table is None else _rows(table, place, strategy)
    return rows if rows is not None and rows.num_rows else None
