"""`r2p hold`, `r2p kill`, `r2p release`: what people hold back at once, and let go again in their names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from research_to_prod.commands.answer import Answer
from research_to_prod.commands.taking_back import opened, renew, told
from research_to_prod.commands.terminal import Console
from research_to_prod.settings import Settings

if TYPE_CHECKING:
    from research_to_prod.market_data.universe import Universe
    from research_to_prod.operations.control_journal import Target
    from research_to_prod.operations.ladder import State

commands = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

Reason = Annotated[str, typer.Option(help="Why; it stands in the journal.")]
By = Annotated[str, typer.Option(help="Who decides this: user:NAME")]
Venue = Annotated[str, typer.Option(help="On this venue only, as the universe names it.")]
Candidate = Annotated[str, typer.Option(help="On this candidate only.")]
SANDBOX = "sandbox"


@dataclass(frozen=True)
class Cancelled:
    """What a kill could not cancel at the venues; empty when nothing rests there any more."""

    not_cancelled: tuple[str, ...]


@commands.command()
def hold(reason: Reason, by: By, venue: Venue = "", candidate: Candidate = "") -> Answer:
    """Block what would grow, at the level of a page (P1), on everything, a venue or a candidate; renew the manifest."""
    with told():
        state = raise_ladder("hold", reason, by, venue, candidate)
    return Answer(state, f"held back at level {state.level:d}; the manifest is renewed")


@commands.command()
def kill(reason: Reason, by: By, venue: Venue = "", candidate: Candidate = "") -> Iterator[Answer]:
    """Halt everything, a venue or a candidate, renew the manifest, and cancel every resting order of those venues.

    Orders carry no strategy's name at the venue: for a candidate its halt reaches the execution systems through the
    manifest, and nothing is cancelled here. Exit code 1 when a venue could not be reached or refused.
    """
    with told():
        state = raise_ladder("kill_switch", reason, by, venue, candidate)
    yield Answer(state, f"killed, level {state.level:d}; the manifest is renewed")
    if candidate:
        return
    from research_to_prod.market_data.universe import Universe

    with told():
        universe = Universe.load(Settings.from_environment(os.environ).desk / "universe.yaml")
    wrong = tuple(_cancel(universe, venue))
    yield Answer(Cancelled(wrong), lambda _: _show_wrong(wrong), fine=not wrong)


@commands.command()
def release(
    reason: Reason,
    by: Annotated[list[str], typer.Option(help="Who lets go: user:NAME; twice from level 4 on, of two people.")],
    to: Annotated[int, typer.Option(min=0, max=4, help="The level that it goes down to.")] = 0,
    venue: Venue = "",
    candidate: Candidate = "",
) -> Answer:
    """Let a ladder down in the names of people, and renew the production manifest.

    The names are not proven: whoever can write the desk's data can write them, and what was promoted stays as it was.
    """
    from research_to_prod.operations.control_journal import ControlJournal
    from research_to_prod.operations.ladder import Level, Release, load_ladder_policy
    from research_to_prod.promotion.keys import person

    with told():
        ledger, settings, setting = opened("r2p release")
        asked = Release(setting.now, Level(to), tuple(person(each) for each in by), reason)
        policy = load_ladder_policy(settings.desk / "policies" / "ladder.yaml")
        state = ControlJournal(settings.controls).release(policy, _target(venue, candidate), asked)
        renew(ledger, settings)
    return Answer(state, f"let down to level {state.level:d} by {state.by}; the manifest is renewed")


def raise_ladder(signal: str, reason: str, by: str, venue: str = "", candidate: str = "") -> State:
    """Raise the ladder of everything, a venue or a candidate on a person's word, and renew the manifest.

    Parameters
    ----------
    signal
        ``hold`` or ``kill_switch``, as the ladder's policy names them.
    by
        ``user:NAME``; stands in the journal.
    """
    from research_to_prod.market_data.liquidity import Regime
    from research_to_prod.market_data.universe import Universe
    from research_to_prod.operations.control_journal import ControlJournal
    from research_to_prod.operations.ladder import Basis, Exposed, Reading, Severity, Signal, load_ladder_policy
    from research_to_prod.promotion.keys import person

    ledger, settings, setting = opened(f"r2p {signal}")
    target = _target(venue, candidate)
    if venue:
        universe = Universe.load(settings.desk / "universe.yaml")
        _refuse_unknown("venue", venue, {each.name for each in universe.venues} | {m.venue for m in universe.markets})
    if candidate:
        files = {file.stem for file in (settings.desk / "candidates").glob("*.yaml")}
        _refuse_unknown("candidate", candidate, files | {record.candidate for record in ledger.records()})
    policy = load_ladder_policy(settings.desk / "policies" / "ladder.yaml")
    # A person has looked already: what they ask for is taken as it is, and not raised by the market.
    reading = Reading(
        setting.now, (Signal(signal, Severity.P1, Basis.COUNTED, firing=True),), Regime.NORMAL, Exposed.SOME,
        person(by), reason,
    )  # fmt: skip
    state = ControlJournal(settings.controls).read(policy, target, reading)
    renew(ledger, settings)
    return state


def _show_wrong(wrong: tuple[str, ...]) -> None:
    for each in wrong:
        Console(stderr=True).print(f"[red]{escape(each)}[/]", soft_wrap=True)


def _refuse_unknown(what: str, name: str, known: set[str]) -> None:
    """Refuse a misspelt name: "held back" would be said of what goes on trading."""
    from research_to_prod.operations.ladder import LadderError

    if name not in known:
        there = ", ".join(sorted(known)) or "none"
        raise LadderError(f"nothing is held back: there is no {what} {name!r}; there are {there}")


def _target(venue: str, candidate: str) -> Target:
    from research_to_prod.operations.control_journal import ALL, Target
    from research_to_prod.operations.ladder import LadderError
    from research_to_prod.promotion.controls import Scope

    if venue and candidate:
        raise LadderError("name a venue or a candidate, or neither for everything")
    if venue:
        return Target(Scope.VENUE, venue)
    return Target(Scope.CANDIDATE, candidate) if candidate else ALL


def _cancel(universe: Universe, only: str) -> list[str]:
    """Cancel what rests in every market of the universe at its venues, and return what could not be."""
    from research_to_prod.execution.order_entry import connect_orders
    from research_to_prod.market_data.credentials import Credentials
    from research_to_prod.market_data.venue_errors import VenueError
    from research_to_prod.operations.kill_drill import kill as cancel_all

    wrong = []
    for spec in universe.venues:
        symbols = sorted({market.symbol for market in universe.markets if market.venue == spec.name})
        if only not in {"", spec.name} or not symbols or spec.name == SANDBOX:
            continue
        try:
            credentials = Credentials.from_environment(spec, os.environ)
            if credentials is None:
                wrong.append(f"{spec.name}: no API key is named: cancel in the venue's own interface")
                continue
            wrong += [f"{spec.name} {each}" for each in cancel_all(connect_orders(spec, credentials), symbols)]
        except (VenueError, ValueError) as error:
            wrong.append(f"{spec.name}: {error}")
    return wrong
