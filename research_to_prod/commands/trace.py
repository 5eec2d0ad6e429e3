"""`r2p trace`, `r2p replay` and `r2p why`: what a decision rested on, if it would be the same, what stood when.

They read the lake and the ledgers, never Dagster's database. Exit codes: 0 all is as recorded; 1 something is missing
or is not what it was; 2 nothing is meant by what was asked for.
"""

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
from rich.tree import Tree

from research_to_prod.commands.answer import Answer, Wrong
from research_to_prod.commands.terminal import Console
from research_to_prod.settings import Settings
from research_to_prod.values import Verdict

if TYPE_CHECKING:
    from research_to_prod.promotion.history import Spell
    from research_to_prod.promotion.ledger import Ledger
    from research_to_prod.promotion.record import Gate, Record
    from research_to_prod.promotion.replay import Replay
    from research_to_prod.promotion.trace import Month, Partition, Trace

commands = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

Promotion = Annotated[str, typer.Argument(help="A record's number or decision id, or a candidate's newest promotion")]
_COLOURS = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.INCONCLUSIVE: "yellow"}


@dataclass(frozen=True)
class Stay:
    """A version of a candidate at a stage, and the gates of the record that put it there."""

    spell: Spell
    gates: tuple[Gate, ...]


@dataclass(frozen=True)
class Stood:
    """Where a candidate stood on the day that began at ``day``.

    Parameters
    ----------
    otherwise
        Where it was held to be when no record had it at a stage; empty when one had.
    last_decided
        The last record of the candidate before the day ended.
    """

    candidate: str
    day: datetime
    stays: tuple[Stay, ...]
    otherwise: str
    last_decided: Record | None


@commands.command()
def trace(
    promotion: Promotion,
    *,
    html: Annotated[
        Path | None,
        typer.Option(help="Write a self-contained page."),
    ] = None,
    openlineage: Annotated[Path | None, typer.Option(help="Write OpenLineage events, one JSON a line.")] = None,
) -> Answer:
    """Follow a decision down: gates, backtest, trials, candles, fetches with certificates, repairs."""
    from research_to_prod.defs.research.assets import TRIAL_LEDGER
    from research_to_prod.lake import Lake
    from research_to_prod.promotion.evidence import READS
    from research_to_prod.promotion.history import named
    from research_to_prod.promotion.openlineage import run_events
    from research_to_prod.promotion.trace import trace as follow
    from research_to_prod.reports.dossier import render_html
    from research_to_prod.reports.index import publish_index
    from research_to_prod.research.trial_ledger import TrialLedger

    with told():
        settings = Settings.from_environment(os.environ)
        ledger = opened_ledger(settings)
        record = named(ledger.records(), promotion)
        found = follow(record, ledger, Lake(settings.lake), TrialLedger(settings.ledger / TRIAL_LEDGER))
        if html is not None:
            beside = html.resolve().parent == settings.reports.resolve()
            html.write_text(render_html(found, READS, indexed=beside), encoding="utf-8")
            if beside:
                publish_index(settings.reports)
        if openlineage is not None:
            openlineage.write_text("".join(f"{each}\n" for each in run_events(found)), encoding="utf-8")
    return Answer(found, lambda console: console.print(_tree(found)), fine=not found.problems)


@commands.command()
def replay(promotion: Promotion) -> Answer:
    """Judge a recorded decision again, on what it read: byte-equal, or what differs."""
    import research_to_prod
    from research_to_prod.defs.gates.replay import replay as judge_again
    from research_to_prod.lake import Lake
    from research_to_prod.promotion.code_identity import code_identity
    from research_to_prod.promotion.history import named

    with told():
        settings = Settings.from_environment(os.environ)
        ledger = opened_ledger(settings)
        package = Path(research_to_prod.__file__).parent
        code = code_identity(package, package.parent / "requirements.lock")
        record = named(ledger.records(), promotion)
        again = judge_again(record, Lake(settings.lake), settings, ledger, code)
    return Answer(again, lambda console: _show_replay(record, again, console), again.equal)


def _show_replay(record: Record, again: Replay, console: Console) -> None:
    console.soft_wrap = True
    verdict = "byte-equal" if again.equal else "cannot be judged again" if again.problems else "differs"
    console.print(f"[bold]{verdict}[/]: {escape(decision_line(record))}")
    console.print(f"gate report {again.recorded_sha256} recorded, {again.gate_report_sha256} now", highlight=False)
    for each in again.differences:
        console.print(f"  {escape(each.gate or 'report')}: {each.field} {escape(f'{each.recorded} -> {each.now}')}")
    for line in (*again.problems, *(f"note: {note}" for note in again.notes)):
        console.print(f"  {line}", markup=False, highlight=False)


@commands.command()
def why(
    candidate: Annotated[str, typer.Argument(help="The candidate's name")],
    on: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="A day, UTC")],
) -> Answer:
    """Say where a candidate stood on a day, which record put it there, and who approved."""
    from research_to_prod.promotion.history import NoSuchRecordError, spells

    start = on.replace(tzinfo=UTC)
    end = start + timedelta(days=1)
    with told():
        ledger = opened_ledger(Settings.from_environment(os.environ))
        records = ledger.records()
        decided = [each for each in records if each.candidate == candidate and each.recorded_at < end]
        if not any(each.candidate == candidate for each in records):
            raise NoSuchRecordError(f"the ledger has no record of {candidate!r}; `r2p ledger` lists all")
        known = [each for each in spells(records, candidate) if each.since < end]
        there = [each for each in known if each.overlaps(start, end)]
        stays = tuple(Stay(each, ledger.evidence(each.record).gates) for each in there)
    # What was moved stays where it is until a record moves it on, or its own record expires.
    held = f"at no stage: record {known[-1].record.seq} had expired" if known else "at research: no record had moved it"
    stood = Stood(candidate, start, stays, "" if stays else held, decided[-1] if decided else None)
    return Answer(stood, lambda console: _show_stood(stood, console))


def _show_stood(stood: Stood, console: Console) -> None:
    console.soft_wrap = True
    for stay in stood.stays:
        _explain(stay.spell, stay.gates, console)
    if not stood.stays:
        console.print(f"[bold]{escape(stood.candidate)}[/] was {stood.otherwise}.")
        if (record := stood.last_decided) is not None:
            console.print(f"last decided: {escape(decision_line(record))}")
            console.print("".join(f"  {reason}\n" for reason in record.reasons), markup=False, end="")


@contextmanager
def told() -> Iterator[None]:
    """Say what is wrong in its own words: with the records, exit code 1; with what was asked, 2."""
    from research_to_prod.operations.control_journal import ControlJournalError
    from research_to_prod.promotion.blobs import BlobError
    from research_to_prod.promotion.code_identity import CodeIdentityError
    from research_to_prod.promotion.history import NoSuchRecordError
    from research_to_prod.promotion.keys import KeyFileError
    from research_to_prod.promotion.ledger import LedgerError
    from research_to_prod.research.trial_ledger import TrialLedgerError

    try:
        yield
    except (LedgerError, BlobError, TrialLedgerError, ControlJournalError) as error:
        raise Wrong(str(error)) from None
    except OSError as error:
        raise typer.BadParameter(f"{error.filename}: {error.strerror}") from None
    except (KeyFileError, CodeIdentityError, NoSuchRecordError) as error:
        raise typer.BadParameter(str(error)) from None


def opened_ledger(settings: Settings) -> Ledger:
    """Open the ledger with the public keys alone: reading needs no other."""
    from research_to_prod.promotion.keys import PUBLIC_FILE, read_keys
    from research_to_prod.promotion.ledger import Ledger

    return Ledger(settings.ledger, read_keys(settings.keys / PUBLIC_FILE))


def decision_line(record: Record) -> str:
    """Return which record it is, what it moved from where to where, and when."""
    return (
        f"record {record.seq}, {record.type} of {record.candidate} from {record.from_stage} to {record.to_stage}, "
        f"{record.recorded_at:%Y-%m-%d %H:%M:%S}Z"
    )


def _people(record: Record) -> str:
    signed = [f"{each.person} {each.signed_at:%Y-%m-%d %H:%M}Z" for each in record.approvals or ()]
    return ", ".join(signed) or "nobody"


def _explain(spell: Spell, gates: tuple[Gate, ...], console: Console) -> None:
    record, until = spell.record, spell.until
    ended = "" if until is None else f"{until:%Y-%m-%d %H:%M:%S}Z"
    by = "" if spell.ended_by is None else f", by record {spell.ended_by.seq}: {spell.ended_by.type}"
    deciding = [each for each in gates if each.gating]
    passed = sum(each.verdict is Verdict.PASS for each in deciding)
    table = Table.grid(padding=(0, 2))
    # A count that must be 0 passes without a margin, and says nothing of how near it was.
    measured = [each for each in deciding if each.margin is not None and float(each.threshold or 0)]
    closest = min(measured, key=_relative_margin, default=None)
    rows = {
        "version": record.candidate_sha256,
        "since": f"{spell.since:%Y-%m-%d %H:%M:%S}Z",
        "until": f"{ended}{by}" or "now",
        "because of": decision_line(record),
        "gates": f"{passed} of {len(deciding)} passed"
        + (f"; closest {closest.gate}: {closest.reason}" if closest else ""),
        "reasons": "; ".join(record.reasons),
        "approved by": _people(record),
        "all of it": f"r2p trace {record.seq}",
    }
    for name, text in rows.items():
        if text:
            table.add_row(name, escape(text))
    console.print(f"[bold]{escape(record.candidate)}[/] was at [bold]{spell.stage}[/]:")
    console.print(table)


def _relative_margin(gate: Gate) -> float:
    return abs(float(gate.margin or 0) / float(gate.threshold or 1))


def _tree(found: Trace) -> Tree:
    record = found.record
    tree = Tree(f"[bold]{escape(decision_line(record))}[/]", highlight=False)
    _leaves(
        tree.add("decision"),
        record=found.record_sha256,
        decided=f"{record.decision_id} for {record.author}",
        approved=_people(record),
        policy=f"{record.policy.id} {record.policy.sha256}",
        code=f"{record.code.version} {record.code.package_sha256}",
        dependencies=record.code.lockfile_sha256,
        run=record.dagster.run_id,
        parameters=f"{found.parameters} {record.parameters_sha256}",
        reasons="; ".join(record.reasons),
    )
    gates = tree.add(f"gates: {len(found.gates)}, on {len(found.checks)} checks")
    for each in found.gates:
        numbers = ", ".join(
            [
                f"{_short(each.value)} against {_short(each.threshold)}",
                f"margin {_short(each.margin)}",
                f"n = {each.samples}",
            ]
        )
        gates.add(
            f"[{_COLOURS[each.verdict]}]{each.verdict}[/] {each.family}.{each.gate}: {numbers}"
            + ("" if each.gating else " (reported only)")
        )
    own = tree.add("candidate, backtest, trials")
    for part in found.partitions:
        own.add(_partition(part))
    for scenario in found.scenarios:
        own.add(
            f"backtest {scenario.scenario}: Sharpe {_short(scenario.sharpe_annual)}, "
            f"return {_short(scenario.total_return)}, drawdown {_short(scenario.max_drawdown)}, {scenario.days} days"
        )
    trials = found.trials
    own.add(
        f"trials: {trials.count}, Sharpe {_short(trials.own_sharpe)}, best {_short(trials.best_sharpe)}; up to line "
        f"{trials.ledger_head}"
    )
    fetches = [fetch.complete for month in found.months for fetch in month.fetches]
    repairs = sum(len(month.repairs) for month in found.months)
    quarantined = sum(sum(month.quarantined.values()) for month in found.months)
    market = tree.add(
        f"market data: {len(found.months)} months; {sum(fetches)} of {len(fetches)} fetches complete, {repairs} "
        f"repairs, {quarantined} rows of its markets quarantined"
    )
    for month in found.months:
        _month(market.add(month.month), month)
    if found.problems:
        problems = tree.add(f"[red]{len(found.problems)} problems[/]")
        for problem in found.problems:
            problems.add(f"[red]{escape(problem)}[/]")
    return tree


def _month(tree: Tree, month: Month) -> None:
    for part in month.partitions:
        tree.add(_partition(part))
    for fetch in month.fetches:
        word = "complete" if fetch.complete else "[red]not complete[/]"
        tree.add(
            f"fetch {fetch.fetch_id[:12]} of {escape(f'{fetch.table}, {fetch.venue} {fetch.scope}')}: {word} by "
            f"{fetch.terminal}, {fetch.rows} rows on {fetch.pages} pages, {fetch.interval_start:%Y-%m-%d %H:%M} to "
            f"{fetch.interval_end:%Y-%m-%d %H:%M}"
        )
    for repair in month.repairs:
        tree.add(escape(f"repair {repair.id} by {repair.author}: {repair.kind}, {repair.bars} bars; {repair.reason}"))
    for rule, rows in month.quarantined.items():
        tree.add(f"quarantined: {rows} rows, {rule}")


def _partition(part: Partition) -> str:
    said = f"[red]{escape(part.problem)}[/]" if part.problem else "[green]proven[/]"
    where = escape(f"[{part.partition}]") if part.partition else ""
    return f"{part.asset}{where} version {part.version} {part.content_sha256[:12]}, {part.rows} rows: {said}"


def _short(number: str | None) -> str:
    """Return a number for reading; the JSON has all its digits."""
    return "unknown" if number is None else f"{float(number):.6g}"


def _leaves(tree: Tree, **lines: Any) -> None:
    for name, text in lines.items():
        if text:
            tree.add(f"{name}: {escape(str(text))}")
