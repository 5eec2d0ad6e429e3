"""What is open at one moment: breaks by age, incidents by severity, controls; for the risk posture.

Belongs here: counting them, and since when they are proven. Doesn't: opening or ending any.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from research_to_prod.operations.alerting.settings import Severity
from research_to_prod.operations.contracts import Age, BreakVerdict
from research_to_prod.operations.control_journal import MODES, Ladders
from research_to_prod.operations.incidents.lifecycle import UNTAKEN
from research_to_prod.operations.incidents.store import Incidents
from research_to_prod.operations.ladder import Level
from research_to_prod.operations.register import age_of
from research_to_prod.reports.desk_report import Status
from research_to_prod.reports.risk_posture import BreakAgeLine, ControlLine, Finding, IncidentLine


@dataclass(frozen=True)
class Standing:
    """What is open, why it may not be known, and what of it keeps the posture from being clear."""

    breaks: tuple[BreakAgeLine, ...]
    breaks_because: str
    incidents: tuple[IncidentLine, ...]
    incidents_because: str
    controls: tuple[ControlLine, ...]
    controls_because: str
    sources: tuple[tuple[str, datetime | None, str], ...]

    def lines(self) -> dict[str, Any]:
        """Return the parts of the posture that are these."""
        return {name: getattr(self, name) for name in Standing.__annotations__ if name != "sources"}

    @property
    def findings(self) -> list[Finding]:
        """What is to be acted on, and what is not known."""
        given = (
            ("breaks", self.breaks_because),
            ("incidents", self.incidents_because),
            ("controls", self.controls_because),
        )
        found = [Finding(status=Status.UNKNOWN, what=f"{name}: {because}") for name, because in given if because]
        confirmed, unknown = (sum(getattr(each, name) for each in self.breaks) for name in ("confirmed", "unknown"))
        if confirmed:
            found.append(Finding(status=Status.ACT, what=f"{confirmed} confirmed breaks are open"))
        if unknown:
            found.append(
                Finding(status=Status.UNKNOWN, what=f"{unknown} breaks that the evidence can't decide are open")
            )
        found += [
            Finding(status=Status.ACT, what=f"{each.untaken} incidents of {each.severity} that nobody took")
            for each in self.incidents
            if Severity(each.severity).pages and each.untaken
        ]
        return found + [
            Finding(
                status=Status.ACT, what=f"{each.name or 'everything'} is held back: level {each.level}, {each.mode}"
            )
            for each in self.controls
        ]


def compile_standing(
    breaks: pa.Table | None,
    reconciled_to: datetime | None,
    incidents: Incidents | None,
    alerted_at: datetime | None,
    controls: Ladders | str,
    now: datetime,
) -> Standing:
    """Return what is open at ``now``.

    Parameters
    ----------
    breaks
        BREAKS of the newest day; None where nothing was ever compared.
    reconciled_to
        Up to when the venue's side of that comparison was complete; None where it was not.
    incidents
        None where their file can't be read.
    alerted_at
        The alerter's last whole turn: older incidents are all that can be known.
    controls
        Where the ladders stand, or why that can't be read.
    """
    unread = "their file can't be read" if incidents is None else ""
    never = "" if unread or alerted_at else "the alerter has never made a whole turn, so that none says nothing"
    states = controls if isinstance(controls, Ladders) else None
    return Standing(
        breaks=() if breaks is None else _breaks(breaks, reconciled_to, now),
        breaks_because="records were never compared" if breaks is None else "" if reconciled_to else "the venue's records were not complete at the last look",  # noqa: E501
        incidents=() if incidents is None else _incidents(incidents, alerted_at),
        incidents_because=unread or never,
        controls=() if states is None else _controls(states, now),
        controls_because=controls if isinstance(controls, str) else "",
        sources=(
            ("breaks", reconciled_to, "certificates of the venue's records of the newest day compared"),
            ("incidents", alerted_at, "the alerter's last whole turn"),
            ("controls", None if states is None else now, "the journal, gone through again line by line"),
        ),
    )  # fmt: skip


def _breaks(rows: pa.Table, proven: datetime | None, now: datetime) -> tuple[BreakAgeLine, ...]:
    by_age: dict[Age, list[Mapping[str, Any]]] = {}
    for row in rows.to_pylist():
        if row["status"] == "open":
            by_age.setdefault(age_of(row["opened_at"], now), []).append(row)
    return tuple(
        BreakAgeLine(
            age=age,
            confirmed=sum(row["verdict"] == BreakVerdict.CONFIRMED for row in by_age[age]),
            unknown=sum(row["verdict"] == BreakVerdict.UNKNOWN for row in by_age[age]),
            money=float(sum(row["money"] or 0 for row in by_age[age])),
            without_money=sum(row["money"] is None for row in by_age[age]),
            proven_at=proven,
        )
        for age in Age
        if age in by_age
    )


def _incidents(incidents: Incidents, proven: datetime | None) -> tuple[IncidentLine, ...]:
    told = incidents.told()
    return tuple(
        IncidentLine(
            severity=severity,
            open=len(own),
            untaken=sum(each.status in UNTAKEN for each in own),
            oldest_at=min(each.opened_at for each in own),
            proven_at=proven,
        )
        for severity in Severity
        if (own := [each for each in told if each.severity is severity])
    )


def _controls(ladders: Ladders, now: datetime) -> tuple[ControlLine, ...]:
    return tuple(
        ControlLine(
            scope=target.scope,
            name=target.name,
            level=int(state.level),
            mode=MODES[state.level],
            since=state.since,
            by=state.by,
            because=state.because,
            proven_at=now,
        )
        for target, state in sorted(ladders.states.items())
        if state.level is not Level.OBSERVE
    )


def earliest(times: Iterable[datetime | None]) -> datetime | None:
    """Return the earliest of the times; None if one is missing, or all are."""
    given: Sequence[datetime | None] = list(times)
    known = [each for each in given if each is not None]
    return min(known) if known and len(known) == len(given) else None
