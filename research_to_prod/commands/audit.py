"""`r2p audit`: whole populations, from which an auditor draws samples: approvals, refusals, trials, interventions.

They read the verified ledgers and the controls' journal, never Dagster's database. Exit codes as `r2p trace` has them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from research_to_prod.commands.answer import Answer
from research_to_prod.commands.terminal import Console
from research_to_prod.commands.trace import decision_line, opened_ledger, told
from research_to_prod.settings import Settings

if TYPE_CHECKING:
    from research_to_prod.operations.control_journal import Move
    from research_to_prod.promotion.keys import PublicKey
    from research_to_prod.promotion.ledger import Ledger
    from research_to_prod.promotion.record import Approval, ChangeRecord, Policy, Record
    from research_to_prod.research.trial_ledger import TrialRecord

_NEVER = datetime.min.replace(tzinfo=UTC)

app = typer.Typer(no_args_is_help=True, help="All approvals, refusals, trials or interventions, to draw samples from.")


@dataclass(frozen=True, kw_only=True)
class Named:
    """By what a record is found again: its number, what it decided, who made it, under which policy."""

    record: int
    decision: str
    author: str
    policy: Policy | None


@dataclass(frozen=True)
class Signed:
    """One person's approval, and when its key was valid."""

    person: str
    signed_at: datetime
    key_id: str
    valid: str
    envelope_sha256: str


@dataclass(frozen=True, kw_only=True)
class Asked(Named):
    """How many people a record had to be approved by, and who did."""

    people_asked: int
    signed: tuple[Signed, ...]


@dataclass(frozen=True, kw_only=True)
class Refused(Named):
    """A refused promotion."""

    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Counted(Named):
    """How many trials a decision counted, how many the trial ledger has up to then, and how many came since."""

    n_trials: int | None
    counted_again: int
    since: int


@dataclass(frozen=True)
class Tried:
    """One parameter set: when first, how often, with what, and for which candidates."""

    first: datetime
    times: int
    parameters: str
    sharpe_annual: float | None
    candidates: tuple[str, ...]


@dataclass(frozen=True)
class Trials:
    """All that was tried of a strategy on its markets, and what the candidate's decisions counted."""

    strategy: str
    universe: tuple[str, ...]
    trials: tuple[Tried, ...]
    decisions: tuple[Counted, ...]


@dataclass(frozen=True)
class Intervention:
    """Something taken back, held or let go: when, what, by whom, why, and on which numbers where a rule did it."""

    at: datetime | None
    what: str
    by: str
    why: str
    numbers: str


@app.command()
def approvals() -> Answer:
    """List what people had to approve or did: how many were asked for, who signed, when, with which key."""
    from research_to_prod.promotion.keys import PUBLIC_FILE, read_keys
    from research_to_prod.promotion.record import RecordType

    with told():
        settings = Settings.from_environment(os.environ)
        ledger = opened_ledger(settings)
        entries = ledger.verify().entries()
        keys = read_keys(settings.keys / PUBLIC_FILE).public
        shown = [
            Asked(
                **_named(each),
                people_asked=_people_asked(ledger, each),
                signed=tuple(_signed(one, keys[one.key_id]) for one in each.approvals or ()),
            )
            for each in entries
            if each.approvals or each.type in {RecordType.PROMOTE, RecordType.POLICY_CHANGE}
        ]
    return Answer(shown, lambda console: _show_approvals(shown, len(entries), console))


def _show_approvals(shown: Sequence[Asked], records: int, console: Console) -> None:
    console.soft_wrap = True
    for each in shown:
        policy = "" if each.policy is None else f", by {each.policy.id} {each.policy.sha256[:12]}"
        rows = [("author", each.author), ("asked for", f"{each.people_asked} people{policy}")]
        by = [f"{one.person} {_when(one.signed_at)} with key {one.key_id[:12]}, {one.valid}" for one in each.signed]
        _block(console, each.decision, [*rows, *(("signed by", who) for who in by)])
    console.print(
        f"The ledger of {records} records holds: who signed had an approver's key that was valid then, was not "
        "the author, and counts once; no promotion has fewer people than were asked for.",
        highlight=False,
    )


@app.command()
def refusals() -> Answer:
    """List every refused promotion with all of its reasons."""
    from research_to_prod.promotion.record import RecordType

    with told():
        records = opened_ledger(Settings.from_environment(os.environ)).records()
    refused = [Refused(**_named(each), reasons=each.reasons) for each in records if each.type is RecordType.REJECT]
    asked = sum(each.type is RecordType.PROMOTE for each in records) + len(refused)
    return Answer(refused, lambda console: _show_refusals(refused, asked, console))


def _show_refusals(refused: Sequence[Refused], asked: int, console: Console) -> None:
    console.soft_wrap = True
    for each in refused:
        _block(console, each.decision, [("because", reason) for reason in each.reasons])
    console.print(f"{len(refused)} of {asked} decisions on a promotion were refusals.", highlight=False)


@app.command()
def trials(candidate: Annotated[str, typer.Argument(help="The candidate's name")]) -> Answer:
    """List every parameter set ever tried of a candidate's strategy on its markets, under whatever name.

    What each decision counted is counted again from the trial ledger: exit 1 when it is another number.
    """
    from research_to_prod.defs.research.assets import TRIAL_LEDGER
    from research_to_prod.promotion.history import NoSuchRecordError
    from research_to_prod.research.trial_ledger import TrialLedger, distinct_trials

    with told():
        settings = Settings.from_environment(os.environ)
        ledger = TrialLedger(settings.ledger / TRIAL_LEDGER)
        tried = ledger.records()
        own = [each for each in tried if each.candidate == candidate]
        if not own:
            there = ", ".join(sorted({each.candidate for each in tried})) or "none"
            raise NoSuchRecordError(f"nothing was tried for {candidate!r}; there are trials of {there}")
        asked = (own[-1].strategy, own[-1].universe)
        known = distinct_trials(tried, *asked)
        lines = [_tried(known[key], [each for each in tried if each.trial_id == key]) for key in known]
        decisions = tuple(
            Counted(**_named(each), n_trials=each.n_trials, counted_again=counted, since=len(known) - counted)
            for each in opened_ledger(settings).records()
            if each.candidate == candidate and each.trial_ledger_head
            for counted in [len(distinct_trials(ledger.records(each.trial_ledger_head), *asked))]
        )
    found = Trials(asked[0], tuple(asked[1]), tuple(sorted(lines, key=lambda each: each.first)), decisions)
    fine = all(each.n_trials == each.counted_again for each in decisions)
    return Answer(found, lambda console: _show_trials(found, console), fine)


@app.command()
def interventions() -> Answer:
    """List all that was demoted, rolled back, overridden, held, halted or let go: when, by whom, on which numbers."""
    from research_to_prod.operations.control_journal import ControlJournal
    from research_to_prod.promotion.record import RecordType

    taking = {RecordType.DEMOTE, RecordType.ROLLBACK, RecordType.OVERRIDE}
    with told():
        settings = Settings.from_environment(os.environ)
        records = [each for each in opened_ledger(settings).records() if each.type in taking]
        moves = ControlJournal(settings.controls).moves()
    rows = sorted([*map(_taken, records), *map(_moved, moves)], key=lambda each: each.at or _NEVER)
    ended = f"{len(records)} by record, {len(moves)} changes of a ladder's level."
    return Answer(rows, lambda console: _show_interventions(rows, ended, console))


def _show_interventions(rows: Sequence[Intervention], ended: str, console: Console) -> None:
    console.soft_wrap = True
    for each in rows:
        told_of = [("by", each.by), ("why", each.why), ("numbers", each.numbers)]
        _block(console, f"{_when(each.at)} {each.what}", told_of)
    console.print(ended, highlight=False)


def _people_asked(ledger: Ledger, entry: Record | ChangeRecord) -> int:
    """Return how many people the policy of an entry asks for, read as the verifier reads it."""
    if entry.policy is None:
        return 0
    policy = json.loads(ledger.blobs.read(entry.policy.sha256))
    return int(policy.get("approval", {}).get("people", 0)) if isinstance(policy, dict) else 0


def _signed(approval: Approval, key: PublicKey) -> Signed:
    until = "" if key.valid_to is None else f" to {_when(key.valid_to)}"
    valid = f"valid from {_when(key.valid_from)}{until}"
    return Signed(approval.person, approval.signed_at, approval.key_id, valid, approval.envelope_sha256)


def _tried(newest: TrialRecord, times: list[TrialRecord]) -> Tried:
    from research_to_prod.research.metrics import annualised_sharpe_ratio

    daily = newest.sharpe_daily
    return Tried(
        first=min(each.recorded_at for each in times),
        times=len(times),
        parameters=newest.parameters,
        sharpe_annual=None if daily is None else float(annualised_sharpe_ratio(daily)),
        candidates=tuple(sorted({each.candidate for each in times})),
    )


def _show_trials(found: Trials, console: Console) -> None:
    console.soft_wrap = True
    for each in found.trials:
        sharpe = "undefined" if each.sharpe_annual is None else f"{each.sharpe_annual:.4f}"
        said = f"{_when(each.first)}, {each.times}x, Sharpe {sharpe}, {each.parameters}"
        console.print(f"{said}, for {', '.join(each.candidates)}", markup=False, highlight=False)
    what = f"{found.strategy} on {', '.join(found.universe)}"
    console.print(f"{len(found.trials)} parameter sets were tried of {escape(what)}.", highlight=False)
    for counted in found.decisions:
        again = counted.counted_again
        same = "the trial ledger has as many up to then" if again == counted.n_trials else f"[red]it has {again}[/]"
        told_of = f"{escape(counted.decision)}: decided on {counted.n_trials}, {same}; {counted.since} since"
        console.print(told_of, highlight=False)


def _taken(record: Record) -> Intervention:
    numbers, trigger = "", record.trigger
    if trigger is not None:
        observed = f"n = {trigger.samples}, observed {_when(trigger.observed_at)}"
        numbers = f"{trigger.rule} {trigger.value} against {trigger.threshold}, {observed}"
    moved = f"{record.type} of {record.candidate} from {record.from_stage} to {record.to_stage}"
    what = f"record {record.seq}, {moved}"
    return Intervention(record.recorded_at, what, record.author, "; ".join(record.reasons), numbers)


def _moved(move: Move) -> Intervention:
    state, target = move.state, move.target
    on = f"{target.scope} {target.name}".strip() if target.name else "everything"
    name = state.level.name.lower().replace("_", " ")
    what = f"ladder of {on} from level {move.before:d} to {state.level:d}, {name}"
    return Intervention(state.since, what, state.by, state.because, "")


def _named(entry: Record | ChangeRecord) -> dict[str, Any]:
    """Return by what a record is found again: the fields of `Named`."""
    return {"record": entry.seq, "decision": _line(entry), "author": entry.author, "policy": entry.policy}


def _line(entry: Record | ChangeRecord) -> str:
    from research_to_prod.promotion.record import Record

    if isinstance(entry, Record):
        return decision_line(entry)
    return f"record {entry.seq}, {entry.type} of {entry.author}, {_when(entry.recorded_at)}"


def _when(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}Z"


def _block(console: Console, title: str, rows: Iterable[tuple[str, str]]) -> None:
    """Print a title and its rows; a name that repeats is told once."""
    console.print(f"[bold]{escape(title)}[/]", highlight=False)
    before = ""
    for name, text in rows:
        if text:
            console.print(f"  {'' if name == before else name:<10} {text}", markup=False, highlight=False)
            before = name
