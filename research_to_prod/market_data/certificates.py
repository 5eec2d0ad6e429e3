"""The completeness certificate: what one fetch asked for, saw, and may therefore call absent.

Belongs here: the certificate, its row, and what a set of certificates covers. Doesn't: fetching.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

import pyarrow as pa

from research_to_prod.market_data.contracts import FETCH_CERTIFICATES
from research_to_prod.values import digest, sha256_hex

Rows = TypeVar("Rows")


@dataclass(frozen=True)
class Certificate:
    """What a fetch saw of ``[interval_start, interval_end)``: all of it, if ``complete``.

    The fields are FETCH_CERTIFICATES' columns.
    """

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
    page_sha256: tuple[str, ...]

    @property
    def genuine(self) -> bool:
        """Whether its ``fetch_id``, which the rows of the fetch carry, is the digest of what was asked and answered.

        How the fetch ended, and so whether it was complete, is no part of that digest.
        """
        interval = (self.interval_start, self.interval_end)
        return self.fetch_id == _fetch_id(self.venue, self.endpoint, self.scope, interval, self.page_sha256)


@dataclass(frozen=True)
class Fetched(Generic[Rows]):
    """Rows of a fetch, and the certificate that says what they cover."""

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
    complete: bool = True,
    clocks: tuple[datetime | None, datetime | None] = (None, None),
) -> Certificate:
    """Return the certificate of a fetch that ended by ``terminal``.

    Its ``fetch_id`` is a digest of what was asked and of ``bodies`` (the SHA-256 of each body, in order), so the same
    answer to the same question has the same id, whoever asked and when.
    """
    start, end = interval
    return Certificate(
        fetch_id=_fetch_id(venue, endpoint, scope, interval, bodies),
        venue=venue,
        endpoint=endpoint,
        scope=scope,
        interval_start=start,
        interval_end=end,
        pages=len(bodies),
        rows=rows,
        terminal=terminal,
        complete=complete,
        venue_clock_before=clocks[0],
        venue_clock_after=clocks[1],
        body_sha256=sha256_hex("".join(bodies).encode()),
        page_sha256=tuple(bodies),
    )


def _fetch_id(venue: str, endpoint: str, scope: str, interval: tuple[datetime, datetime], bodies: Sequence[str]) -> str:
    return digest([venue, endpoint, scope, *(each.isoformat() for each in interval), list(bodies)])


def covered(
    certificates: Iterable[Certificate], venue: str, scope: str, start: datetime, end: datetime
) -> tuple[tuple[datetime, datetime], ...]:
    """Return the parts of ``[start, end)`` of which the whole was seen, ordered, disjoint and not adjacent.

    Only complete certificates of exactly this ``venue`` and ``scope`` count; outside the parts nothing may be called
    absent. Endpoints are not told apart: hand in the certificates of one kind of data.
    """
    seen = sorted(
        (max(each.interval_start, start), min(each.interval_end, end))
        for each in certificates
        if each.complete and (each.venue, each.scope) == (venue, scope)
    )
    parts: list[tuple[datetime, datetime]] = []
    for begins, ends in seen:
        if begins >= ends:
            continue
        if parts and begins <= parts[-1][1]:
            parts[-1] = (parts[-1][0], max(parts[-1][1], ends))
        else:
            parts.append((begins, ends))
    return tuple(parts)


def covered_until(certificates: Iterable[Certificate], venue: str, scope: str, start: datetime) -> datetime:
    """Return how far :func:`covered` reaches from ``start`` without a hole; ``start`` if it doesn't cover that."""
    parts = covered(certificates, venue, scope, start, datetime.max.replace(tzinfo=UTC))
    return parts[0][1] if parts and parts[0][0] == start else start


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
    rows = table.drop_columns(["asset_partition"]).to_pylist()
    return tuple(Certificate(**{**row, "page_sha256": tuple(row["page_sha256"])}) for row in rows)
