"""Vendor files as a second source: Parquet or CSV, one row per bar, funding payment or public trade.

Belongs here: the rows of one market in one interval, and the certificate of what was read. Doesn't: finding and typing
files (``vendor_files``), repairing; a bad value that can be carried is carried into the raw table.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.lake.schema import Schema
from research_to_prod.market_data.certificates import Fetched, issue
from research_to_prod.market_data.contracts import BAR_VALUES, FUNDING_RATES, MARKET_KEY, RAW_CANDLES, TRADES
from research_to_prod.market_data.progress import Progress, silent
from research_to_prod.market_data.universe import FileSource, MarketSpec
from research_to_prod.market_data.vendor_files import FileRows, FileSourceError, Layout, VendorFiles, load

__all__ = ["FileSourceError", "VendorFiles", "read_candles", "read_funding", "read_trades"]

_BARS = Layout(MARKET_KEY, BAR_VALUES)
_FUNDING = Layout(("venue", "symbol"), ("rate",))
_TRADES = Layout(("venue", "symbol"), ("price", "amount"), ("trade_id", "side"))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_candles(
    files: VendorFiles, market: MarketSpec, start: datetime, end: datetime, progress: Progress = silent
) -> Fetched[pa.Table]:
    """Read the bars of ``market`` in ``[start, end)`` from its files, in file order, as RAW_CANDLES.

    ``page`` counts the files that may hold such rows by name, ``row`` is the position in the file (a newest-first file
    keeps its order). Files that hold other times only are neither read nor part of the certificate.

    Raises
    ------
    FileSourceError
        If no file matches, one is unreadable or lacks a column, or none has a row of the market.
    """
    return _read(files, market, market.source, _BARS, RAW_CANDLES, (start, end), progress)


def read_funding(
    files: VendorFiles, market: MarketSpec, start: datetime, end: datetime, progress: Progress = silent
) -> Fetched[pa.Table]:
    """Read the funding payments of ``market`` in ``[start, end)`` from its funding files, as FUNDING_RATES.

    Raises
    ------
    FileSourceError
        As :func:`read_candles`.
    """
    return _read(files, market, market.funding, _FUNDING, FUNDING_RATES, (start, end), progress)


def read_trades(
    files: VendorFiles, market: MarketSpec, start: datetime, end: datetime, progress: Progress = silent
) -> Fetched[pa.Table]:
    """Read the public trades of ``market`` in ``[start, end)`` from its trade files, as TRADES, repetitions included.

    ``side`` is ``buy`` or ``sell`` in the file; any other text, ``any`` included, is an unknown aggressor.

    Raises
    ------
    FileSourceError
        As :func:`read_candles`.
    """
    return _read(files, market, market.trades, _TRADES, TRADES, (start, end), progress)


def _read(
    files: VendorFiles,
    market: MarketSpec,
    source: object,
    layout: Layout,
    schema: Schema,
    interval: tuple[datetime, datetime],
    progress: Progress,
) -> Fetched[pa.Table]:
    if not isinstance(source, FileSource):
        raise FileSourceError(f"{market.venue} {market.symbol}: its source in the universe is not files")
    identity = {name: str(getattr(market, name)) for name in layout.key}
    start, end = ((each - _EPOCH) // timedelta(microseconds=1) for each in interval)
    parts, hashes, found = [], [], 0
    for page, file in enumerate(files.covering(source.files, layout, (start, end), identity, progress)):
        rows = _of(file, identity)
        found += rows.num_rows
        micros = rows["ts"].cast(pa.int64())
        rows = rows.filter(pc.and_(pc.greater_equal(micros, start), pc.less(micros, end)))
        parts.append(rows.append_column("page", pa.array(np.full(rows.num_rows, page), pa.int64())))
        hashes.append(file.sha256)
    if not found and not any(_of(file, identity).num_rows for file in files.holding(source.files, layout, identity)):
        raise FileSourceError(_nothing_of(files, source.files, layout, identity))
    rows = pa.concat_tables(parts) if parts else pa.table({})
    certificate = issue(
        venue=market.venue,
        endpoint=f"files:{source.files}",
        scope=" ".join(value for name, value in identity.items() if name != "venue"),
        interval=interval,
        bodies=hashes,
        rows=rows.num_rows,
        terminal="end_of_file",
    )
    return Fetched(_as(schema, rows, certificate.fetch_id), certificate)


def _of(file: FileRows, identity: dict[str, str]) -> pa.Table:
    rows = file.rows
    for name, value in identity.items():
        rows = rows.filter(pc.equal(rows[name], value))
    return rows


def _as(schema: Schema, rows: pa.Table, fetch_id: str) -> pa.Table:
    """Return the rows as the table stores them; columns that files don't have are null."""
    if not rows.num_rows:
        return schema.empty()
    columns = {name: rows[name] for name in rows.column_names}
    columns["fetch_id"] = pa.array([fetch_id] * rows.num_rows, pa.string())
    if "side" in columns:
        columns["side"] = pc.if_else(
            pc.equal(columns["side"], "buy"), 1, pc.if_else(pc.equal(columns["side"], "sell"), -1, None)
        )
    missing = pa.nulls(rows.num_rows)
    return pa.table({name: columns.get(name, missing) for name in schema.arrow.names}).cast(schema.arrow)


def _nothing_of(files: VendorFiles, pattern: str, layout: Layout, identity: dict[str, str]) -> str:
    """Say what the last file holds instead."""
    path = files.matching(pattern)[-1]
    rows = load(path, layout).rows.select(list(layout.key))
    there = sorted({str(tuple(row.values())) for row in rows.slice(0, 1000).to_pylist()})
    return (
        f"{path}: no row of {', '.join(identity.values())}; the file has {', '.join(there[:5]) or 'no rows'}; correct "
        "venue, symbol, timeframe or files in universe.yaml"
    )
