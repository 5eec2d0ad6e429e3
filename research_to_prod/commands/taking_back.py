"""`r2p demote`, `halt`, `false-alarm`, `controls`: what people take back, and what is withheld now."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from research_to_prod.commands.answer import Answer, Wrong
from research_to_prod.commands.terminal import Console
from research_to_prod.settings import Settings
from research_to_prod.values import Stage

if TYPE_CHECKING:
    from research_to_prod.promotion.controls import Control
    from research_to_prod.promotion.ledger import Ledger
    from research_to_prod.promotion.manifest import Manifest
    from research_to_prod.promotion.record import Record
    from research_to_prod.promotion.taking_back import Setting

commands = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

Candidate = Annotated[str, typer.Argument(help="The candidate's name.")]
Reason = Annotated[str, typer.Option(help="Why; it stands in the record.")]
By = Annotated[str, typer.Option(help="Who decides this, as candidates name their owners: user:NAME")]


@dataclass(frozen=True)
class TakenBack:
    """The signed records of what was taken back."""

    records: tuple[Record, ...]


@contextmanager
def told() -> Iterator[None]:
    """Say what is wrong in its own words: 1 for the ledger, its manifest and the controls, 2 for what was asked."""
    from research_to_prod.gates.thresholds import PolicyError
    from research_to_prod.operations.control_journal import ControlJournalError
    from research_to_prod.operations.ladder import LadderError
    from research_to_prod.promotion.keys import KeyFileError
    from research_to_prod.promotion.ledger import LedgerError
    from research_to_prod.promotion.manifest import ManifestError
    from research_to_prod.promotion.rollback.policy import RollbackPolicyError
    from research_to_prod.promotion.taking_back import TakingBackError

    try:
        yield
    except (LedgerError, ManifestError, ControlJournalError) as error:
        raise Wrong(str(error)) from None
    except (KeyFileError, PolicyError, RollbackPolicyError, TakingBackError, LadderError) as error:
        raise typer.BadParameter(str(error)) from None


@commands.command()
def demote(
    candidate: Candidate,
    to: Annotated[Stage, typer.Option(help="The stage that it goes down to: canary, paper, demoted or halted.")],
    reason: Reason,
    by: By,
    version: Annotated[str, typer.Option(help="First characters of the version's SHA-256, if several trade.")] = "",
) -> Answer:
    """Take a version down, as a signed record, and renew the production manifest at once."""
    from research_to_prod.promotion import taking_back
    from research_to_prod.promotion.keys import person

    with told():
        ledger, settings, setting = opened("r2p demote")
        record = taking_back.demote(
            ledger, candidate, to, reason=reason, by=person(by), setting=setting, version=version
        )
        renew(ledger, settings)
    text = f"{candidate} is at {record.to_stage}, record {record.seq}; the manifest is renewed"
    return Answer(TakenBack((record,)), text)


@commands.command()
def halt(candidate: Candidate, reason: Reason, by: By) -> Answer:
    """Halt every version of a candidate, as signed records, and renew the production manifest at once."""
    from research_to_prod.promotion import taking_back
    from research_to_prod.promotion.keys import person

    with told():
        ledger, settings, setting = opened("r2p halt")
        records = taking_back.halt(ledger, candidate, reason=reason, by=person(by), setting=setting)
        renew(ledger, settings)
    numbers = ", ".join(str(record.seq) for record in records)
    return Answer(TakenBack(tuple(records)), f"{candidate} is halted, record {numbers}; the manifest is renewed")


@commands.command()
def false_alarm(
    candidate: Candidate,
    record: Annotated[int, typer.Option(help="The rollback, as `r2p ledger` numbers it.")],
    until: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The UTC day with which the record ends.")],
    reason: Reason,
    by: By,
) -> Answer:
    """Put on record that a rollback was a false alarm; nothing moves: only a promotion leads up again."""
    from research_to_prod.promotion import taking_back
    from research_to_prod.promotion.keys import person

    with told():
        ledger, _, setting = opened("r2p false-alarm")
        written = taking_back.set_aside(
            ledger, candidate, record, reason=reason, by=person(by),
            until=until.replace(tzinfo=UTC) + timedelta(days=1), setting=setting,
        )  # fmt: skip
    text = f"record {record} is held for a false alarm, record {written.seq}; {candidate} stays at {written.to_stage}"
    return Answer(TakenBack((written,)), text)


@commands.command()
def controls() -> Answer:
    """Show what may trade now by the verified ledger, and what is withheld, in which mode and why."""
    from research_to_prod.promotion.manifest import production_manifest

    with told():
        ledger, settings, setting = opened("r2p controls")
        manifest = production_manifest(ledger.records(), setting.now, controls_of(settings))
    return Answer(manifest, lambda console: _show(manifest, console))


def _show(manifest: Manifest, console: Console) -> None:
    table = Table("candidate", "version", "stage", "may", "why")
    for entry in manifest.entries:
        table.add_row(escape(entry.candidate), entry.candidate_sha256[:12], entry.stage, "trade", f"record {entry.seq}")
    for each in manifest.withheld:
        reasons = escape("; ".join(each.reasons))
        table.add_row(escape(each.candidate), each.candidate_sha256[:12], each.stage, each.mode, reasons)
    console.print(table)


def opened(command: str) -> tuple[Ledger, Settings, Setting]:
    """Return the desk's ledger, where things are, and under what a command takes back now."""
    from research_to_prod.gates.capital import load_allocation
    from research_to_prod.promotion.code_identity import code_identity
    from research_to_prod.promotion.keys import open_keys
    from research_to_prod.promotion.ledger import Ledger
    from research_to_prod.promotion.rollback.policy import load_rollback_policy
    from research_to_prod.promotion.taking_back import Setting

    settings, now = Settings.from_environment(os.environ), datetime.now(UTC)
    package = Path(__file__).resolve().parents[1]
    setting = Setting(
        policy=load_rollback_policy(settings.desk / "policies" / "rollback.yaml"),
        allocation=load_allocation(settings.desk / "capital" / "allocation.yaml"),
        code=code_identity(package, package.parent / "requirements.lock"),
        now=now,
        run_id=command,
    )
    return Ledger(settings.ledger, open_keys(settings.keys, now)), settings, setting


def controls_of(settings: Settings) -> tuple[Control, ...]:
    """Return what the mitigation ladders hold back, from their verified journal."""
    from research_to_prod.operations.control_journal import ControlJournal

    return ControlJournal(settings.controls).ladders().controls()


def renew(ledger: Ledger, settings: Settings) -> None:
    """Publish the production manifest anew, under the controls in force."""
    from research_to_prod.promotion.manifest import renew_manifest

    path, now = settings.production / "manifest.json", datetime.now(UTC)
    renew_manifest(path, ledger, settings.keys, now, controls_of(settings))
