"""The rules of alerting as the desk declares them: what is measured, when it is too much, and what that means.

A rule fires when any of its conditions does; a condition holds when all of its bounds are broken. That, levels by
regime and a few ways to make a level out of the hour, the loss budget or the blind time, is the whole language: what
doesn't fit is measured differently, not written as a formula.

Belongs here: the contract of ``desk/alerts/*.yaml`` and its hash. Doesn't: judging (``evaluation``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from research_to_prod.declared import Frozen, read_declared
from research_to_prod.market_data.calendars import EventKind
from research_to_prod.market_data.liquidity import Regime
from research_to_prod.operations import ladder
from research_to_prod.operations.alerting.settings import Identifier, Objective, Seconds, Settings, Severity, Why
from research_to_prod.values import digest

SETTINGS_FILE = "settings.yaml"
"""The numbers that all rules share; every other YAML file of the folder holds metrics and rules."""


class AlertPolicyError(ValueError):
    """The files of rules can't be used; the message lists every wrong file and field."""


class Per(StrEnum):
    """What a rule is judged for, one by one."""

    MARKET = "market"
    VENUE = "venue"
    ACCOUNT = "account"
    STRATEGY = "strategy"
    ASSET = "asset"
    DESK = "desk"


class Basis(StrEnum):
    """What a level is a multiple of."""

    VALUE = "value"
    """Of nothing: it is in the metric's own unit."""
    USUAL = "usual"
    """Of what is usual at this hour; not less than the floor."""
    BUDGET = "budget"
    """Of the loss budget of one incident."""


class NoData(StrEnum):
    """What it means when nothing was measured."""

    FIRES = "fires"
    """Not seeing it is as bad as seeing it, where money is exposed."""
    UNKNOWN = "unknown"
    """It is written down as not known, and fires nothing."""


class Levels(Frozen):
    """A level by regime: deep and normal; thin and unknown; stressed. Null: not judged there."""

    normal: float | None
    thin: float | None
    stressed: float | None

    def at(self, regime: Regime) -> float | None:
        """Return the level that holds in ``regime``."""
        if regime is Regime.STRESSED:
            return self.stressed
        return self.normal if regime in {Regime.NORMAL, Regime.DEEP} else self.thin

    @property
    def given(self) -> list[float]:
        """The levels that are not null."""
        return [each for each in (self.normal, self.thin, self.stressed) if each is not None]


def _in_every_regime(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"normal": value, "thin": value, "stressed": value}
    return value


ByRegime = Annotated[Levels, BeforeValidator(_in_every_regime)]


class Chance(Frozen):
    """What a share of few events must be beyond before it is one: luck.

    Were ``share`` of the events bad, as in good times, so many bad ones or more would come in at most one of
    1 / ``odds`` looks.
    """

    share: float = Field(gt=0, lt=1)
    odds: float = Field(gt=0, le=0.05)
    why: Why


class Bound(Frozen):
    """One metric and the level from which it is too much (``at_least``) or too little (``at_most``).

    Parameters
    ----------
    clears
        Share of the level at which it is calm again: below 1 for ``at_least``, on the other side for ``at_most``. In
        between a firing rule goes on, and one that doesn't fire doesn't begin.
    minimum
        Events that the value must rest on; with fewer it says nothing, and counts as calm.
    beyond
        Of a metric that is a share of these events: chance, which begins nothing.
    within_blind_time
        The level is never above the blind-time budget (metric in seconds).
    times_depth
        The level shrinks with the depth of this hour against its reference, and never grows.
    """

    metric: Identifier
    at_least: ByRegime | None = None
    at_most: ByRegime | None = None
    of: Basis = Basis.VALUE
    floor: ByRegime | None = None
    clears: float
    minimum: int = Field(0, ge=0)
    beyond: Chance | None = None
    within_blind_time: bool = False
    times_depth: bool = False

    @model_validator(mode="after")
    def _sound(self) -> Self:
        levels = self.at_least or self.at_most
        if levels is None or (self.at_least and self.at_most):
            raise ValueError("give either at_least or at_most")
        if not levels.given or 0 in levels.given:
            raise ValueError("a level is given for some regime, and none is 0: from 0 nothing can be told as calmer")
        if any((self.clears * each < each) is not self.upward or self.clears * each == each for each in levels.given):
            raise ValueError(f"clears {self.clears} is not on the calm side of every level")
        if self.floor is not None and (self.of is not Basis.USUAL or not self.upward):
            raise ValueError("a floor is for at_least of what is usual")
        if self.beyond is not None and not (self.upward and self.minimum):
            raise ValueError("beyond chance is for at_least of a share of events, with a minimum of them")
        if (self.within_blind_time or self.times_depth) and not self.upward:
            raise ValueError("within_blind_time and times_depth are for at_least")
        return self

    @property
    def upward(self) -> bool:
        """Whether more of it is worse."""
        return self.at_least is not None

    @property
    def levels(self) -> Levels:
        """The levels, whichever way they work."""
        found = self.at_least or self.at_most
        assert found is not None  # noqa: S101 - the validator's
        return found


class HoldsBack(ladder.Rung):
    """How far the mitigation ladder goes by itself when this pages, and why.

    ``rests_on`` valued: from level 4 on it takes several measurements, because one bad mark looks alike.
    """

    rests_on: Literal[ladder.Basis.COUNTED, ladder.Basis.VALUED] = ladder.Basis.COUNTED


class Condition(Frozen):
    """Bounds that must all be broken, for so long.

    Parameters
    ----------
    lasting
        ``for``: seconds without a break; never more than half of the blind time, the other half is people's.
    severity
        The rule's, unless given.
    exposed
        Holds only where something is at stake.
    holds_back
        The rule's, unless given.
    """

    all: tuple[Bound, ...] = Field(min_length=1)
    lasting: Seconds = Field(0, alias="for")
    severity: Severity | None = None
    exposed: bool = False
    never_muted: bool = False
    holds_back: HoldsBack | None = None


class Adjustment(Frozen):
    """What an event does to a rule besides being named: makes levels stricter (below 1) or laxer, or mutes."""

    events: tuple[EventKind, ...] = Field(min_length=1)
    times: float = Field(1, gt=0, le=10)
    mutes: bool = False
    why: Why


class Rule(Frozen):
    """One signal.

    Parameters
    ----------
    number
        Its place in the catalogue.
    any
        Conditions, the first firing one with the highest severity decides.
    clear_after
        Seconds for which it must be calm before it is over.
    fresh_for
        Seconds after which a measurement is none; not seeing fires when that has lasted so long, or the blind time.
    never_muted
        No event mutes it, no parent inhibits it, and a flat book does not downgrade it.
    inhibits
        Rules that are consequences of this one at the same venue, while it fires.
    holds_back
        What its pages ask of the mitigation ladder; the level of their severity, unless given.
    """

    id: Identifier
    number: int = Field(ge=1)
    title: str = Field(min_length=10)
    per: Per
    severity: Severity
    any: tuple[Condition, ...] = Field(min_length=1)
    clear_after: Seconds
    fresh_for: Seconds = Field(gt=0)
    no_data: NoData
    never_muted: bool = False
    inhibits: tuple[Identifier, ...] = ()
    adjust: tuple[Adjustment, ...] = ()
    holds_back: HoldsBack | None = None
    runbook: Identifier
    why: Why

    @model_validator(mode="after")
    def _never_muted_stays_so(self) -> Self:
        protected = self.never_muted or any(each.never_muted for each in self.any)
        if protected and any(each.mutes or each.times > 1 for each in self.adjust):
            raise ValueError("a rule that is never muted can be made stricter by an event, never laxer")
        return self

    def bounds(self) -> Iterator[Bound]:
        """Yield the bounds of all conditions."""
        for condition in self.any:
            yield from condition.all


class Metric(Frozen):
    """What a measurement is of, and in which unit."""

    unit: str = Field(min_length=1)
    meaning: str = Field(min_length=10)


class RuleFile(Frozen):
    """One file of rules and the metrics that they need."""

    metrics: dict[Identifier, Metric]
    rules: tuple[Rule, ...]


class AlertPolicy(Frozen):
    """All rules of the desk, in the catalogue's order, and what they share."""

    settings: Settings
    metrics: dict[Identifier, Metric]
    rules: tuple[Rule, ...]

    @cached_property
    def sha256(self) -> str:
        """The digest of everything that decides; a comment in a file changes nothing."""
        return digest(self.model_dump(mode="json"))

    @cached_property
    def by_id(self) -> Mapping[str, Rule]:
        """The rules by id."""
        return {rule.id: rule for rule in self.rules}


def load_alert_policy(folder: Path) -> AlertPolicy:
    """Read and join the files of ``desk/alerts``.

    Raises
    ------
    AlertPolicyError
        Listing every wrong file and field, and everything that does not fit between files.
    """
    settings = read_declared(folder / SETTINGS_FILE, Settings, AlertPolicyError)
    problems: list[str] = []
    files: list[RuleFile] = []
    for path in sorted(folder.glob("*.yaml")):
        if path.name != SETTINGS_FILE:
            try:
                files.append(read_declared(path, RuleFile, AlertPolicyError))
            except AlertPolicyError as error:
                problems.append(str(error))
    names = [name for each in files for name in each.metrics]
    metrics = {name: metric for each in files for name, metric in each.metrics.items()}
    rules = sorted((rule for each in files for rule in each.rules), key=lambda rule: rule.number)
    if not problems:
        problems = [f"metric {name}: declared twice" for name in metrics if names.count(name) > 1]
        problems += _misfits(settings, metrics, rules)
    if problems:
        raise AlertPolicyError("\n".join(problems))
    return AlertPolicy(settings=settings, metrics=metrics, rules=tuple(rules))


def load_objectives(folder: Path) -> tuple[Objective, ...]:
    """Read the objectives of ``desk/alerts`` alone.

    Raises
    ------
    AlertPolicyError
        Listing every wrong field of the file.
    """
    return read_declared(folder / SETTINGS_FILE, Settings, AlertPolicyError).objectives


def _misfits(settings: Settings, metrics: Mapping[str, Metric], rules: list[Rule]) -> Iterator[str]:
    ids, numbers = [rule.id for rule in rules], [rule.number for rule in rules]
    by_id = {rule.id: rule for rule in rules}
    used = {bound.metric for rule in rules for bound in rule.bounds()}
    yield from (f"rule {each}: declared twice" for each in sorted({each for each in ids if ids.count(each) > 1}))
    yield from (f"number {each}: used twice" for each in sorted({n for n in numbers if numbers.count(n) > 1}))
    yield from (f"metric {each}: not declared" for each in sorted(used - metrics.keys()))
    yield from (f"metric {each}: no rule uses it" for each in sorted(metrics.keys() - used))
    yield from (f"objective {each.metric}: no rule uses it" for each in settings.objectives if each.metric not in used)
    for rule in rules:
        for other in rule.inhibits:
            if other not in by_id:
                yield f"rule {rule.id}: inhibits {other}, which does not exist"
            elif by_id[other].never_muted or any(each.never_muted for each in by_id[other].any):
                yield f"rule {rule.id}: inhibits {other}, which is never muted"
            elif by_id[other].inhibits:
                yield f"rule {rule.id}: inhibits {other}, which inhibits others itself"
        for bound in rule.bounds():
            if bound.within_blind_time and bound.metric in metrics and metrics[bound.metric].unit != "seconds":
                yield f"rule {rule.id}: {bound.metric} is bounded by the blind time and not in seconds"
