"""Vendor files as a second source: Parquet or CSV, one row per bar or per funding payment.

Belongs here: reading, and the certificate of what was read. Doesn't: repairing; a bad value that can be carried is
carried into the raw table, and what can't is an error that names file and column.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from research_to_prod.lake.schema import TIMESTAMP
from research_to_prod.market_data.certificates import Fetched, issue
from research_to_prod.market_data.contracts import BAR_VALUES, FUNDING_RATES, MARKET_KEY, RAW_CANDLES
from research_to_prod.market_data.universe import FileSource, MarketSpec
from research_to_prod.values import sha256_hex

# Bounds between the magnitudes of epoch seconds, milliseconds and microseconds: 1e11 s is the year 5138, 1e11 ms is
# March 1973.
_EPOCH_UNITS = ((1e11, 1_000_000), (1e14, 1_000), (1e17, 1))


class FileSourceError(ValueError):
    """A vendor file can't be used; the message names the file, what is wrong and the remedy."""


def read_candles(folder: Path, market: MarketSpec, start: datetime, end: datetime) -> Fetched[pa.Table]:
    """Read the bars of ``market`` in ``[start, end)`` from its files, in file order, as RAW_CANDLES.

    ``page`` counts the files by name, ``row`` is the position in the file (a newest-first file keeps its order).

    Raises
    ------
    FileSourceError
        If no file matches, one is unreadable or lacks a column, or none has a row of the market.
    """
    return _read(folder, market, market.source, MARKET_KEY, BAR_VALUES, (start, end))


def read_funding(folder: Path, market: MarketSpec, start: datetime, end: datetime) -> Fetched[pa.Table]:
    """Read the funding payments of ``market`` in ``[start, end)`` from its funding files, as FUNDING_RATES.

    Raises
    ------
    FileSourceError
        As :func:`read_candles`.
    """
    return _read(folder, market, market.funding, ("venue", "symbol"), ("rate",), (start, end))


def _read(
    folder: Path,
    market: MarketSpec,
    source: object,
    key: tuple[str, ...],
    values: tuple[str, ...],
    interval: tuple[datetime, datetime],
) -> Fetched[pa.Table]:
    if not isinstance(source, FileSource):
        raise FileSourceError(f"{market.venue} {market.symbol}: its source in the universe is not files")
    paths = sorted(path for path in folder.glob(source.files) if path.is_file())
    if not paths:
        raise FileSourceError(f"no file matches {source.files!r} in {folder}; correct universe.yaml or add the file")
    identity = {name: str(getattr(market, name)) for name in key}
    tables, found, hashes = [], [], []
    for page, path in enumerate(paths):
        table = _load(path, key, values)
        hashes.append(sha256_hex(path.read_bytes()))
        rows = _select(table, identity)
        found.append(rows.num_rows)
        ts = rows["ts"]
        inside = pc.and_(pc.greater_equal(ts, _scalar(interval[0])), pc.less(ts, _scalar(interval[1])))
        rows = rows.filter(inside)
        tables.append(rows.append_column("page", pa.array(np.full(rows.num_rows, page), pa.int64())))
    if not any(found):
        there = sorted({str(tuple(row.values())) for row in table.select(list(key)).slice(0, 1000).to_pylist()})
        raise FileSourceError(
            f"{paths[-1]}: no row of {', '.join(identity.values())}; the file has {', '.join(there[:5]) or 'no rows'}"
        )
    rows = pa.concat_tables(tables)
    certificate = issue(
        venue=market.venue,
        endpoint=f"files:{source.files}",
        scope=" ".join(value for name, value in identity.items() if name != "venue"),
        interval=interval,
        bodies=hashes,
        rows=rows.num_rows,
        terminal="end_of_file",
    )
    rows = rows.append_column("fetch_id", pa.array([certificate.fetch_id] * rows.num_rows, pa.string()))
    if "rate" in values:
        schema = FUNDING_RATES.arrow
        rows = rows.append_column("mark_price", pa.nulls(rows.num_rows, pa.float64()))
    else:
        schema = RAW_CANDLES.arrow
    return Fetched(rows.select(schema.names).cast(schema), certificate)


def _load(path: Path, key: tuple[str, ...], values: tuple[str, ...]) -> pa.Table:
    """Return the file's declared columns with a ``row`` column, typed; other columns are left out."""
    readers = {".parquet": pq.read_table, ".csv": pa.csv.read_csv}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise FileSourceError(f"{path}: is neither .parquet nor .csv")
    try:
        table = reader(path)
    except (pa.ArrowException, OSError) as error:
        raise FileSourceError(f"{path}: cannot be read: {error}") from error
    wanted = (*key, "ts", *values)
    missing = [name for name in wanted if table.column_names.count(name) != 1]
    if missing:
        raise FileSourceError(f"{path}: lacks the columns {', '.join(missing)}; it has {', '.join(table.column_names)}")
    columns: dict[str, pa.ChunkedArray | pa.Array] = {"ts": _timestamps(path, table["ts"])}
    for name, kind in [*((name, pa.string()) for name in key), *((name, pa.float64()) for name in values)]:
        try:
            columns[name] = table[name].cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise FileSourceError(f"{path}: column {name} is {table[name].type} and not {kind}: {error}") from error
    columns["row"] = pa.array(np.arange(table.num_rows), pa.int64())
    return pa.table(columns)


def _timestamps(path: Path, values: pa.ChunkedArray) -> pa.Array:
    """Return times in UTC from timestamps (naive ones are UTC), ISO 8601 text, or epoch numbers by their magnitude."""
    if values.null_count:
        row = next(index for index, value in enumerate(values) if not value.is_valid)
        raise FileSourceError(f"{path}: ts is empty in row {row}; a bar without a time can't be placed")
    kind = values.type
    try:
        if pa.types.is_timestamp(kind):
            return values.cast(TIMESTAMP) if kind.tz else values.cast(pa.timestamp("us")).cast(TIMESTAMP)
        if pa.types.is_date(kind):
            return values.cast(pa.timestamp("us")).cast(TIMESTAMP)
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            return _epoch(values.to_numpy())
        times = pd.to_datetime(values.to_pandas(), utc=True, format="ISO8601")
        return pa.Array.from_pandas(times.dt.as_unit("us"), type=TIMESTAMP)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError, TypeError) as error:
        raise FileSourceError(
            f"{path}: ts ({kind}) is not a timestamp, ISO 8601 text or epoch seconds or milliseconds: {error}"
        ) from error


def _epoch(numbers: np.ndarray) -> pa.Array:
    if not len(numbers):
        return pa.array([], TIMESTAMP)
    for bound, factor in _EPOCH_UNITS:
        if np.abs(numbers).max() < bound:
            if np.abs(numbers).min() < bound / 1000:
                raise ValueError("it mixes units of time, or has times before 1973")
            return pa.array(np.rint(numbers * factor).astype("int64"), TIMESTAMP)
    raise ValueError(f"{np.abs(numbers).max()} is too large for microseconds")


def _select(table: pa.Table, identity: dict[str, str]) -> pa.Table:
    for name, value in identity.items():
        table = table.filter(pc.equal(table[name], value))
    return table


def _scalar(when: datetime) -> pa.Scalar:
    return pa.scalar(when.astimezone(UTC), TIMESTAMP)
