"""The shipped rules with one part of their machinery taken out, to see what it is worth; nothing is tuned again.

Belongs here: what is taken out, and how. Doesn't: running and scoring.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from benchmarks._alert_surroundings import Surroundings
from benchmarks._alert_systems import System, constant_context, policy_of, shipped, with_bounds, without_market
from research_to_prod.market_data.liquidity import Regime
from research_to_prod.operations.alerting.rules import Basis, Bound, Condition, Levels, NoData, Rule
from research_to_prod.operations.alerting.situation import Context


def ablations() -> list[System]:
    """Return the shipped rules without each part of them."""
    return [
        _without("minimum counts and chance", _of_bounds(_without_counts)),
        _without("inhibition, parents and grouping", lambda rule: rule.model_copy(update={"inhibits": ()}), apart=True),
        _without("exposure", lambda rule: rule, _unexposed),
        _without("regime and hour", _at_any_hour, _in_normal_hours),
        _without("what the market explains", lambda rule: rule.model_copy(update={"any": without_market(rule.any)})),
        _without("lasting times", _of_conditions(lambda each: each.model_copy(update={"lasting": 0.0}))),
        _without("resolve threshold and calm time", _calm_at_once),
        _without("not seeing as a finding", lambda rule: rule.model_copy(update={"no_data": NoData.UNKNOWN})),
    ]


def _without(
    part: str,
    changed: Callable[[Rule], Rule],
    context: Callable[[Surroundings, int], Context] = Surroundings.context,
    *,
    apart: bool = False,
) -> System:
    rules = [changed(rule) for rule in shipped().policy.rules]
    return System(f"without {part}", policy_of(rules), context, apart=apart)


def _of_bounds(changed: Callable[[Bound], Bound]) -> Callable[[Rule], Rule]:
    return lambda rule: rule.model_copy(update={"any": with_bounds(rule.any, changed)})


def _of_conditions(changed: Callable[[Condition], Condition]) -> Callable[[Rule], Rule]:
    return lambda rule: rule.model_copy(update={"any": tuple(map(changed, rule.any))})


def _without_counts(bound: Bound) -> Bound:
    # Of no event nothing was measured.
    return bound.model_copy(update={"minimum": min(bound.minimum, 1), "beyond": None})


def _unexposed(around: Surroundings, minute: int) -> Context:
    """Return the context with a little at stake everywhere, always: nothing is flat, large, or short of time."""
    return replace(around.context(minute), holdings=constant_context(around, minute).holdings)


def _in_normal_hours(around: Surroundings, minute: int) -> Context:
    """Return the context with every market's regime normal, and no event; exposure is valued as it is."""
    true = around.context(minute)
    markets = tuple(replace(each, regime=Regime.NORMAL, events=()) for each in true.markets)
    return replace(true, markets=markets, events=())


def _at_any_hour(rule: Rule) -> Rule:
    def changed(bound: Bound) -> Bound:
        given = {"times_depth": False}
        if bound.of is not Basis.USUAL or bound.floor is None:
            return bound.model_copy(update=given)
        normal = Levels(**dict.fromkeys(Levels.model_fields, bound.floor.normal))
        return bound.model_copy(update={**given, "of": Basis.VALUE, "at_least": normal, "floor": None})

    return _of_bounds(changed)(rule)


def _calm_at_once(rule: Rule) -> Rule:
    at_the_level = _of_bounds(lambda bound: bound.model_copy(update={"clears": 1.0}))
    return at_the_level(rule).model_copy(update={"clear_after": 0.0})
