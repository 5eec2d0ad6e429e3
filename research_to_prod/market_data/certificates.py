"""The completeness certificate: what one fetch asked for, saw, and may therefore call absent.

Belongs here: the certificate and its row. Doesn't: fetching.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Generic, TypeVar

import pyarrow as pa

from research_to_prod.market_data.contracts import FETCH_CERTIFICATES
from research_to_prod.values import digest, sha256_hex

Rows = TypeVar("Rows")


@dataclass(frozen=True)
class Certificate:
    """Proof that a fetch saw all of ``[interval_start, interval_end)``; the fields are FETCH_CERTIFICATES' columns."""

    fetch_id: str
    venue: str
    endpoint: str
    scope: str
    interval_start: datetime
    interval_end: datetime
    pages: int
    rows: int
    terminal: str
    complete: bool
    venue_clock_before: datetime | None
    venue_clock_after: datetime | None
    body_sha256: str


@dataclass(frozen=True)
class Fetched(Generic[Rows]):
    """Rows of a complete fetch, and the certificate that says what they cover."""

    rows: Rows
    certificate: Certificate


def issue(
    *,
    venue: str,
    endpoint: str,
    scope: str,
    interval: tuple[datetime, datetime],
    bodies: Sequence[str],
    rows: int,
    terminal: str,
    clocks: tuple[datetime | None, datetime | None] = (None, None),
) -> Certificate:
    """Return the certificate of a fetch that reached its end.

    Its ``fetch_id`` is a digest of what was asked and of ``bodies`` (the SHA-256 of each body, in order), so the same
    answer to the same question has the same id, whoever asked and when.
    """
    start, end = interval
    asked = [venue, endpoint, scope, start.isoformat(), end.isoformat()]
    return Certificate(
        fetch_id=digest([*asked, list(bodies)]),
        venue=venue,
        endpoint=endpoint,
        scope=scope,
        interval_start=start,
        interval_end=end,
        pages=len(bodies),
        rows=rows,
        terminal=terminal,
        complete=True,
        venue_clock_before=clocks[0],
        venue_clock_after=clocks[1],
        body_sha256=sha256_hex("".join(bodies).encode()),
    )


def certificates_table(certificates: Iterable[Certificate], asset_partition: str) -> pa.Table:
    """Return FETCH_CERTIFICATES rows; a fetch that two assets or runs repeated identically is one row.

    Parameters
    ----------
    asset_partition
        The asset and partition that the fetches fed, such as ``raw_candles-2023-01``; the table's partition.
    """
    unique = {each.fetch_id: each for each in certificates}
    rows = [{"asset_partition": asset_partition, **asdict(each)} for each in unique.values()]
    return FETCH_CERTIFICATES.conform(pa.Table.from_pylist(rows, schema=FETCH_CERTIFICATES.arrow), asset_partition)


def certificates_from(table: pa.Table) -> tuple[Certificate, ...]:
    """Return the certificates that ``table`` (FETCH_CERTIFICATES) holds."""
    return tuple(Certificate(**row) for row in table.drop_columns(["asset_partition"]).to_pylist())


def covered(
    certificates: Iterable[Certificate], venue: str, scope: str, start: datetime, end: datetime
) -> tuple[tuple[datetime, datetime], ...]:
    """Return the parts of ``[start, end)`` that complete fetches of ``scope`` saw, in order and apart."""
    parts: list[tuple[datetime, datetime]] = []
    for each in sorted(certificates, key=lambda each: each.interval_start):
        first, stop = max(each.interval_start, start), min(each.interval_end, end)
        if not each.complete or (each.venue, each.scope) != (venue, scope) or first >= stop:
            continue
        if parts and first <= parts[-1][1]:
            parts[-1] = (parts[-1][0], max(parts[-1][1], stop))
        else:
            parts.append((first, stop))
    return tuple(parts)
