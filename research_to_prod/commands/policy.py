"""`r2p policy`: what the policies ask for and why, and what a change of one would have done."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.padding import Padding
from rich.progress import track
from rich.table import Table

from research_to_prod.commands.answer import Answer, Wrong
from research_to_prod.commands.terminal import Console
from research_to_prod.settings import Settings
from research_to_prod.values import StrategyType, Verdict

if TYPE_CHECKING:
    from research_to_prod.defs.gates.replay import Rejudged
    from research_to_prod.gates.explanation import Change, Line
    from research_to_prod.gates.policy import Policy

app = typer.Typer(no_args_is_help=True, help="What the policies ask for and why; what a change would have done.")


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
    """In what two policies differ, and what both say of the recorded decisions; a row a difference or decision."""

    changes: tuple[dict[str, str], ...]
    decisions: tuple[dict[str, str], ...]


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
    before: Annotated[str, typer.Argument(help="A policy's id, or a file")],
    after: Annotated[str, typer.Argument(help="A policy's id, or a file")],
) -> Answer:
    """Print in what two policies differ, and judge every recorded decision again under both."""
    from research_to_prod.defs.gates.judgement import verified_ledger
    from research_to_prod.defs.gates.replay import judged_under
    from research_to_prod.gates.explanation import differences
    from research_to_prod.lake import Lake

    with _told():
        settings = Settings.from_environment(os.environ)
        old, new = _load(before), _load(after)
        if (old.from_stage, old.to_stage) != (new.from_stage, new.to_stage):
            raise typer.BadParameter(f"{old.id} and {new.id} decide on different moves")
        ledger = verified_ledger(settings)
        again = () if ledger is None else judged_under(Lake(settings.lake), settings, ledger, old, new)
        bar = Console(stderr=True)
        shown = track(again, "judging again", console=bar, disable=not bar.is_terminal)
        decisions = tuple(_decided(each) for each in shown)
    found = Differences(tuple(_changed(each) for each in differences(old, new)), decisions)
    return Answer(found, lambda console: _show_differences(found, console))


def _show_differences(found: Differences, console: Console) -> None:
    decisions = found.decisions
    console.print(_table("What differs", found.changes) if found.changes else "The two ask for the same.")
    console.print(_table("Past decisions", decisions) if decisions else "No decision on this move is recorded.")
    passes = [[row[side] == Verdict.PASS for side in ("before", "after")] for row in decisions if not row["problem"]]
    turned, unknown = sum(one != other for one, other in passes), len(decisions) - len(passes)
    console.print(f"{turned} of {len(passes)} decisions would have been the opposite; {unknown} can't be judged again.")


@contextmanager
def _told() -> Iterator[None]:
    """Say what is wrong in its own words: with the ledger, exit code 1; with a setting or a policy, 2."""
    from research_to_prod.gates.policy import PolicyError
    from research_to_prod.promotion.keys import KeyFileError
    from research_to_prod.promotion.ledger import LedgerError

    try:
        yield
    except LedgerError as error:
        raise Wrong(str(error)) from None
    except (PolicyError, KeyFileError) as error:
        raise typer.BadParameter(str(error)) from None


def _load(policy: str) -> Policy:
    """Load a policy by its id, or a file, with the desk's capital allocation where none lies beside it."""
    from research_to_prod.gates.policy import load_policy

    desk = Settings.from_environment(os.environ).desk
    path = Path(policy) if policy.endswith((".yaml", ".yml")) else desk / "policies" / f"{policy}.yaml"
    own = path.parent.parent / "capital" / "allocation.yaml"
    return load_policy(path, own if own.exists() else desk / "capital" / "allocation.yaml")


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


def _table(title: str, rows: tuple[dict[str, str], ...]) -> Table:
    table = Table(*rows[0], title=title, title_justify="left")
    for row in rows:
        table.add_row(*(escape(each) for each in row.values()))
    return table
