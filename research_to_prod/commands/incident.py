"""`r2p incident`: what is open, who takes it, how it ends, and what was learned."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from research_to_prod.commands.answer import Answer, Wrong
from research_to_prod.commands.terminal import Console
from research_to_prod.settings import Settings

if TYPE_CHECKING:
    from research_to_prod.operations.incidents.lifecycle import Incident, Status, Transition
    from research_to_prod.operations.incidents.review import Review
    from research_to_prod.operations.incidents.store import IncidentStore

app = typer.Typer(no_args_is_help=True, help="Incidents: take them, end them, learn from them.")

Named = Annotated[str, typer.Argument(help="The incident's id, or its beginning.")]
By = Annotated[str, typer.Option(help="Who does this: user:NAME")]
Note = Annotated[str, typer.Option(help="What was seen or done; it stands in the history.")]


@dataclass(frozen=True)
class Told:
    """One incident, its last page with it, and its history."""

    incident: Incident
    history: tuple[Transition, ...]


@dataclass(frozen=True)
class Found:
    """What a runbook's query found in the warehouse; ``problem`` says why nothing could be looked for."""

    sql: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Filled:
    """A runbook with an incident's numbers filled in, and what its queries found."""

    incident: str
    page: str
    sections: dict[str, str]
    queries: dict[str, Found]


@dataclass(frozen=True)
class Alive:
    """The file by which the alerter shows that it lives."""

    heartbeat: Path


@contextmanager
def _told() -> Iterator[None]:
    """Say what is wrong in its own words: 1 for the history, 2 for what was asked."""
    from research_to_prod.operations.incidents.lifecycle import IllegalTransitionError
    from research_to_prod.operations.incidents.review import ReviewError
    from research_to_prod.operations.incidents.store import IncidentError
    from research_to_prod.promotion.keys import KeyFileError

    try:
        yield
    except (IncidentError, OSError) as error:
        raise Wrong(str(error)) from None
    except (KeyFileError, ReviewError, IllegalTransitionError) as error:
        raise typer.BadParameter(str(error)) from None


@app.command("list")
def list_(
    *, everything: Annotated[bool, typer.Option("--all", help="Also what has ended or is part of another.")] = False
) -> Answer:
    """Show what is open, most severe first."""
    with _told():
        incidents = _store().read()
    shown = tuple(
        sorted(incidents.all() if everything else incidents.told(), key=lambda each: (each.severity, each.opened_at))
    )
    return Answer(shown, lambda console: _show_list(shown, console))


@app.command()
def show(incident: Named) -> Answer:
    """Show one incident: its last page, and its history."""
    with _told():
        incidents = _store().read()
        found = incidents.get(incident)
        told = Told(found, tuple(incidents.history(found.id)))
    return Answer(told, lambda console: _show_one(told, console))


@app.command()
def runbook(incident: Named) -> Answer:
    """Show an incident's runbook with its numbers filled in, and what its queries find in the published warehouse."""
    from research_to_prod.operations.runbooks import RunbookError, fill, load_runbooks, query

    with _told():
        settings = Settings.from_environment(os.environ)
        found = _store().read().get(incident)
    if found.page is None:
        raise typer.BadParameter(f"{found.id} is part of {found.into}; its runbook is the one to follow")
    page = found.page
    try:
        chosen = load_runbooks(settings.desk / "runbooks")[page.runbook.removesuffix(".md")]
    except (RunbookError, KeyError) as error:
        raise typer.BadParameter(f"runbook {page.runbook} can't be shown: {error}") from None
    filled = Filled(
        found.id,
        page.text,
        {title: fill(text, page.numbers) for title, text in chosen.sections.items()},
        {name: _ask(settings.warehouse, query(chosen, name, page.numbers)) for name in chosen.front.queries},
    )
    return Answer(filled, lambda console: _show_runbook(filled, console))


@app.command()
def ack(incident: Named, by: By, note: Note = "") -> Answer:
    """Take an incident: from now on you are on it, and nobody else is woken."""
    from research_to_prod.operations.incidents.lifecycle import Status

    return _moved(incident, (Status.ACKED,), by, note)


@app.command()
def mitigate(
    incident: Named,
    by: By,
    note: Note = "",
    *,
    done: Annotated[bool, typer.Option("--done", help="It costs nothing any more, whatever the cause does.")] = False,
) -> Answer:
    """Say that the damage is being stopped, or has been."""
    from research_to_prod.operations.incidents.lifecycle import Status

    return _moved(incident, (Status.MITIGATED if done else Status.MITIGATING,), by, note)


@app.command()
def resolve(incident: Named, by: By, note: Note) -> Answer:
    """End an incident that somebody has taken; a page is not resolved unread."""
    from research_to_prod.operations.incidents.lifecycle import Status

    return _moved(incident, (Status.MITIGATED, Status.RESOLVED), by, note)


@app.command()
def suppress(
    incident: Named,
    by: By,
    note: Note,
    hours: Annotated[float, typer.Option(min=0.1, max=72, help="For how long; then it speaks again.")],
) -> Answer:
    """Silence an incident for some hours; not one of a rule that is never muted."""
    from research_to_prod.operations.incidents.lifecycle import Status

    return _moved(incident, (Status.SUPPRESSED,), by, note, until=datetime.now(UTC) + timedelta(hours=hours))


@app.command()
def review(
    incident: Named,
    by: By,
    file: Annotated[Path, typer.Option(help="YAML: scenario, began_at, detected_by, cause, loss, actions ...")],
) -> Answer:
    """Close a resolved incident with its review, which brings a replay scenario that did not exist before."""
    from research_to_prod.operations.incidents.lifecycle import Status
    from research_to_prod.operations.incidents.review import load_review

    with _told():
        record = load_review(file)
    return _moved(incident, (Status.REVIEWED,), by, f"scenario {record.scenario}", review=record)


@app.command()
def heartbeat() -> Answer:
    """Exit 1 when the alerter is silent: for a watchdog outside it, best on another machine."""
    from research_to_prod.operations.delivery.heartbeat import FILE, silence

    with _told():
        path = Settings.from_environment(os.environ).operations / FILE
    silent = silence(path, datetime.now(UTC))
    if silent is not None:
        raise Wrong(silent)
    return Answer(Alive(path), "the alerter is alive")


def _show_list(incidents: tuple[Incident, ...], console: Console) -> None:
    table = Table("incident", "severity", "status", "rule", "on", "since", "seen", "taken by")
    for each in incidents:
        table.add_row(
            each.id, each.severity, each.status, each.opened.rule, escape(str(each.opened.subject)),
            f"{each.opened_at:%Y-%m-%d %H:%M:%S}", str(each.occurrences), each.acked_by or "nobody",
        )  # fmt: skip
    console.print(table)


def _show_one(told: Told, console: Console) -> None:
    if (page := told.incident.page) is not None:
        console.print(escape(page.text))
        for line in (*page.context, *(f"{n}. {each}" for n, each in enumerate(page.steps, start=1))):
            console.print(f"  {escape(line)}", soft_wrap=True)
        console.print(f"  runbook {page.runbook}")
    table = Table("step", "at", "what", "to", "by", "severity", "note")
    for each in told.history:
        at = f"{each.at:%Y-%m-%d %H:%M:%S}"
        table.add_row(str(each.seq), at, each.event, each.to, each.actor, each.severity, escape(each.note))
    console.print(table)


def _show_runbook(filled: Filled, console: Console) -> None:
    console.print(escape(filled.page))
    for title, text in filled.sections.items():
        console.print(f"\n[bold]{title}[/]\n{escape(text)}")
    for name, found in filled.queries.items():
        console.print(f"\n[bold]query {name}[/]")
        if found.problem:
            console.print(f"{escape(found.sql)}\n({escape(found.problem)})")
            continue
        table = Table(*found.columns)
        for row in found.rows:
            table.add_row(*(escape(str(each)) for each in row))
        console.print(table)


def _ask(warehouse: Path, sql: str) -> Found:
    import duckdb

    if not warehouse.is_file():
        return Found(sql, problem="there is no warehouse yet: `r2p run publish_warehouse`")
    with duckdb.connect(warehouse, read_only=True) as connection:
        # The query is a runbook's, with names in it that came from venues and order systems.
        connection.execute("SET TimeZone = 'UTC'; SET enable_external_access = false; SET lock_configuration = true")
        try:
            found = connection.sql(sql)
            return Found(sql, tuple(found.columns), tuple(found.fetchall()))
        except duckdb.Error as error:
            return Found(sql, problem=str(error).splitlines()[0])


def _store() -> IncidentStore:
    from research_to_prod.operations.incidents.store import IncidentStore
    from research_to_prod.operations.watch import INCIDENTS

    return IncidentStore(Settings.from_environment(os.environ).operations / INCIDENTS)


def _moved(
    name: str,
    through: tuple[Status, ...],
    by: str,
    note: str,
    until: datetime | None = None,
    review: Review | None = None,
) -> Answer:
    from research_to_prod.promotion.keys import person

    with _told():
        actor, now = person(by), datetime.now(UTC)
        with _store().work() as work:
            found = work.incidents.get(name)
            for to in through:
                if to is not found.status:
                    found = work.move(
                        found,
                        to,
                        actor=actor,
                        at=now,
                        ref=f"r2p incident by {actor}",
                        note=note,
                        until=until,
                        review=review,
                    )
    return Answer(found, f"{found.id} is {found.status}, {found.severity}, {found.opened.subject}")
