"""A policy in words: what each threshold asks for and why, and in what two policies differ.

Belongs here: policies as lines that people read. Doesn't: printing, and what a change does to decisions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel

from research_to_prod.gates.families import Event, Family, Quantiles
from research_to_prod.gates.policy import Policy
from research_to_prod.gates.thresholds import Threshold
from research_to_prod.values import StrategyType

ALLOCATION = "capital allocation"


@dataclass(frozen=True)
class Line:
    """One threshold: where it stands, what it asks for, why."""

    family: str
    name: str
    asks: str
    why: str


@dataclass(frozen=True)
class Change:
    """One threshold in which two policies differ, for one type of strategy; None where one of them has it not."""

    strategy_type: StrategyType
    before: Line | None
    after: Line | None


def explain(policy: Policy, strategy_type: StrategyType) -> list[Line]:
    """Return every threshold that applies to a type of strategy, the capital allocation's last."""
    rules = policy.for_type(strategy_type)
    rule = rules.approval
    lines = [Line("approval", "people", f"{rule.people}, within {rule.valid_for.days} days", rule.why)]
    if rule.validator is not None:
        lines.append(
            Line("approval", "validator", rule.validator, "Who answers for these gates, and is never an author.")
        )
    if rule.holds_for is not None:
        lines.append(
            Line(
                "approval",
                "holds_for",
                f"{rule.holds_for.days} days",
                "Then the promotion ends, unless it was reaffirmed.",
            )
        )
    for family in Family:
        section = getattr(rules, family)
        if section is not None:
            lines += _lines(family, "", section, strategy_type)
    return lines + list(_lines(ALLOCATION, "", policy.allocation, strategy_type))


def differences(before: Policy | None, after: Policy) -> list[Change]:
    """Return every threshold whose number differs, by type; a reason that was only reworded is no difference.

    Without a policy before, every threshold is new.
    """
    changes = []
    for strategy_type in StrategyType:
        old, new = (
            {(each.family, each.name): each for each in ([] if policy is None else explain(policy, strategy_type))}
            for policy in (before, after)
        )
        for key in dict.fromkeys((*old, *new)):
            pair = (old.get(key), new.get(key))
            if (pair[0] and pair[0].asks) != (pair[1] and pair[1].asks):
                changes.append(Change(strategy_type, *pair))
    return changes


def _lines(family: str, path: str, value: object, strategy_type: StrategyType) -> Iterator[Line]:
    if isinstance(value, Threshold):
        beside = [
            f"{name.replace('_', ' ')} {getattr(value, name):g}"
            for name in type(value).model_fields
            if name not in ("value", "why")
        ]
        yield Line(family, path, ", ".join([f"{value.value:,.10g}", *beside]), value.why)
    elif isinstance(value, Quantiles):
        budgets = ", ".join(f"p{100 * quantile:g} {budget:g} ms" for quantile, budget in value.budgets.items())
        yield Line(family, path, budgets, value.why)
    elif isinstance(value, Event):
        yield Line(family, f"event {value.name}", f"{value.first} to {value.last}", value.why)
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _lines(family, f"{path} {name}".strip(), getattr(value, name), strategy_type)
    elif isinstance(value, dict):
        # Only dictionaries by type of strategy occur; the reader asked for one of them.
        yield from _lines(family, path.rpartition(" ")[0], value[strategy_type], strategy_type)
    elif isinstance(value, tuple):
        for each in value:
            yield from _lines(family, path, each, strategy_type)
