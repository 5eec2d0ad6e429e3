"""The page over all reports: which there are, newest first, and what each day's own JSON says in short.

It is a function of the folder alone: the same reports give the same bytes, and whatever a crash left out, the next
report puts in. Belongs here: what is read of each report, and publishing the page. Doesn't: any number that a report
has not, and how the page looks (``rendering``).
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from research_to_prod.promotion.files import make_folder, replace_file
from research_to_prod.reports.desk_report import Status
from research_to_prod.reports.month_lines import Value

PAGE = "index.html"
_DESK_REPORT = re.compile(r"desk-report-(\d{4}-\d{2}-\d{2})\.(?:html|json)")
_DOSSIER = re.compile(r"dossier-[A-Za-z0-9._-]+\.html")


class _Read(BaseModel):
    """What is read of a report: an earlier release's has fields that this one has not, and is read all the same."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Verdict(_Read):
    """What became of one strategy."""

    strategy: str
    verdict: str


class _Costs(_Read):
    total: float


class _Reconciliation(_Read):
    money_at_stake: Decimal


class DaySummary(_Read):
    """What a day's JSON says that stands on this page."""

    day: date
    status: Status
    headline: str
    currency: str
    earned_money: Decimal | None
    verdicts: tuple[Verdict, ...]
    costs: _Costs
    reconciliation: _Reconciliation

    @property
    def by_verdict(self) -> dict[str, tuple[str, ...]]:
        """Strategies by their verdict: what asks for a decision first, then what is not known, then what is well."""
        last = ("NORMAL", "INCONCLUSIVE")
        verdicts = sorted({each.verdict for each in self.verdicts}, key=lambda name: (*map(name.__eq__, last), name))
        return {name: tuple(each.strategy for each in self.verdicts if each.verdict == name) for name in verdicts}


class _Blind(_Read):
    at_stake: float | None


class PostureSummary(_Read):
    """What the risk posture's JSON says that stands on this page; the first line of ``blind`` is the whole book's."""

    as_of: datetime
    status: Status
    headline: str
    currency: str
    blind: tuple[_Blind, ...] = Field(min_length=1)


class Listed(Value):
    """One report of the folder.

    Parameters
    ----------
    page
        Its file's name; None where the page is not there.
    problem
        Why nothing is said of it; empty when all is there and could be read.
    """

    page: str | None
    problem: str


class ListedDay(Listed):
    """The report of a day."""

    day: date
    summary: DaySummary | None


class ListedPosture(Listed):
    """The newest risk posture."""

    summary: PostureSummary | None


class Gap(Value):
    """Days between two reports that have none."""

    first: date
    last: date

    @property
    def days(self) -> int:
        """How many."""
        return (self.last - self.first).days + 1


class MonthOfReports(Value):
    """The reports and gaps of one month, newest first; a gap stands in the month in which it ends."""

    first: date
    lines: tuple[ListedDay | Gap, ...]


class Index(Value):
    """The page."""

    posture: ListedPosture | None
    months: tuple[MonthOfReports, ...]
    dossiers: tuple[str, ...]

    @property
    def days(self) -> tuple[ListedDay, ...]:
        """The reports, newest first."""
        return tuple(line for month in self.months for line in month.lines if isinstance(line, ListedDay))


def compile_index(folder: Path) -> Index:
    """Return what a folder of reports holds.

    Dossiers are the files named ``dossier-*.html``. A report without its page or its JSON, or with JSON that can't be
    read, is listed as such.
    """
    names = {path.name for path in folder.iterdir()}
    days = sorted(_days(names), reverse=True)
    lines: list[ListedDay | Gap] = []
    for day, later in zip(days, [None, *days], strict=False):
        if later is not None and later - day > timedelta(days=1):
            lines.append(Gap(first=day + timedelta(days=1), last=later - timedelta(days=1)))
        lines.append(_listed_day(folder, names, day))
    months: dict[date, list[ListedDay | Gap]] = {}
    for line in lines:
        ends = line.last if isinstance(line, Gap) else line.day
        months.setdefault(ends.replace(day=1), []).append(line)
    return Index(
        posture=_listed_posture(folder, names),
        months=tuple(MonthOfReports(first=first, lines=tuple(own)) for first, own in months.items()),
        dossiers=tuple(sorted(name for name in names if _DOSSIER.fullmatch(name))),
    )


def publish_index(folder: Path) -> Path:
    """Write the page over the reports of ``folder`` anew, in one step, and return it.

    Whoever has written a report calls this afterwards. Of two at once the later sees both reports.
    """
    from research_to_prod.reports.rendering import render_index

    page = folder / PAGE
    with _turn(folder):
        replace_file(page, render_index(compile_index(folder)))
    return page


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Keep others out: between one's look and its write another's report would be lost from the page."""
    make_folder(folder)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _days(names: set[str]) -> set[date]:
    days = set()
    for name in names:
        if found := _DESK_REPORT.fullmatch(name):
            try:
                days.add(date.fromisoformat(found[1]))
            except ValueError:  # such as 2026-02-30: no asset has written it
                continue
    return days


def _listed_day(folder: Path, names: set[str], day: date) -> ListedDay:
    page, problem, summary = _listed(folder, names, f"desk-report-{day}", DaySummary)
    if summary is not None and summary.day != day:
        problem, summary = f"its JSON is of another day, {summary.day}", None
    return ListedDay(page=page, problem=problem, day=day, summary=summary)


def _listed_posture(folder: Path, names: set[str]) -> ListedPosture | None:
    if not names & {"risk-posture.html", "risk-posture.json"}:
        return None
    page, problem, summary = _listed(folder, names, "risk-posture", PostureSummary)
    return ListedPosture(page=page, problem=problem, summary=summary)


Summary = TypeVar("Summary", bound=_Read)


def _listed(folder: Path, names: set[str], stem: str, model: type[Summary]) -> tuple[str | None, str, Summary | None]:
    """Return the name of a report's page, what is wrong, and what its JSON says."""
    page = f"{stem}.html" if f"{stem}.html" in names else None
    problem, summary = "", None
    try:
        summary = model.model_validate_json((folder / f"{stem}.json").read_bytes())
    except FileNotFoundError:
        problem = "its JSON is missing"
    except OSError as error:
        problem = f"its JSON can't be read: {error.strerror}"
    except ValidationError as error:
        first = error.errors()[0]
        problem = ": ".join(filter(None, ("its JSON can't be read", ".".join(map(str, first["loc"])), first["msg"])))
    missing = "" if page else "its page is missing"
    return page, "; ".join(filter(None, (problem, missing))), summary
