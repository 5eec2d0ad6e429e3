"""Incidents that follow from stored evaluations: intake made again, in memory, moment by moment.

Belongs here: the rows of a day. Doesn't: the desk's own incidents, which people take and end (``store``).
"""

from __future__ import annotations

import pyarrow as pa

from research_to_prod.operations.alerting.evaluation import Evaluation
from research_to_prod.operations.alerting.records import evaluation_of
from research_to_prod.operations.incidents.contracts import INCIDENTS
from research_to_prod.operations.incidents.intake import Desk, take_in
from research_to_prod.operations.incidents.store import Incidents, Work


def incidents_of_day(evaluations: pa.Table, desk: Desk, day: str) -> pa.Table:
    """Return the INCIDENTS of ALERT_EVALUATIONS of one day.

    Raises
    ------
    ReplayError
        When a row was judged under other rules than the desk's.
    """
    moments: dict[object, list[Evaluation]] = {}
    for row in evaluations.sort_by("as_of").to_pylist():
        moments.setdefault(row["as_of"], []).append(evaluation_of(row, desk.policy))
    work = Work(Incidents())
    for found in moments.values():
        take_in(work, found, desk, found[0].case.as_of)
    rows = [
        {
            "day": day,
            "incident_id": each.id,
            "fingerprint": each.opened.fingerprint,
            "rule": each.opened.rule,
            "subject": str(each.opened.subject),
            "venue": each.opened.subject.venue,
            "severity": each.severity.value,
            "status": each.status.value,
            "part_of": each.into,
            "opened_at": work.incidents.history(each.id)[0].at,
            "occurrences": each.occurrences,
            "text": None if each.page is None else each.page.text,
            "context": [] if each.page is None else list(each.page.context),
            "steps": [] if each.page is None else list(each.page.steps),
            "runbook": None if each.page is None else each.page.runbook,
        }
        for each in work.incidents.all()
    ]
    return INCIDENTS.conform(pa.Table.from_pylist(rows, schema=INCIDENTS.arrow), day)
