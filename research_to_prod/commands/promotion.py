"""`r2p approve` and `r2p keys`: what people do to approve decisions, and whose approval counts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from research_to_prod.commands.answer import Answer, Wrong
from research_to_prod.commands.taking_back import By, Reason
from research_to_prod.commands.terminal import Console
from research_to_prod.settings import Settings

if TYPE_CHECKING:
    from research_to_prod.promotion.approvals import ApprovalRequest, Asked
    from research_to_prod.promotion.keys import Keys
    from research_to_prod.promotion.record import Draft

commands = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
keys_commands = typer.Typer(no_args_is_help=True, help="Keys of the people who approve.")
commands.add_typer(keys_commands, name="keys")


@dataclass(frozen=True)
class Answered:
    """What was asked, and the envelope that says yes to it; None where the answer was no."""

    request: ApprovalRequest
    envelope: Path | None


@contextmanager
def _told() -> Iterator[None]:
    """Say what is wrong in its own words: 1 for the ledger, 2 for a file or a key."""
    from research_to_prod.promotion.approvals import ApprovalError
    from research_to_prod.promotion.keys import KeyFileError
    from research_to_prod.promotion.ledger import LedgerError

    try:
        yield
    except LedgerError as error:
        raise Wrong(str(error)) from None
    except OSError as error:
        raise typer.BadParameter(f"{error.filename}: {error.strerror}") from None
    except (KeyFileError, ApprovalError) as error:
        raise typer.BadParameter(str(error)) from None


@commands.command()
def approve(
    request: Annotated[Path, typer.Argument(help="What is asked: a file of data/approvals/pending/")],
    key: Annotated[Path, typer.Option(help="Your private key, from `r2p keys new-approver`.")],
) -> Answer:
    """Read what is asked, and sign it when you agree; the envelope appears beside REQUEST, to be brought back."""
    from research_to_prod.promotion.approvals import approve as sign
    from research_to_prod.promotion.approvals import read_asked
    from research_to_prod.promotion.files import replace_file
    from research_to_prod.promotion.keys import open_private
    from research_to_prod.promotion.waiting import envelope_name

    now = datetime.now(UTC)
    with _told():
        asked, keys = read_asked(request.read_bytes()), open_private(key)
        envelope = sign(asked, keys, now)
    # What a person signs, they read, whatever becomes of the answer.
    _show(asked, Console())
    if not typer.confirm("Do you approve exactly this?"):
        return Answer(Answered(asked.request, None), "nothing is signed", fine=False)
    # A request from the project's own folder lies in pending/, its answers one above.
    folder = request.parent.parent if request.parent.name == "pending" else request.parent
    path = folder / envelope_name(asked, keys)
    with _told():
        replace_file(path, envelope)
    again = "then promote again" if asked.request.candidate else "then run `r2p policy adopt` again, as it was"
    text = f"signed: {path}\nbring it to data/approvals/ of the desk, {again}"
    return Answer(Answered(asked.request, path), text)


@keys_commands.command("new-approver")
def new_approver(
    person: Annotated[str, typer.Option(help="Whose key it is, as candidates name their owners: user:NAME")],
    key: Annotated[Path, typer.Option(help="Where the private key goes.")] = Path("~/.r2p/approver.key"),
) -> Iterator[Answer]:
    """Make your key on this machine, and print its public entry; the private key never leaves the machine."""
    from research_to_prod.promotion import keys as of

    path = key.expanduser().resolve()
    with _told():
        data = Settings.from_environment(os.environ).data.resolve()
        if path.is_relative_to(data):
            raise of.KeyFileError(f"{path} lies in {data}, where the desk's processes could read it: keep it elsewhere")
        made = of.new_approver(path, of.person(person), datetime.now(UTC))
    Console(stderr=True).print(
        f"private key: {path} (keep it, and give it to nobody)\n"
        "the line below is public: whoever keeps the desk's keys saves it to a file and runs `r2p keys trust FILE`",
        soft_wrap=True,
    )
    # One line of canonical JSON, with and without --json: `r2p keys trust` takes no other form.
    entries = of.public_entries(made).decode()
    yield Answer(json.loads(entries), entries)


@keys_commands.command()
def trust(
    entry: Annotated[Path, typer.Argument(help="What `r2p keys new-approver` printed.")],
) -> Answer:
    """Add an approver's public key to the desk's keys.json."""
    from research_to_prod.promotion import keys as of

    with _told():
        settings = Settings.from_environment(os.environ)
        all_keys = of.trust(settings.keys / of.PUBLIC_FILE, entry)
    return Answer(all_keys.public, lambda console: _show_keys(all_keys, console))


@keys_commands.command("list")
def list_keys() -> Answer:
    """Show the public keys that the desk trusts: whose, for what, from when until when."""
    from research_to_prod.promotion import keys as of

    with _told():
        trusted = of.read_keys(Settings.from_environment(os.environ).keys / of.PUBLIC_FILE)
    return Answer(trusted.public, lambda console: _show_keys(trusted, console))


@keys_commands.command()
def end(
    key: Annotated[str, typer.Argument(help="First characters of its id, as `r2p keys list` shows it.")],
    by: By,
    reason: Reason,
) -> Answer:
    """End a key now, as a signed record and in keys.json: its owner left, or its machine was lost."""
    from research_to_prod.promotion import keys as of
    from research_to_prod.promotion.key_ending import end_key
    from research_to_prod.promotion.ledger import Ledger

    settings, now = Settings.from_environment(os.environ), datetime.now(UTC)
    path = settings.keys / of.PUBLIC_FILE
    with _told():
        ledger = Ledger(settings.ledger, of.open_keys(settings.keys, now))
        name, ended = end_key(ledger, path, key, by=of.person(by), reason=reason, now=now)
    text = f"key {name[:12]} of {ended.person or ended.role} ends at {ended.valid_to:%Y-%m-%d %H:%M:%S}Z, on record"
    return Answer({name: ended}, text)


def _show_keys(keys: Keys, console: Console) -> None:
    table = Table("person", "role", "valid from", "until", "key")
    for name, each in keys.public.items():
        until = "" if each.valid_to is None else f"{each.valid_to:%Y-%m-%d %H:%M}Z"
        table.add_row(escape(each.person or ""), each.role, f"{each.valid_from:%Y-%m-%d %H:%M}Z", until, name[:12])
    console.print(table)


def _show(asked: Asked, console: Console) -> None:
    from research_to_prod.promotion.record import Draft

    request, decision = asked.request, asked.decision
    if isinstance(decision, Draft):
        _show_promotion(decision, console)
    else:
        _show_policy_change(asked, console)
    console.print(
        f"Policy {escape(request.policy.id)}, {request.policy.sha256}.\n"
        f"{request.people} people must approve until {request.expires_at:%Y-%m-%d %H:%M}Z; "
        f"nobody their own work.\nDecision {escape(request.decision_id)}, digest {request.decision_sha256}."
    )


def _show_policy_change(asked: Asked, console: Console) -> None:
    """Print in what the policy to be differs from the one in force: the hashes that are signed name both."""
    from research_to_prod.commands.policy import differences_table
    from research_to_prod.gates.policy import Policy

    if asked.policies is None:
        raise typer.BadParameter("this request lacks the policies that it is about")
    try:
        before = None if asked.policies.before is None else Policy.model_validate_json(asked.policies.before)
        after = Policy.model_validate_json(asked.policies.after)
    except ValueError as error:
        raise typer.BadParameter(f"a policy in this request can't be read by this version: {error}") from None
    console.print(
        f"{escape(asked.request.author)} asks to put another version of the policy [bold]{escape(after.id)}[/] in "
        f"force, by which candidates go from [bold]{after.from_stage}[/] to [bold]{after.to_stage}[/]:"
    )
    for reason in asked.decision.reasons:
        console.print(f"  {escape(reason)}", soft_wrap=True)
    console.print(differences_table(before, after))


def _show_promotion(decision: Draft, console: Console) -> None:
    console.print(
        f"[bold]{escape(decision.candidate)}[/], a strategy of {escape(decision.author)}, is to go from "
        f"[bold]{decision.from_stage}[/] to [bold]{decision.to_stage}[/].\n"
        f"Its {len(decision.checks)} checks on {len(decision.inputs)} partitions of data passed, and these gates:"
    )
    table = Table("gate", "value", "threshold", "samples", "why")
    for gate in decision.gates:
        if gate.gating:
            row = (gate.gate, gate.value or "", gate.threshold or "", str(gate.samples), gate.reason)
            table.add_row(*(escape(cell) for cell in row))
    console.print(table)
    if limits := decision.limits:
        where = ", ".join(f"{each.symbol} on {each.venue}" for each in limits.instruments)
        console.print(f"It may trade {escape(where)}.")
        for name, amount in limits.model_dump(exclude={"instruments", "currency"}, exclude_none=True).items():
            console.print(f"{name.replace('_', ' ')}: {amount} {escape(limits.currency or '')}")
    else:
        console.print("[red]It has no limits.[/]")
    console.print(f"Tried before it was chosen: {decision.n_trials} parameter sets.")
