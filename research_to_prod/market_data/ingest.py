"""One month of raw market data from whatever sources the universe names.

Belongs here: which source serves which market, topping up the running month, and joining the results. Doesn't: the
sources themselves (``venue``, ``files``), judging rows (``quarantine``), storage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.lake.schema import TIMESTAMP
from research_to_prod.market_data.certificates import Certificate, Fetched, covered
from research_to_prod.market_data.contracts import FETCHED_KEY, FUNDING_RATES, RAW_CANDLES
from research_to_prod.market_data.files import read_candles, read_funding
from research_to_prod.market_data.progress import Progress, silent
from research_to_prod.market_data.universe import FileSource, MarketSpec
from research_to_prod.market_data.venue import VenueClient


class IngestError(ValueError):
    """The month can't be assembled; the message names the market and the remedy."""


@dataclass(frozen=True)
class Sources:
    """Where rows come from: a client for each venue, and the folder of vendor files."""

    clients: Mapping[str, VenueClient] = field(default_factory=dict)
    folder: Path | None = None

    def client(self, market: MarketSpec) -> VenueClient:
        """Return the client of the market's venue."""
        if market.venue not in self.clients:
            raise IngestError(f"{market.venue} {market.symbol}: no connection to venue {market.venue!r} was given")
        return self.clients[market.venue]

    def files(self, market: MarketSpec) -> Path:
        """Return the folder to which the market's file names are relative."""
        if self.folder is None:
            raise IngestError(
                f"{market.venue} {market.symbol}: read from files, but no folder of vendor data was given"
            )
        return self.folder


@dataclass(frozen=True)
class Month:
    """The raw rows of a month, and the certificates of the fetches that brought them."""

    rows: pa.Table
    certificates: tuple[Certificate, ...]


def fetch_month(
    markets: Sequence[MarketSpec],
    month: str,
    sources: Sources,
    as_of: datetime,
    existing: Month | None = None,
    progress: Progress = silent,
) -> Month:
    """Return all bars of ``markets`` in ``month`` that had ended by ``as_of``, as RAW_CANDLES.

    Parameters
    ----------
    existing
        What an earlier fetch of the month brought. Of a venue's market its rows are kept up to the last bar that its
        certificates cover without a hole, and only what follows is fetched; what no certificate covers is fetched
        again. Files are read whole each time.

    Raises
    ------
    VenueError, FileSourceError, IngestError
        If any market is incomplete: there is no partial month.
    """
    parts: list[pa.Table] = []
    certificates: list[Certificate] = list(existing.certificates) if existing else []
    for number, market in enumerate(markets, start=1):
        first, stop = market.bars_of(month, as_of)
        if isinstance(market.source, FileSource):
            if first < stop:
                _add(read_candles(sources.files(market), market, first, stop), parts, certificates)
        else:
            kept = _kept(existing, market, first)
            resume = _resume(kept, market, first)
            parts.append(kept)
            if resume < stop:
                fetched = sources.client(market).candles(market.symbol, market.timeframe, resume, stop)
                _add(fetched, parts, certificates)
        progress(f"{market.venue} {market.symbol} {market.timeframe}", number, len(markets))
    rows = pa.concat_tables([RAW_CANDLES.empty(), *parts]).sort_by([(name, "ascending") for name in FETCHED_KEY])
    return Month(rows, _distinct(certificates))


def fetch_funding(
    markets: Sequence[MarketSpec], month: str, sources: Sources, as_of: datetime, progress: Progress = silent
) -> Month:
    """Return the funding payments of those ``markets`` that ask for them, in ``month`` up to ``as_of``.

    Returns
    -------
    Month
        FUNDING_RATES, one row per market and time.

    Raises
    ------
    VenueError, FileSourceError
        If any market is incomplete.
    IngestError
        If a rate is not finite, or a market has two rates for one time.
    """
    parts: list[pa.Table] = []
    certificates: list[Certificate] = []
    funded = [market for market in markets if market.funding]
    for number, market in enumerate(funded, start=1):
        start, end = market.span_of(month, as_of)
        if start < end:
            if isinstance(market.funding, FileSource):
                fetched = read_funding(sources.files(market), market, start, end)
            else:
                fetched = sources.client(market).funding_rates(market.symbol, start, end)
            _check_rates(fetched.rows, market)
            _add(fetched, parts, certificates)
        progress(f"{market.venue} {market.symbol} funding", number, len(funded))
    rows = pa.concat_tables([FUNDING_RATES.empty(), *parts])
    # A payment that came twice alike is one payment; it is not a row to judge, so it needs no quarantine.
    values = ["rate", "mark_price", "fetch_id"]
    rows = rows.group_by([*FUNDING_RATES.key, *values]).aggregate([]).select(FUNDING_RATES.arrow.names)
    repeated = rows.group_by(list(FUNDING_RATES.key)).aggregate([([], "count_all")])
    repeated = repeated.filter(pc.greater(repeated["count_all"], 1))
    if repeated.num_rows:
        named = "; ".join(f"{row['symbol']} {row['ts']:%Y-%m-%dT%H:%M:%SZ}" for row in repeated.slice(0, 5).to_pylist())
        raise IngestError(f"{month}: {repeated.num_rows} funding times have two different rates: {named}")
    rows = rows.cast(FUNDING_RATES.arrow).sort_by([(name, "ascending") for name in FUNDING_RATES.key])
    return Month(rows, _distinct(certificates))


def _add(fetched: Fetched[pa.Table], parts: list[pa.Table], certificates: list[Certificate]) -> None:
    parts.append(fetched.rows)
    certificates.append(fetched.certificate)


def _kept(existing: Month | None, market: MarketSpec, first: datetime) -> pa.Table:
    """Return the existing rows of ``market`` that certificates cover from ``first`` on, without a hole."""
    if existing is None:
        return RAW_CANDLES.empty()
    scope = f"{market.symbol} {market.timeframe}"
    proofs = [each for each in existing.certificates if not each.endpoint.startswith("files:")]
    parts = covered(proofs, market.venue, scope, first, datetime.max.replace(tzinfo=UTC))
    reach = parts[0][1] if parts and parts[0][0] == first else first
    rows = existing.rows
    mask = pc.is_in(rows["fetch_id"], value_set=pa.array([each.fetch_id for each in proofs], pa.string()))
    for name in ("venue", "symbol", "timeframe"):
        mask = pc.and_(mask, pc.equal(rows[name], getattr(market, name)))
    for bound, compare in ((first, pc.greater_equal), (reach, pc.less)):
        mask = pc.and_(mask, compare(rows["ts"], pa.scalar(bound, TIMESTAMP)))
    return rows.filter(mask)


def _resume(kept: pa.Table, market: MarketSpec, first: datetime) -> datetime:
    """Return the open of the bar after the last one kept."""
    last = pc.max(kept["ts"]).as_py()
    return first if last is None else first + ((last - first) // market.length + 1) * market.length


def _check_rates(rows: pa.Table, market: MarketSpec) -> None:
    finite = pc.sum(pc.is_finite(rows["rate"])).as_py() or 0
    if finite != rows.num_rows:
        raise IngestError(
            f"{market.venue} {market.symbol}: {rows.num_rows - finite} funding rates are not finite numbers"
        )


def _distinct(certificates: Iterable[Certificate]) -> tuple[Certificate, ...]:
    return tuple({each.fetch_id: each for each in certificates}.values())
