"""What keeps the risk posture from being clear: limits that are exceeded, and what is not known or not seen.

Belongs here: those sentences and the headline. Doesn't: the lines that they are drawn from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from research_to_prod.reports.desk_report import Status
from research_to_prod.reports.risk_posture import BlindLine, By, ExposureLine, Finding, LiquidationLine, ShortfallLine

CLOSE_TO_LIQUIDATION = 4.0
"""Hourly deviations; nearer than this the alert rule on margin calls for action."""


def headline_of(findings: Sequence[Finding]) -> str:
    """Return the first thing to act on, or not to know, and how many there are."""
    act, unknown = (sum(each.status is status for each in findings) for status in (Status.ACT, Status.UNKNOWN))
    if not findings:
        return "Within all limits, and everything is seen"
    first = next((each for each in findings if each.status is Status.ACT), findings[0])
    rest = [f"{act} to act on" if act else "", f"{unknown} not known" if unknown else ""]
    return f"{first.what[0].upper()}{first.what[1:]} ({', '.join(each for each in rest if each)})"


def findings_of(
    exposures: Iterable[ExposureLine], shortfalls: Sequence[ShortfallLine],
    liquidations: Iterable[LiquidationLine], blind: Iterable[BlindLine],
) -> list[Finding]:  # fmt: skip
    """Return what is to be acted on and what is not known, in the order of the page."""
    act, unknown = Status.ACT, Status.UNKNOWN
    found = []
    for line in exposures:
        what = f"{line.by} {line.name}"
        if line.limited is None or (line.limit is None and line.by is By.STRATEGY):
            found.append(Finding(status=unknown, what=f"{what}: {line.because}"))
        elif line.limit is not None and line.limited > line.limit:
            told = line.because if line.limit_use is None else f"{line.limit_use:.0%} of its limit"
            found.append(Finding(status=act, what=f"{what}: {told}"))
    day = shortfalls[-1]
    if day.money is None:
        found.append(Finding(status=unknown, what=f"expected shortfall: {day.because}"))
    elif day.limit is not None and day.money > day.limit:
        found.append(
            Finding(status=act, what=f"expected shortfall of a day is {day.money / day.limit:.0%} of its limit")
        )
    for each in liquidations:
        if each.contracts == 0:
            continue
        if each.distance is None:
            found.append(Finding(status=unknown, what=f"distance to liquidation at {each.venue}: {each.because}"))
        elif not each.distance or (each.hourly_deviations or math.inf) < CLOSE_TO_LIQUIDATION:
            found.append(Finding(status=act, what=f"{each.venue}: liquidation is {each.distance:.1%} away"))
    for part in blind:
        if part.reduce_first:
            found.append(Finding(status=act, what=f"{part.name}: leaving costs more than one incident may; reduce"))
        if part.over is not False:
            reason = "not seen for longer than can be afforded" if part.over else part.because
            found.append(Finding(status=unknown, what=f"{part.name}: {reason}"))
    return found
