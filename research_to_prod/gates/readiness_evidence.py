"""What stands ready for a candidate when somebody looked: the runbooks of its strategy, and the last kill drill.

Looking is an asset of its own, because files and clocks can't be read again: what was seen, and when, is a table whose
version a decision cites.

Belongs here: the runbook's front matter, and the table to and from evidence. Doesn't: drilling (``operations``), gates.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import yaml
from pydantic import Field, ValidationError, model_validator

from research_to_prod.declared import Frozen, parse_yaml
from research_to_prod.gates.contracts import READINESS
from research_to_prod.gates.evidence import ReadinessEvidence
from research_to_prod.research.candidate import Candidate
from research_to_prod.values import StrategyType, sha256_hex

SECTIONS = ("What it does", "When it misbehaves", "Take it back", "Close its positions by hand")
"""What whoever is on call at night needs of a strategy, in this order."""


class RunbookError(ValueError):
    """A strategy's runbook is wrong; the message lists what is missing."""


class FrontMatter(Frozen):
    """What a strategy's runbook says of itself: for which strategy, or for every one of a type."""

    strategy: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_]{2,63}$")
    type: StrategyType | None = None
    owner: str = Field(pattern=r"^(user|team):[a-z0-9._-]{2,64}$")
    reviewed_on: date

    @model_validator(mode="after")
    def _of_one_thing(self) -> Self:
        if (self.strategy is None) is (self.type is None):
            raise ValueError("name a strategy or a type, and not both")
        return self


@dataclass(frozen=True)
class Runbook:
    """One runbook: its file, what it is for, and the digest of its bytes."""

    name: str
    about: FrontMatter
    sha256: str


@dataclass(frozen=True)
class Drill:
    """One rehearsal of the kill switch: when it ended, and whether every step of it worked."""

    drilled_at: datetime
    worked: bool


def read_runbook(path: Path) -> Runbook:
    """Read one runbook.

    Raises
    ------
    RunbookError
        Without front matter between ``---`` lines, with wrong fields, or without one of the `SECTIONS` filled in.
    """
    content = path.read_bytes()
    opening, _, rest = content.decode("utf-8").partition("---\n")
    front, closed, body = rest.partition("\n---\n")
    if opening or not closed:
        raise RunbookError(f"{path.name}: begins with no front matter between lines of ---")
    try:
        about = FrontMatter.model_validate(parse_yaml(front))
    except (yaml.YAMLError, ValidationError) as error:
        raise RunbookError(f"{path.name}: {error}") from error
    parts = {title: text.strip() for title, _, text in (each.partition("\n") for each in f"\n{body}".split("\n## "))}
    if missing := [each for each in SECTIONS if not parts.get(each)]:
        raise RunbookError(f"{path.name}: says nothing under {', '.join(missing)}")
    return Runbook(path.name, about, sha256_hex(content))


def runbooks_for(candidate: Candidate, folder: Path) -> tuple[Runbook, ...]:
    """Return the runbooks in ``folder`` that are for the candidate's strategy or its type, in order of their names.

    Raises
    ------
    RunbookError
        If any of them is wrong, another strategy's included: a file that can't be read may be the one that is needed.
    """
    found = [read_runbook(each) for each in sorted(folder.glob("*.md"))]
    return tuple(
        each for each in found if candidate.strategy == each.about.strategy or candidate.type is each.about.type
    )


def last_drill(steps: pa.Table | None) -> Drill | None:
    """Return the drill that rows of ``operations.contracts.KILL_DRILL`` tell of; None where there are none."""
    if steps is None or not steps.num_rows:
        return None
    return Drill(pc.max(steps["drilled_at"]).as_py(), bool(pc.all(steps["passed"]).as_py()))


def readiness_table(candidate: str, runbooks: Iterable[Runbook], drill: Drill | None, as_of: datetime) -> pa.Table:
    """Return the rows of `READINESS`: one for the drill, whether there was one or not, and one for each runbook."""
    rows = [
        {
            "candidate": candidate,
            "as_of": as_of,
            "evidence": "kill_drill",
            "name": "kill_drill",
            "done_at": None if drill is None else drill.drilled_at,
            "worked": drill is not None and drill.worked,
        }
    ]
    rows += [
        {
            "candidate": candidate,
            "as_of": as_of,
            "evidence": "runbook",
            "name": each.name,
            "done_at": None,
            "worked": True,
            "owner": each.about.owner,
            "reviewed_on": each.about.reviewed_on.isoformat(),
            "sha256": each.sha256,
        }
        for each in runbooks
    ]
    return READINESS.conform(pa.Table.from_pylist(rows, schema=READINESS.arrow), candidate)


def readiness_evidence(rows: pa.Table) -> ReadinessEvidence:
    """Return what the rows of one candidate say; a drill that failed is none that worked."""
    seen = rows.to_pylist()
    drilled = [each["done_at"] for each in seen if each["evidence"] == "kill_drill" and each["worked"]]
    return ReadinessEvidence(
        runbooks=tuple(each["name"] for each in seen if each["evidence"] == "runbook"),
        drilled_at=max(drilled, default=None),
        as_of=max(each["as_of"] for each in seen) if seen else None,
    )


def drill_out_of_date(evidence: ReadinessEvidence, now: datetime, oldest_hours: float) -> list[str]:
    """Return why the drill that a report counted does not count any more at ``now``, when the decision is made."""
    drilled = evidence.drilled_at
    if drilled is None or timedelta() <= now - drilled <= timedelta(hours=oldest_hours):
        return []
    hours = (now - drilled) / timedelta(hours=1)
    remedy = "materialize kill_drill, readiness, then gate_report"
    return [f"the kill drill that was judged is {hours:.1f} hours old, at most {oldest_hours:g} are allowed; {remedy}"]
