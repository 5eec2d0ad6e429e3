"""The gates on readiness: pre-set limits, a runbook, and a kill switch that was seen to work.

Limits gate every transition; runbook and drill are reported on the way to paper, where no money can be lost, and gate
from then on.

Belongs here: the family readiness. Doesn't: drilling (``operations``).
"""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal

from research_to_prod.gates.capital import CapitalAllocation
from research_to_prod.gates.evidence import Evidence
from research_to_prod.gates.families import Family, Readiness
from research_to_prod.gates.gate import Gate, judge
from research_to_prod.gates.limits import pre_set_limits
from research_to_prod.values import Stage


def readiness_gates(rules: Readiness, allocation: CapitalAllocation, evidence: Evidence, to_stage: Stage) -> list[Gate]:
    """Return the gates of the family for a transition to ``to_stage``."""
    found = evidence.readiness
    money = to_stage is not Stage.PAPER
    return [
        _pre_set_limits(rules, allocation, evidence, to_stage),
        judge(
            "runbook",
            Family.READINESS,
            None if found.runbooks is None else float(len(found.runbooks)),
            ">=",
            rules.runbooks.value,
            samples=len(found.runbooks or ()),
            what="number of runbooks for it",
            problem="" if found.runbooks is not None else "nobody looked for its runbook",
            remedy="write the runbook",
            gating=money,
            counted=True,
        ),
        _kill_drill(rules, evidence, gating=money),
    ]


def _pre_set_limits(rules: Readiness, allocation: CapitalAllocation, evidence: Evidence, to_stage: Stage) -> Gate:
    capital, markets = evidence.capital, tuple(evidence.completeness)
    known = capital is not None and math.isfinite(capital) and bool(markets)
    asked = Decimal(repr(capital)) if known else None
    missing = pre_set_limits(evidence.strategy_type, markets, asked, allocation, to_stage).missing
    return judge(
        "pre_set_limits",
        Family.READINESS,
        float(len(missing)) if known else None,
        "<=",
        rules.missing_limits.value,
        samples=1,
        what=f"number of missing limits {list(missing)}",
        problem="" if known else "its capital or its markets are not known",
        remedy=f"ask for capital, in markets that are quoted in the allocation's currency, {allocation.currency}",
        counted=True,
    )


def _kill_drill(rules: Readiness, evidence: Evidence, *, gating: bool) -> Gate:
    drilled, now = evidence.readiness.drilled_at, evidence.readiness.as_of
    age, problem = None, "no kill drill that worked is on record"
    if drilled is not None and now is not None:
        age, problem = (now - drilled) / timedelta(hours=1), ""
        if age < 0:
            problem = "the kill drill is dated after the decision"
    return judge(
        "kill_drill",
        Family.READINESS,
        age,
        "<=",
        rules.kill_drill_age.value,
        samples=0 if drilled is None else 1,
        what="hours since the kill switch was drilled and worked",
        problem=problem,
        remedy="drill the kill switch",
        gating=gating,
    )
