"""The book of the running day: measured for the alerter whenever the desk has stated its positions anew."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import dagster as dg
import pyarrow as pa

from research_to_prod.defs.operations.book_sources import book_at, read_candidates
from research_to_prod.defs.operations.posture_sources import written
from research_to_prod.defs.operations.running_day import NEEDED
from research_to_prod.lake import Lake
from research_to_prod.settings import Settings
from research_to_prod.values import day_bounds, sha256_hex

BACK = timedelta(hours=1)
"""The longest loss but the day's: after midnight it began yesterday."""


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description=(
        "Measures what each strategy holds of its limit and has lost, at the desk's newest statement of positions. "
        "Start it where the desk delivers positions, with their marks, and fills every minute: a statement that is "
        "older is not seen, and the alerter says so."
    ),
)
def running_book(
    context: dg.SensorEvaluationContext,
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Callable[[], datetime]],
) -> dg.SensorResult:
    """Write down what the newest delivery amounts to; the cursor tells which files it was."""
    from research_to_prod.execution.inbox import delivered_days, read_inbox
    from research_to_prod.operations.alerting.book_measures import observe_book
    from research_to_prod.operations.readings import Measured, Readings
    from research_to_prod.operations.running_day import told_to

    now = clock()
    days = sorted({f"{each:%Y-%m-%d}" for each in (now - BACK, now)} & delivered_days(settings.inbox, NEEDED))
    if f"{now:%Y-%m-%d}" not in days:
        return dg.SensorResult(skip_reason=f"the desk has delivered no {' or no '.join(NEEDED)} of {now:%Y-%m-%d} yet")
    patterns = [f"{kind}/{day}*" for kind in NEEDED for day in days]
    files = sha256_hex(repr(written(settings.inbox, *patterns)).encode())
    if files == context.cursor:
        return dg.SensorResult(skip_reason="the desk has delivered nothing new")
    fills, positions = (
        pa.concat_tables([read_inbox(settings.inbox, kind, day).rows for day in days]) for kind in NEEDED
    )
    told = told_to(positions)
    if told is None:
        return dg.SensorResult(skip_reason=f"the desk has stated no position of {now:%Y-%m-%d}", cursor=files)
    candidates = read_candidates(lake, positions, fills)
    book = book_at(settings, positions, fills, candidates, day_bounds(days[0])[0], told)
    found = [Measured.of(each) for each in observe_book(book, told)]
    Readings(settings.operations).add(found, now)
    return dg.SensorResult(skip_reason=f"{len(found)} readings of {told:%Y-%m-%d %H:%M:%S}", cursor=files)
