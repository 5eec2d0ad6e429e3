"""The mitigation ladder: from signals to how much is held back, as a pure function that climbs and never comes down.

Levels: 0 observe, 1 block entries, 2 reduce only, 3 cancel what adds risk, 4 flatten in slices, 5 kill. What a level
does is carried out elsewhere; up to 4 orders that reduce stay possible, because a position that can't be left is the
worse risk. A level rises by itself and falls only by a release that names people, two of them from 4 on.

Belongs here: the policy, one step, a release. Doesn't: keeping them (``control_journal``), when a signal fires
(``alerting``), carrying out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Self

from pydantic import AwareDatetime, Field, model_validator

from research_to_prod.declared import Frozen, read_declared
from research_to_prod.market_data.liquidity import Regime
from research_to_prod.values import digest


class LadderError(ValueError):
    """A ladder's policy, reading or release is wrong; the message says what."""


class Level(IntEnum):
    """How much is held back."""

    OBSERVE = 0
    BLOCK_ENTRIES = 1
    REDUCE_ONLY = 2
    CANCEL_RISK = 3
    FLATTEN = 4
    KILL = 5


TWO_PEOPLE_FROM = Level.FLATTEN
RULE = "rule:ladder"
"""Who raised what no person did."""


class Severity(StrEnum):
    """How urgent a signal is."""

    P1 = "P1"
    P2 = "P2"
    P3 = "P3"


class Basis(StrEnum):
    """What a signal rests on: what is counted, money that is valued, which one bad mark makes wrong, or nothing.

    What is unseen never flattens: positions are closed by valid marks only.
    """

    COUNTED = "counted"
    VALUED = "valued"
    UNSEEN = "unseen"


class Exposed(StrEnum):
    """How much is at stake: nothing, something, or most of what is allowed."""

    NONE = "X0"
    SOME = "X1"
    LARGE = "X2"


class Rung(Frozen):
    """A level, and why it is that one."""

    level: Level
    why: str = Field(min_length=30)


class Raise(Frozen):
    """By how many levels something raises what a signal asks for, and why."""

    by: int = Field(ge=0, le=2, strict=True)
    why: str = Field(min_length=30)


class Confirmations(Frozen):
    """How many valid readings in a row a signal on money needs before it may flatten or kill."""

    value: int = Field(ge=3, le=20, strict=True)
    why: str = Field(min_length=30)


class LadderPolicy(Frozen):
    """What each signal asks for; no severity, regime or exposure may be left out, so that none is switched off."""

    id: str = Field(pattern=r"^ladder$")
    severities: dict[Severity, Rung]
    signals: dict[str, Rung] = Field(default_factory=dict)
    """By a signal's name: in place of its severity's level."""
    regimes: dict[Regime, Raise]
    exposures: dict[Exposed, Raise]
    overdue: Raise
    """A P1 that nobody acknowledged within the time that the desk can afford to be blind."""
    without_exposure: Rung
    """The highest level while nothing is at stake."""
    confirmations: Confirmations

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for what, given, every in (
            ("severities", self.severities, Severity),
            ("regimes", self.regimes, Regime),
            ("exposures", self.exposures, Exposed),
        ):
            if missing := sorted(set(every) - set(given)):
                raise ValueError(f"{what}: {', '.join(missing)} is missing")
        return self

    @property
    def sha256(self) -> str:
        """Digest of the canonical form."""
        return digest(self.model_dump(mode="json"))


def load_ladder_policy(path: Path) -> LadderPolicy:
    """Load the policy file.

    Raises
    ------
    LadderError
        Listing every wrong field.
    """
    return read_declared(path, LadderPolicy, LadderError)


@dataclass(frozen=True)
class Signal:
    """One signal as it was read.

    Parameters
    ----------
    firing
        None: not known. A signal that must fire when its data is missing says so itself.
    overdue
        Nobody acknowledged it in time.
    """

    name: str
    severity: Severity
    basis: Basis
    firing: bool | None
    overdue: bool = False


@dataclass(frozen=True)
class Reading:
    """Signals of one moment, and the regime and exposure in which they were read; None: not known.

    Parameters
    ----------
    by, why
        Who read them, a person where one did, and what they say of it.
    """

    at: AwareDatetime
    signals: tuple[Signal, ...]
    regime: Regime | None
    exposure: Exposed | None
    by: str = RULE
    why: str = ""


@dataclass(frozen=True)
class Release:
    """What people let down, to which level, who they are and why."""

    at: AwareDatetime
    to: Level
    people: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class State:
    """Where a ladder stands.

    Parameters
    ----------
    since
        When it came to its level; None where it never left 0.
    by, because
        What or who brought it there, and why.
    reads
        Valid readings in a row on which each signal fired.
    at
        The last reading or release that changed anything.
    """

    level: Level = Level.OBSERVE
    since: AwareDatetime | None = None
    by: str = ""
    because: str = ""
    reads: dict[str, int] = field(default_factory=dict)
    at: AwareDatetime | None = None


def step(policy: LadderPolicy, state: State, reading: Reading) -> State:
    """Return where a ladder stands after a reading: never lower than before.

    A regime that is not known counts as stressed, an exposure that is not known as large. A signal that is not known
    leaves its confirmations as they were, and asks for nothing.

    Raises
    ------
    LadderError
        When the reading is not later than the last one, or names a signal twice.
    """
    if state.at is not None and reading.at <= state.at:
        raise LadderError(f"a reading of {reading.at} after that of {state.at}")
    names = [signal.name for signal in reading.signals]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise LadderError(f"{', '.join(twice)} is read twice at {reading.at}")
    reads = dict(state.reads)
    asked, because = Level.OBSERVE, ""
    for signal in sorted(reading.signals, key=lambda each: each.name):
        if signal.firing is not None:
            reads[signal.name] = reads.get(signal.name, 0) + 1 if signal.firing else 0
        if signal.firing:
            level = _asked(policy, signal, reading, reads[signal.name])
            if level > asked:
                asked, because = level, f"{signal.name} ({signal.severity}) in {_told(reading)}"
    reads = {name: count for name, count in sorted(reads.items()) if count}
    if asked > state.level:
        told = f"{because}: {reading.why}" if reading.why else because
        return State(asked, reading.at, reading.by, told, reads, reading.at)
    return state if reads == state.reads else replace(state, reads=reads, at=reading.at)


def release(state: State, asked: Release) -> State:
    """Return where a ladder stands after people let it down.

    Raises
    ------
    LadderError
        Unless it goes down, says why, and names people, different ones, two of them from level 4 on; or when it is not
        later than the last that changed anything.
    """
    needed = 2 if state.level >= TWO_PEOPLE_FROM else 1
    problems = []
    if asked.to >= state.level:
        problems.append(f"it stands at {state.level:d}, which is not above {asked.to:d}")
    if len(set(asked.people)) < needed or not all(name.startswith("user:") for name in asked.people):
        problems.append(f"from level {state.level:d} it takes {needed} different people (user:NAME)")
    if not asked.why.strip():
        problems.append("say why")
    if state.at is not None and asked.at <= state.at:
        problems.append(f"{asked.at} is not after {state.at}: was the clock set back?")
    if problems:
        raise LadderError("not released: " + "; ".join(problems))
    # What fires still must be seen anew, or the next reading would climb on confirmations from before.
    return State(asked.to, asked.at, ", ".join(sorted(set(asked.people))), asked.why, {}, asked.at)


def _asked(policy: LadderPolicy, signal: Signal, reading: Reading, reads: int) -> Level:
    base = policy.signals.get(signal.name, policy.severities[signal.severity]).level
    if base is Level.OBSERVE:
        return base
    raised = base + policy.regimes[reading.regime or Regime.STRESSED].by
    raised += policy.exposures[reading.exposure or Exposed.LARGE].by
    raised += policy.overdue.by if signal.overdue else 0
    # Circumstances flatten; only what asks for it by name kills.
    level = Level(min(raised, max(base, Level.FLATTEN)))
    if reading.exposure is Exposed.NONE:
        level = min(level, policy.without_exposure.level)
    confirmed = signal.basis is Basis.COUNTED or (signal.basis is Basis.VALUED and reads >= policy.confirmations.value)
    if level >= Level.FLATTEN and not confirmed:
        return Level.CANCEL_RISK
    return level


def _told(reading: Reading) -> str:
    regime = "an unknown regime" if reading.regime is None else f"a {reading.regime} market"
    return f"{regime}, exposure {'unknown' if reading.exposure is None else reading.exposure}"
