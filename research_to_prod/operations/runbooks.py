"""Runbooks: what to do when a rule fires, one file a rule, with the numbers of the moment filled in.

Belongs here: reading, holding them to the rules, and rendering. Doesn't: the text (``desk/runbooks``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, ValidationError

from research_to_prod.declared import Frozen, parse_yaml
from research_to_prod.operations.alerting.rules import AlertPolicy
from research_to_prod.operations.alerting.settings import Identifier, Severity

SECTIONS = ("Meaning", "Impact", "First 3 steps", "Diagnosis", "Mitigation", "Verify", "Escalate", "Rollback")
OLDEST_DRILL = timedelta(days=90)
"""A runbook that nobody has followed for a quarter describes a desk of the past."""

PLACEHOLDERS = frozenset(
    {"incident", "subject", "venue", "account", "symbol", "strategy", "key", "value", "threshold", "regime", "exposed"}
    | {"at_stake", "exit_cost", "budget", "blind_time", "unwind", "events", "day", "month", "as_of"}
)
"""What a page can fill in."""

EVERY = "every "
"""How the number of a name begins that the subject leaves open."""

_FRONT = re.compile(r"\A---\n(.*?)\n---\n(.*)\Z", re.DOTALL)
_BRACES = re.compile(r"\{([a-z_]+)\}")
_COMMAND = re.compile(r"`(r2p\s[^`]+)`")


class RunbookError(ValueError):
    """Runbooks can't be used; the message lists every wrong file and what is wrong with it."""


class Front(Frozen):
    """What a runbook says of itself before its text."""

    id: Identifier
    title: str = Field(min_length=10)
    severity_base: Severity
    signals: tuple[Identifier, ...] = Field(min_length=1)
    owner: Annotated[str, Field(pattern=r"^(user|team):[a-z0-9._-]+$")]
    auto_actions: tuple[str, ...]
    max_level: int = Field(ge=0, le=5)
    queries: dict[Identifier, str]
    last_drilled: date
    review_by: date


@dataclass(frozen=True)
class Runbook:
    """One file: its front matter, and its text by section."""

    front: Front
    sections: Mapping[str, str]

    @property
    def steps(self) -> tuple[str, ...]:
        """The first three steps, as they are written."""
        return tuple(_steps(self.sections["First 3 steps"]))

    @property
    def commands(self) -> tuple[str, ...]:
        """Every ``r2p`` command in the text."""
        found = (each for text in self.sections.values() for each in _COMMAND.findall(text))
        return tuple(" ".join(each.split()) for each in found)

    @property
    def placeholders(self) -> frozenset[str]:
        """Every name in braces, in text and queries."""
        texts = (*self.sections.values(), *self.front.queries.values())
        return frozenset(each for text in texts for each in _BRACES.findall(text))


def load_runbooks(folder: Path) -> dict[str, Runbook]:
    """Read every ``*.md`` of ``folder``, by id.

    Raises
    ------
    RunbookError
        Listing every wrong file.
    """
    found: dict[str, Runbook] = {}
    problems: list[str] = []
    for path in sorted(folder.glob("*.md")):
        try:
            runbook = _read(path.read_text(encoding="utf-8"))
        except (RunbookError, OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            problems.append(f"{path.name}: {error}")
        except ValidationError as error:
            problems += [f"{path.name}: {'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        else:
            found[runbook.front.id] = runbook
            problems += [f"{path.name}: {each}" for each in _problems(path.stem, runbook)]
    if problems:
        raise RunbookError("\n".join(problems))
    return found


def gaps(runbooks: Mapping[str, Runbook], policy: AlertPolicy, today: date) -> list[str]:
    """Return what keeps rules and runbooks from covering each other, and every drill or review that is overdue."""
    wanted = {rule.runbook for rule in policy.rules}
    found = [f"there is no runbook {each}" for each in sorted(wanted - runbooks.keys())]
    found += [f"runbook {each} belongs to no rule" for each in sorted(runbooks.keys() - wanted)]
    for rule in policy.rules:
        runbook = runbooks.get(rule.runbook)
        if runbook is None:
            continue
        front = runbook.front
        if front.severity_base is not rule.severity:
            found.append(f"runbook {front.id} says {front.severity_base}, its rule {rule.severity}")
        if set(front.signals) != {bound.metric for bound in rule.bounds()}:
            found.append(f"runbook {front.id} does not name the rule's metrics")
        if today - front.last_drilled > OLDEST_DRILL:
            found.append(f"runbook {front.id} was last drilled on {front.last_drilled}, more than 90 days ago")
        if front.last_drilled > today:
            found.append(f"runbook {front.id} says that it will have been drilled on {front.last_drilled}")
        if front.review_by < today:
            found.append(f"runbook {front.id} was to be reviewed by {front.review_by}")
    return found


def fill(text: str, numbers: Mapping[str, str]) -> str:
    """Return ``text`` with ``numbers`` in place of the names in braces; a name without a number stays."""
    return _BRACES.sub(lambda each: numbers.get(each[1], each[0]), text)


def render(runbook: Runbook, numbers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the first three steps with ``numbers`` filled in."""
    return tuple(fill(step, numbers) for step in runbook.steps)


def query(runbook: Runbook, name: str, numbers: Mapping[str, str]) -> str:
    """Return a query with ``numbers`` filled in, as SQL texts: a quote in a name stays a part of the name.

    What a subject leaves open (``every venue``) matches everything: queries compare names with LIKE.
    """
    quoted = {each: "%" if n.startswith(EVERY) else n.replace("'", "''") for each, n in numbers.items()}
    return fill(runbook.front.queries[name], quoted)


def in_words(value: float | None, unit: str) -> str:
    """Return a number as people read it at night."""
    if value is None:
        return "unknown"
    if unit == "seconds":
        for size, name in ((86_400, "d"), (3600, "h"), (60, "min")):
            if value >= 2 * size:
                return f"{value / size:.3g} {name}"
        return f"{value:.3g} s"
    if unit == "fraction":
        return f"{100 * value:.3g} %"
    return f"{value:,.0f} {unit}" if abs(value) >= 1000 else f"{value:.4g} {unit}"


def _read(text: str) -> Runbook:
    match = _FRONT.match(text)
    if match is None:
        raise RunbookError("does not begin with front matter between two lines of ---")
    front = Front.model_validate(parse_yaml(match[1]))
    parts = re.split(r"^## (.+)\n", match[2], flags=re.MULTILINE)
    return Runbook(front, {title.strip(): body.strip() for title, body in zip(parts[1::2], parts[2::2], strict=True)})


def _problems(stem: str, runbook: Runbook) -> Iterator[str]:
    if runbook.front.id != stem:
        yield f"id: must be the file's name {stem!r}"
    if tuple(runbook.sections) != SECTIONS:
        yield f"sections are {', '.join(runbook.sections)}; wanted are {', '.join(SECTIONS)}"
        return
    yield from (f"section {title} is empty" for title, body in runbook.sections.items() if not body)
    if len(runbook.steps) != 3:
        yield f"has {len(runbook.steps)} first steps"
    yield from (f"{{{each}}} can't be filled in" for each in sorted(runbook.placeholders - PLACEHOLDERS))


def _steps(text: str) -> Sequence[str]:
    """Return the numbered items of a Markdown list, each as one line."""
    items = re.split(r"^\d+\. ", text, flags=re.MULTILINE)[1:]
    return [" ".join(item.split()) for item in items]
