"""`r2p policy`: what the policies ask for and why, what a change of one would have done, and putting one in force."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.padding import Padding
from rich.progress import track
from rich.table import Table

from research_to_prod.commands.answer import Answer, Wrong
from research_to_prod.commands.taking_back import By, Reason
from research_to_prod.commands.terminal import Console
from research_to_prod.settings import Settings
from research_to_prod.values import StrategyType, Verdict

if TYPE_CHECKING:
    from research_to_prod.defs.gates.replay import Rejudged
    from research_to_prod.gates.explanation import Change, Line
    from research_to_prod.gates.policy import Policy
    from research_to_prod.promotion.ledger import Ledger
    from research_to_prod.promotion.record import ChangeRecord, Record

app = typer.Typer(no_args_is_help=True, help="What the policies ask for, what a change would do, what is in force.")
_SHA256 = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True)
class Explained:
    """Every threshold that a policy asks of a type of strategy."""

    policy: str
    sha256: str
    from_stage: str
    to_stage: str
    strategy_type: StrategyType
    thresholds: tuple[Line, ...]


@dataclass(frozen=True)
class Differences:
    """Two policies, their differences, and what both say of the recorded decisions; a row a difference or decision."""

    policies: tuple[dict[str, str], ...]
    changes: tuple[dict[str, str], ...]
    decisions: tuple[dict[str, str], ...]


@dataclass(frozen=True)
class Adopted:
    """The record that put a version of a policy in force; None while people have not approved it: what is missing then.

    ``policy`` and ``sha256`` are what was asked for.
    """

    policy: str
    sha256: str
    record: ChangeRecord | None
    missing: tuple[str, ...] = ()


@app.command()
def explain(
    policy: Annotated[str, typer.Argument(help="A policy's id, or a file")] = "research_to_paper",
    strategy_type: Annotated[StrategyType, typer.Option("--type", help="The type of strategy.")] = StrategyType.SWING,
) -> Answer:
    """Print every threshold that a strategy of one type must meet, and the sentence that says why."""
    from research_to_prod.gates.explanation import explain as lines_of

    with _told():
        loaded = _load(policy)
    thresholds = tuple(lines_of(loaded, strategy_type))
    found = Explained(loaded.id, loaded.sha256, loaded.from_stage, loaded.to_stage, strategy_type, thresholds)
    return Answer(found, lambda console: _show_explained(found, console))


def _show_explained(found: Explained, console: Console) -> None:
    console.print(f"[bold]{found.from_stage} -> {found.to_stage}[/], {found.strategy_type} strategies")
    console.print(f"policy {found.policy}, SHA-256 {found.sha256}", soft_wrap=True)
    # A list and not a table: sentences in narrow columns can't be read.
    for family, own in groupby(found.thresholds, key=lambda line: line.family):
        console.print(f"\n[bold]{family}[/]")
        for line in own:
            console.print(f"  [cyan]{line.name}[/]  {line.asks}", highlight=False)
            console.print(Padding(line.why, (0, 0, 0, 6), style="dim"))


@app.command()
def diff(
    before: Annotated[str, typer.Argument(help="A policy's id, a file, or a recorded version's SHA-256, at least 8")],
    after: Annotated[str, typer.Argument(help="The same")],
) -> Answer:
    """Print in what two policies differ, since when each decides, and every recorded decision judged under both."""
    from research_to_prod.defs.gates.judgement import verified_ledger
    from research_to_prod.defs.gates.replay import judged_under
    from research_to_prod.gates.explanation import differences
    from research_to_prod.lake import Lake

    with _told():
        settings = Settings.from_environment(os.environ)
        ledger = verified_ledger(settings)
        entries = [] if ledger is None else ledger.verify().entries()
        old, new = (
            _recorded(each, ledger, entries) if _SHA256.fullmatch(each) else _load(each) for each in (before, after)
        )
        if (old.from_stage, old.to_stage) != (new.from_stage, new.to_stage):
            raise typer.BadParameter(f"{old.id} and {new.id} decide on different moves")
        again = () if ledger is None else judged_under(Lake(settings.lake), settings, ledger, old, new)
        decisions = tuple(_decided(each) for each in track(again, "judging again", console=Console(stderr=True)))
    known = tuple(_known(each, entries) for each in (old, new))
    found = Differences(known, tuple(_changed(each) for each in differences(old, new)), decisions)
    return Answer(found, lambda console: _show_differences(found, console))


def _show_differences(found: Differences, console: Console) -> None:
    decisions = found.decisions
    for side, each in zip(("before", "after"), found.policies, strict=True):
        console.print(f"{side}: {each['id']} {each['sha256']}, {each['used']}", soft_wrap=True, highlight=False)
    console.print(_table("What differs", found.changes) if found.changes else "The two ask for the same.")
    console.print(_table("Past decisions", decisions) if decisions else "No decision on this move is recorded.")
    passes = [[row[side] == Verdict.PASS for side in ("before", "after")] for row in decisions if not row["problem"]]
    turned, unknown = sum(one != other for one, other in passes), len(decisions) - len(passes)
    console.print(f"{turned} of {len(passes)} decisions would have been the opposite; {unknown} can't be judged again.")


@app.command("list")
def list_policies() -> Answer:
    """Show the desk's policies: whose version is in force since when, and whether the file still is that version."""
    from research_to_prod.defs.gates.judgement import verified_ledger
    from research_to_prod.promotion.policy_change import in_force

    with _told():
        settings = Settings.from_environment(os.environ)
        ledger = verified_ledger(settings)
        changes = () if ledger is None else ledger.verify().changes
        policies = [_load(path.stem) for path in sorted((settings.desk / "policies").glob("*_to_*.yaml"))]
    rows = []
    for policy in policies:
        current = in_force(changes, policy.id)
        if current is None or current.policy is None:
            told = "none was ever put in force: this file decides, whoever edits it"
        elif current.policy.sha256 == policy.sha256:
            told = f"this one, since {current.recorded_at:%Y-%m-%d %H:%M}Z (record {current.seq})"
        else:
            told = f"{current.policy.sha256[:12]} (record {current.seq}); this one promotes nobody"
        move = f"{policy.from_stage} -> {policy.to_stage}"
        rows.append({"policy": policy.id, "move": move, "sha256": policy.sha256, "in force": told})
    shown = tuple(row | {"sha256": row["sha256"][:12]} for row in rows)
    return Answer(tuple(rows), lambda console: console.print(_table("The desk's policies", shown)))


@app.command()
def adopt(
    policy: Annotated[str, typer.Argument(help="Its id: a file of the desk's policies.")], by: By, reason: Reason
) -> Answer:
    """Put the desk's version of a policy in force: as a signed record, once as many people as it takes approve it."""
    from research_to_prod.promotion.keys import open_keys, person
    from research_to_prod.promotion.ledger import Ledger
    from research_to_prod.promotion.policy_change import Waiting, put_in_force
    from research_to_prod.promotion.waiting import ApprovalFolder

    now = datetime.now(UTC)
    with _told():
        settings = Settings.from_environment(os.environ)
        loaded, keys = _load(policy), open_keys(settings.keys, now)
        ledger, folder = Ledger(settings.ledger, keys), ApprovalFolder(settings.approvals)
        done = put_in_force(ledger, folder, keys, loaded, by=person(by), reason=reason, now=now)
    if isinstance(done, Waiting):
        missing = (*done.obstacles, f"{done.remedy}, then this command again, as it was")
        return Answer(Adopted(loaded.id, loaded.sha256, None, missing), "\n".join(missing), fine=False)
    text = f"version {loaded.sha256[:12]} of {loaded.id} is in force, record {done.seq}; others promote nobody"
    return Answer(Adopted(loaded.id, loaded.sha256, done), text)


@contextmanager
def _told() -> Iterator[None]:
    """Say what is wrong in its own words: with the ledger, exit code 1; with a setting or a policy, 2."""
    from research_to_prod.gates.policy import PolicyError
    from research_to_prod.promotion.keys import KeyFileError
    from research_to_prod.promotion.ledger import LedgerError
    from research_to_prod.promotion.policy_change import PolicyChangeError

    try:
        yield
    except LedgerError as error:
        raise Wrong(str(error)) from None
    except (PolicyError, KeyFileError, PolicyChangeError) as error:
        raise typer.BadParameter(str(error)) from None


def _load(policy: str) -> Policy:
    """Load a policy by its id, or a file, with the desk's capital allocation where none lies beside it."""
    from research_to_prod.gates.policy import load_policy

    desk = Settings.from_environment(os.environ).desk
    path = Path(policy) if policy.endswith((".yaml", ".yml")) else desk / "policies" / f"{policy}.yaml"
    own = path.parent.parent / "capital" / "allocation.yaml"
    return load_policy(path, own if own.exists() else desk / "capital" / "allocation.yaml")


def _recorded(sha256: str, ledger: Ledger | None, entries: Sequence[Record | ChangeRecord]) -> Policy:
    """Read the version of a policy under which something was decided, from the ledger's own copy."""
    from research_to_prod.gates.policy import Policy

    known = {each.policy.sha256: each.policy.id for each in entries if each.policy is not None}
    found = [each for each in known if each.startswith(sha256)]
    if ledger is None or len(found) != 1:
        there = ", ".join(f"{name} {each[:12]}" for each, name in known.items()) or "none"
        raise typer.BadParameter(f"{len(found)} recorded policies begin with {sha256}; there are {there}")
    try:
        return Policy.model_validate_json(ledger.blobs.read(found[0]))
    except ValueError as error:
        raise typer.BadParameter(f"the policy recorded as {found[0]} can't be read any more: {error}") from None


def _known(policy: Policy, entries: Sequence[Record | ChangeRecord]) -> dict[str, str]:
    """Return what the ledger says of one version of a policy: who put it in force, what was decided under it."""
    own = [each for each in entries if each.policy is not None and each.policy.sha256 == policy.sha256]
    changes = [
        f"put in force by record {each.seq} of {each.author}, approved by "
        + (", ".join(one.person for one in each.approvals or ()) or "nobody")
        for each in own
        if each.type == "policy_change"
    ]
    decided = [each for each in own if each.type != "policy_change"]
    used = (
        [f"{len(decided)} decisions, the first record {decided[0].seq} of {decided[0].recorded_at:%Y-%m-%d %H:%M}Z"]
        if decided
        else ["nothing was decided under it"]
    )
    return {"id": policy.id, "sha256": policy.sha256, "used": "; ".join(changes + used)}


def _changed(change: Change) -> dict[str, str]:
    line = change.after or change.before
    asks = {"before": change.before.asks if change.before else "", "after": change.after.asks if change.after else ""}
    where = {"type": change.strategy_type.value, "family": line.family, "threshold": line.name} if line else {}
    return {**where, **asks}


def _decided(again: Rejudged) -> dict[str, str]:
    record, before, after = again.record, again.before, again.after
    turned = ""
    if before is not None and after is not None:
        old = {gate.gate: gate.verdict.value for gate in before.gates if gate.gating}
        new = {gate.gate: gate.verdict.value for gate in after.gates if gate.gating}
        differing = [name for name in dict.fromkeys((*old, *new)) if old.get(name) != new.get(name)]
        turned = ", ".join(
            f"{name}: {old.get(name, 'not asked')} -> {new.get(name, 'not asked')}" for name in differing
        )
    return {
        "seq": str(record.seq),
        "candidate": record.candidate,
        "recorded": f"{record.type} {record.recorded_at:%Y-%m-%d}",
        "before": "" if before is None else before.verdict.value,
        "after": "" if after is None else after.verdict.value,
        "gates": turned,
        "problem": again.problem,
    }


def differences_table(before: Policy | None, after: Policy) -> Table | str:
    """Return in what two policies differ as people read it; without one before, all that the other asks for."""
    from research_to_prod.gates.explanation import differences

    found = tuple(_changed(each) for each in differences(before, after))
    return _table("What differs" if before else "What it asks for", found) if found else "The two ask for the same."


def _table(title: str, rows: tuple[dict[str, str], ...]) -> Table:
    table = Table(*rows[0], title=title, title_justify="left")
    for row in rows:
        table.add_row(*(escape(each) for each in row.values()))
    return table
