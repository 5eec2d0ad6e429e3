"""Evaluations as rows, and rows judged again: the same bytes, or the record is not true.

Belongs here: the row of one evaluation and its replay. Doesn't: the table (``contracts``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import cache
from typing import Any

import pyarrow as pa
from pydantic import TypeAdapter, ValidationError

from research_to_prod.operations.alerting.contracts import ALERT_EVALUATIONS
from research_to_prod.operations.alerting.evaluation import Case, Evaluation, judge
from research_to_prod.operations.alerting.rules import AlertPolicy
from research_to_prod.values import canonical_json


class ReplayError(ValueError):
    """A stored row can't be judged again; the message says why."""


def row_of(evaluation: Evaluation, policy: AlertPolicy) -> dict[str, Any]:
    """Return the row of ALERT_EVALUATIONS; the moment of midnight belongs to the day that it ends."""
    case, situation = evaluation.case, evaluation.case.situation
    return {
        "day": f"{case.as_of - timedelta(microseconds=1):%Y-%m-%d}",
        "as_of": case.as_of,
        "rule": case.rule,
        "condition": case.condition,
        "subject": str(case.subject),
        "venue": case.subject.venue,
        "sight": evaluation.sight.value,
        "phase": evaluation.after.phase.value,
        "severity": None if evaluation.severity is None else evaluation.severity.value,
        "metric": evaluation.metric,
        "value": _finite(evaluation.value),
        "threshold": _finite(evaluation.threshold),
        "regime": situation.regime.value,
        "exposed": situation.exposed.value,
        "at_stake": situation.at_stake,
        "blind_seconds": situation.blind_seconds,
        "unwind_hours": situation.unwind_hours,
        "inhibited_by": evaluation.inhibited_by,
        "muted_by": evaluation.muted_by,
        "events": list(situation.events),
        "profile_versions": list(situation.profile_versions),
        "policy_sha256": policy.sha256,
        "inputs": inputs_of(case).decode(),
    }


def table_of(evaluations: Iterable[Evaluation], policy: AlertPolicy) -> pa.Table:
    """Return the rows of many evaluations."""
    return pa.Table.from_pylist([row_of(each, policy) for each in evaluations], schema=ALERT_EVALUATIONS.arrow)


def inputs_of(case: Case) -> bytes:
    """Return a case as canonical JSON; a value that is not finite says no more than none."""
    return canonical_json(_plain(_adapter().dump_python(case, mode="python")))


def evaluation_of(row: Mapping[str, Any], policy: AlertPolicy) -> Evaluation:
    """Judge a stored row again, from its inputs alone.

    Raises
    ------
    ReplayError
        When it was judged under other rules, or its inputs can't be read.
    """
    if row["policy_sha256"] != policy.sha256:
        raise ReplayError(f"judged under the rules {row['policy_sha256'][:12]}, these are {policy.sha256[:12]}")
    try:
        return judge(policy, _adapter().validate_python(json.loads(row["inputs"])))
    except (ValidationError, ValueError, KeyError, IndexError) as error:
        raise ReplayError(f"{row['rule']} on {row['subject']}: {error}") from error


def replay(row: Mapping[str, Any], policy: AlertPolicy) -> dict[str, Any]:
    """Return the row that a stored row must be: anything else was not judged so. Raises as `evaluation_of`."""
    return row_of(evaluation_of(row, policy), policy)


def line_of(evaluation: Evaluation, policy: AlertPolicy) -> bytes:
    """Return the row of an evaluation as one line of canonical JSON, without its end."""
    return line_of_row(row_of(evaluation, policy))


def line_of_row(row: Mapping[str, Any]) -> bytes:
    """Return a row, as it was made or as the table has it, as that line."""
    return canonical_json(_plain(row))


def replay_line(line: bytes, policy: AlertPolicy) -> bytes:
    """Judge a line again and return the line that it must be. Raises as `evaluation_of`."""
    return line_of(evaluation_of(json.loads(line), policy), policy)


@cache
def _adapter() -> TypeAdapter[Case]:
    return TypeAdapter(Case)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return _finite(value)
    return value.isoformat() if hasattr(value, "isoformat") else value
