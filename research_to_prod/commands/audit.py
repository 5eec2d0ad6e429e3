"""`r2p audit`: whole populations, from which an auditor draws samples: approvals, refusals, trials, interventions.

They read the verified ledgers and the controls' journal, never Dagster's database. Exit codes as `r2p trace` has them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from research_to_prod.commands.terminal import Console
from research_to_prod.commands.trace import decision_line, opened_ledger, told
from research_to_prod.settings import Settings

if TYPE_CHECKING:
    from datetime import datetime

    from research_to_prod.operations.control_journal import Move
    from research_to_prod.promotion.keys import PublicKey
    from research_to_prod.promotion.ledger import Ledger
    from research_to_prod.promotion.record import Approval, ChangeRecord, Record
    from research_to_prod.research.trial_ledger import TrialRecord

app = typer.Typer(no_args_is_help=True, help="All approvals, refusals, trials or interventions, to draw samples from.")

JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def approvals(*, as_json: JSON = False) -> None:
    """List what people had to approve or did: how many were asked for, who signed, when, with which key."""
    from research_to_prod.promotion.keys import PUBLIC_FILE, read_keys
    from research_to_prod.promotion.record import RecordType

    with told():
        settings = Settings.from_environment(os.environ)
        ledger = opened_ledger(settings)
        entries = ledger.verify().entries()
        keys = read_keys(settings.keys / PUBLIC_FILE).public
        shown = [
            (each, _people_asked(ledger, each), [_signed(one, keys[one.key_id]) for one in each.approvals or ()])
            for each in entries
            if each.approvals or each.type in {RecordType.PROMOTE, RecordType.POLICY_CHANGE}
        ]
    if as_json:
        _print_json([{**_named(each), "people_asked": asked, "signed": signed} for each, asked, signed in shown])
        return
    console = Console(soft_wrap=True)
    for each, asked, signed in shown:
        by = [f"{one['person']} {one['signed_at']} with key {one['key_id'][:12]}, {one['valid']}" for one in signed]
        policy = "" if each.policy is None else f", by {each.policy.id} {each.policy.sha256[:12]}"
        rows = [("author", each.author), ("asked for", f"{asked} people{policy}")]
        _block(console, _line(each), [*rows, *(("signed by", who) for who in by)])
    console.print(
        f"The ledger of {len(entries)} records holds: who signed had an approver's key that was valid then, was not "
        "the author, and counts once; no promotion has fewer people than were asked for.",
        highlight=False,
    )


@app.command()
def refusals(*, as_json: JSON = False) -> None:
    """List every refused promotion with all of its reasons."""
    from research_to_prod.promotion.record import RecordType

    with told():
        records = opened_ledger(Settings.from_environment(os.environ)).records()
    refused = [each for each in records if each.type is RecordType.REJECT]
    if as_json:
        _print_json([{**_named(each), "reasons": each.reasons} for each in refused])
        return
    console = Console(soft_wrap=True)
    for each in refused:
        _block(console, _line(each), [("because", reason) for reason in each.reasons])
    asked = sum(each.type is RecordType.PROMOTE for each in records) + len(refused)
    console.print(f"{len(refused)} of {asked} decisions on a promotion were refusals.", highlight=False)


@app.command()
def trials(
    candidate: Annotated[str, typer.Argument(help="The candidate's name")],
    *,
    as_json: JSON = False,
) -> None:
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
        decisions = [
            {**_named(each), "n_trials": each.n_trials, "counted_again": counted, "since": len(known) - counted}
            for each in opened_ledger(settings).records()
            if each.candidate == candidate and each.trial_ledger_head
            for counted in [len(distinct_trials(ledger.records(each.trial_ledger_head), *asked))]
        ]
    lines.sort(key=lambda each: each["first"])
    if as_json:
        _print_json({"strategy": asked[0], "universe": asked[1], "trials": lines, "decisions": decisions})
    else:
        _print_trials(f"{asked[0]} on {', '.join(asked[1])}", lines, decisions)
    if any(each["n_trials"] != each["counted_again"] for each in decisions):
        raise typer.Exit(code=1)


@app.command()
def interventions(*, as_json: JSON = False) -> None:
    """List all that was demoted, rolled back, overridden, held, halted or let go: when, by whom, on which numbers."""
    from research_to_prod.operations.control_journal import ControlJournal
    from research_to_prod.promotion.record import RecordType

    taking = {RecordType.DEMOTE, RecordType.ROLLBACK, RecordType.OVERRIDE}
    with told():
        settings = Settings.from_environment(os.environ)
        records = [each for each in opened_ledger(settings).records() if each.type in taking]
        moves = ControlJournal(settings.controls).moves()
    rows = sorted([*map(_taken, records), *map(_moved, moves)], key=lambda each: each["at"])
    if as_json:
        _print_json(rows)
        return
    console = Console(soft_wrap=True)
    for each in rows:
        _block(console, f"{each['at']} {each['what']}", [(key, each[key]) for key in ("by", "why", "numbers")])
    console.print(f"{len(records)} by record, {len(moves)} changes of a ladder's level.", highlight=False)


def _people_asked(ledger: Ledger, entry: Record | ChangeRecord) -> int:
    """Return how many people the policy of an entry asks for, read as the verifier reads it."""
    if entry.policy is None:
        return 0
    policy = json.loads(ledger.blobs.read(entry.policy.sha256))
    return int(policy.get("approval", {}).get("people", 0)) if isinstance(policy, dict) else 0


def _signed(approval: Approval, key: PublicKey) -> dict[str, str]:
    until = "" if key.valid_to is None else f" to {_when(key.valid_to)}"
    return {
        "person": approval.person,
        "signed_at": _when(approval.signed_at),
        "key_id": approval.key_id,
        "valid": f"valid from {_when(key.valid_from)}{until}",
        "envelope_sha256": approval.envelope_sha256,
    }


def _tried(newest: TrialRecord, times: list[TrialRecord]) -> dict[str, Any]:
    from research_to_prod.research.metrics import annualised_sharpe_ratio

    daily = newest.sharpe_daily
    return {
        "first": _when(min(each.recorded_at for each in times)),
        "times": len(times),
        "parameters": newest.parameters,
        "sharpe_annual": None if daily is None else float(annualised_sharpe_ratio(daily)),
        "candidates": sorted({each.candidate for each in times}),
    }


def _print_trials(what: str, lines: list[dict[str, Any]], decisions: list[dict[str, Any]]) -> None:
    console = Console(soft_wrap=True)
    for each in lines:
        sharpe = "undefined" if each["sharpe_annual"] is None else f"{each['sharpe_annual']:.4f}"
        told = f"{each['first']}, {each['times']}x, Sharpe {sharpe}, {each['parameters']}"
        console.print(f"{told}, for {', '.join(each['candidates'])}", markup=False, highlight=False)
    console.print(f"{len(lines)} parameter sets were tried of {escape(what)}.", highlight=False)
    for each in decisions:
        again = each["counted_again"]
        same = "the trial ledger has as many up to then" if again == each["n_trials"] else f"[red]it has {again}[/]"
        console.print(
            f"{escape(each['decision'])}: decided on {each['n_trials']}, {same}; {each['since']} since", highlight=False
        )


def _taken(record: Record) -> dict[str, str]:
    numbers, trigger = "", record.trigger
    if trigger is not None:
        observed = f"n = {trigger.samples}, observed {_when(trigger.observed_at)}"
        numbers = f"{trigger.rule} {trigger.value} against {trigger.threshold}, {observed}"
    return {
        "at": _when(record.recorded_at),
        "what": f"record {record.seq}, {record.type} of {record.candidate} from {record.from_stage} to "
        f"{record.to_stage}",
        "by": record.author,
        "why": "; ".join(record.reasons),
        "numbers": numbers,
    }


def _moved(move: Move) -> dict[str, str]:
    state, target = move.state, move.target
    on = f"{target.scope} {target.name}".strip() if target.name else "everything"
    return {
        "at": "" if state.since is None else _when(state.since),
        "what": f"ladder of {on} from level {move.before:d} to {state.level:d}, "
        f"{state.level.name.lower().replace('_', ' ')}",
        "by": state.by,
        "why": state.because,
        "numbers": "",
    }


def _named(entry: Record | ChangeRecord) -> dict[str, Any]:
    """Return by what a record is found again."""
    policy = None if entry.policy is None else entry.policy.model_dump(exclude_none=True)
    return {"record": entry.seq, "decision": _line(entry), "author": entry.author, "policy": policy}


def _line(entry: Record | ChangeRecord) -> str:
    from research_to_prod.promotion.record import Record

    if isinstance(entry, Record):
        return decision_line(entry)
    return f"record {entry.seq}, {entry.type} of {entry.author}, {_when(entry.recorded_at)}"


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"


def _block(console: Console, title: str, rows: Iterable[tuple[str, str]]) -> None:
    """Print a title and its rows; a name that repeats is told once."""
    console.print(f"[bold]{escape(title)}[/]", highlight=False)
    before = ""
    for name, text in rows:
        if text:
            console.print(f"  {'' if name == before else name:<10} {text}", markup=False, highlight=False)
            before = name


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))
