"""One month of raw market data, or one day of trades, from whatever sources the universe names.

Belongs here: which source serves which market, topping up the running month, joining the results, and naming the
markets that failed. Doesn't: the sources themselves (``venue``, ``files``), judging rows, storage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.lake.schema import TIMESTAMP, Schema
from research_to_prod.market_data.certificates import Certificate, covered_until
from research_to_prod.market_data.contracts import FUNDING_RATES, RAW_CANDLES, TRADES
from research_to_prod.market_data.files import FileSourceError, VendorFiles, read_candles, read_funding, read_trades
from research_to_prod.market_data.progress import Progress, silent
from research_to_prod.market_data.universe import FileSource, MarketSpec
from research_to_prod.market_data.venue import VenueClient, VenueError
from research_to_prod.values import day_bounds, month_bounds


class IngestError(ValueError):
    """A market's rows can't be assembled, or no market's could; the message names the market and the remedy."""


@dataclass(frozen=True)
class Sources:
    """Where rows come from: a client for each venue, and the folder of vendor files.

    Parameters
    ----------
    refused
        For a venue that could not be connected to, the reason: its markets fail, the others don't.
    """

    clients: Mapping[str, VenueClient] = field(default_factory=dict)
    folder: Path | None = None
    refused: Mapping[str, str] = field(default_factory=dict)

    def client(self, market: MarketSpec) -> VenueClient:
        """Return the client of the market's venue."""
        if market.venue not in self.clients:
            reason = self.refused.get(market.venue, "no connection was given")
            raise IngestError(f"{market.venue} {market.symbol}: no connection to venue {market.venue!r}: {reason}")
        return self.clients[market.venue]

    def files(self, market: MarketSpec) -> VendorFiles:
        """Return the files of the folder to which the market's file names are relative."""
        if self._files is None:
            raise IngestError(
                f"{market.venue} {market.symbol}: read from files, but no folder of vendor data was given; "
                "set R2P_VENDOR"
            )
        return self._files

    @cached_property
    def _files(self) -> VendorFiles | None:
        # One for all markets: what it learns of a file holds for each market that the file may serve.
        return None if self.folder is None else VendorFiles(self.folder)


@dataclass(frozen=True)
class MarketFailure:
    """A market that could not be fetched completely: file, row and remedy, or what the venue answered."""

    venue: str
    symbol: str
    timeframe: str
    error: str


@dataclass(frozen=True)
class Month:
    """The rows of a month (or a day), the certificates of the fetches that brought them, and the markets that failed.

    A failed market has the rows and certificates that an earlier fetch left, or none: nothing of it is known then.
    """

    rows: pa.Table
    certificates: tuple[Certificate, ...]
    failures: tuple[MarketFailure, ...] = ()


_Part = tuple[pa.Table, tuple[Certificate, ...]]


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
        again. Files are read whole each time. Of a market that fails, its certified rows are kept.

    Raises
    ------
    IngestError
        If markets failed and none succeeded.
    """

    def fetch(market: MarketSpec) -> _Part | None:
        first, stop = market.bars_of(month, as_of)
        if first == stop:
            return None
        if isinstance(market.source, FileSource):
            read = read_candles(sources.files(market), market, first, stop, progress)
            return read.rows, (read.certificate,)
        kept, proofs = _kept(existing, market, first)
        resume = _resume(kept, market, first)
        if resume >= stop:
            return kept, proofs
        fetched = sources.client(market).candles(market.symbol, market.timeframe, resume, stop)
        return pa.concat_tables([kept, fetched.rows]), (*proofs, fetched.certificate)

    return _assemble(markets, fetch, RAW_CANDLES, existing, progress)


def fetch_funding(
    markets: Sequence[MarketSpec],
    month: str,
    sources: Sources,
    as_of: datetime,
    existing: Month | None = None,
    progress: Progress = silent,
) -> Month:
    """Return the funding payments of those ``markets`` that ask for them, in ``month`` up to ``as_of``.

    A market whose rates are not finite, or that has two rates for one time, has failed.

    Returns
    -------
    Month
        FUNDING_RATES, one row per market and time.

    Raises
    ------
    IngestError
        If markets failed and none succeeded.
    """

    def fetch(market: MarketSpec) -> _Part | None:
        start, end = market.span_of(month_bounds(month), as_of)
        if start == end:
            return None
        if isinstance(market.funding, FileSource):
            fetched = read_funding(sources.files(market), market, start, end, progress)
        else:
            fetched = sources.client(market).funding_rates(market.symbol, start, end)
        return _payments(fetched.rows), (fetched.certificate,)

    return _assemble([each for each in markets if each.funding], fetch, FUNDING_RATES, existing, progress)


def fetch_trades(
    markets: Sequence[MarketSpec],
    day: str,
    sources: Sources,
    as_of: datetime,
    existing: Month | None = None,
    progress: Progress = silent,
) -> Month:
    """Return the public trades of those ``markets`` that ask for them, on ``day`` up to ``as_of``, as TRADES.

    A trade that came twice alike under one id is one row. Rows without an id are all kept: two trades may well be alike
    in time, price and amount. A market with two contents under one id has failed.

    Raises
    ------
    IngestError
        If markets failed and none succeeded.
    """

    def fetch(market: MarketSpec) -> _Part | None:
        start, end = market.span_of(day_bounds(day), as_of)
        if start == end:
            return None
        if isinstance(market.trades, FileSource):
            fetched = read_trades(sources.files(market), market, start, end, progress)
        else:
            fetched = sources.client(market).trades(market.symbol, start, end)
        return _once(fetched.rows), (fetched.certificate,)

    return _assemble([each for each in markets if each.trades], fetch, TRADES, existing, progress)


def _assemble(
    markets: Sequence[MarketSpec],
    fetch: Callable[[MarketSpec], _Part | None],
    schema: Schema,
    existing: Month | None,
    progress: Progress,
) -> Month:
    """Fetch market by market; one that fails keeps what is certified of it, and the others go on."""
    parts: list[pa.Table] = [schema.empty()]
    certificates: list[Certificate] = []
    failures: list[MarketFailure] = []
    succeeded = 0
    for number, market in enumerate(markets, start=1):
        try:
            part = fetch(market)
            succeeded += part is not None
        except (VenueError, FileSourceError, IngestError) as error:
            failures.append(MarketFailure(market.venue, market.symbol, market.timeframe, str(error)))
            part = _certified(existing, market, schema)
        if part is not None:
            parts.append(part[0])
            certificates += part[1]
        progress(f"{market.venue} {market.symbol} {market.timeframe}", number, len(markets))
    if failures and not succeeded:
        told = "; ".join(f"{each.venue} {each.symbol} {each.timeframe}: {each.error}" for each in failures)
        raise IngestError(f"no market was fetched, so nothing is written: {told}")
    rows = pa.concat_tables(parts).sort_by([(name, "ascending") for name in schema.key])
    return Month(rows, tuple({each.fetch_id: each for each in certificates}.values()), tuple(failures))


def _certified(existing: Month | None, market: MarketSpec, schema: Schema) -> _Part | None:
    """Return the rows of ``market`` that an earlier fetch brought with a certificate, and those certificates."""
    if existing is None:
        return None
    scope = f"{market.symbol} {market.timeframe}" if "timeframe" in schema.arrow.names else market.symbol
    proofs = tuple(
        each for each in existing.certificates if (each.venue, each.scope) == (market.venue, scope) and each.complete
    )
    ids = pa.array([each.fetch_id for each in proofs], pa.string())
    return existing.rows.filter(pc.is_in(existing.rows["fetch_id"], value_set=ids)), proofs


def _kept(existing: Month | None, market: MarketSpec, first: datetime) -> _Part:
    """Return the venue's existing rows that certificates cover from ``first`` on, without a hole, and these."""
    rows, proofs = _certified(existing, market, RAW_CANDLES) or (RAW_CANDLES.empty(), ())
    proofs = tuple(each for each in proofs if not each.endpoint.startswith("files:"))
    reach = covered_until(proofs, market.venue, f"{market.symbol} {market.timeframe}", first)
    mask = pc.is_in(rows["fetch_id"], value_set=pa.array([each.fetch_id for each in proofs], pa.string()))
    for bound, compare in ((first, pc.greater_equal), (reach, pc.less)):
        mask = pc.and_(mask, compare(rows["ts"], pa.scalar(bound, TIMESTAMP)))
    return rows.filter(mask), proofs


def _resume(kept: pa.Table, market: MarketSpec, first: datetime) -> datetime:
    """Return the open of the bar after the last one kept."""
    last = pc.max(kept["ts"]).as_py()
    return first if last is None else first + ((last - first) // market.length + 1) * market.length


def _payments(rows: pa.Table) -> pa.Table:
    """Return each payment once, or refuse rates that are no numbers or contradict each other."""
    finite = pc.fill_null(pc.is_finite(rows["rate"]), fill_value=False)
    odd = rows.filter(pc.invert(finite))
    if odd.num_rows:
        raise IngestError(
            f"{odd.num_rows} funding rates are not finite numbers: {_named(odd)}; correct them, or take another source"
        )
    # A payment that came twice alike is one payment; it is not a row to judge, so it needs no quarantine.
    values = ["rate", "mark_price", "fetch_id"]
    rows = rows.group_by([*FUNDING_RATES.key, *values]).aggregate([]).select(FUNDING_RATES.arrow.names)
    repeated = _repeated(rows, FUNDING_RATES.key)
    if repeated.num_rows:
        raise IngestError(
            f"{repeated.num_rows} funding times have two different rates: {_named(repeated)}; remove the wrong ones"
        )
    return rows.cast(FUNDING_RATES.arrow)


def _once(rows: pa.Table) -> pa.Table:
    """Return each identified trade once, and every trade without an id."""
    identified = rows.filter(pc.is_valid(rows["trade_id"]))
    if _repeated(identified, ("trade_id",)).num_rows == 0:
        return rows
    content = ["venue", "symbol", "trade_id", "ts", "price", "amount", "side", "fetch_id"]
    once = identified.group_by(content, use_threads=False).aggregate([("page", "first"), ("row", "first")])
    once = once.rename_columns([*content, "page", "row"]).select(TRADES.arrow.names).cast(TRADES.arrow)
    contradicting = _repeated(once, ("trade_id",))
    if contradicting.num_rows:
        named = ", ".join(contradicting["trade_id"].slice(0, 5).to_pylist())
        raise IngestError(f"{contradicting.num_rows} trade ids have two contents: {named}; remove the wrong ones")
    return pa.concat_tables([once, rows.filter(pc.is_null(rows["trade_id"]))])


def _repeated(rows: pa.Table, key: Iterable[str]) -> pa.Table:
    """Return the keys that more than one row has."""
    counted = rows.group_by(list(key)).aggregate([([], "count_all")])
    return counted.filter(pc.greater(counted["count_all"], 1))


def _named(rows: pa.Table) -> str:
    return "; ".join(f"{row['symbol']} {row['ts']:%Y-%m-%dT%H:%M:%SZ}" for row in rows.slice(0, 5).to_pylist())
