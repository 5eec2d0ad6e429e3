"""The gates on implementation: whether the desk trades as the model does, judged on paired observations.

Paper and canary test the implementation, not the edge: telling an annual Sharpe ratio of 3 from 0 takes a year, a cost
error of 1 bp some 200 trades.

Belongs here: the family implementation. Doesn't: pairing (``attribution``).
"""

from __future__ import annotations

from research_to_prod.gates.evidence import Evidence
from research_to_prod.gates.families import Family, Implementation
from research_to_prod.gates.gate import Gate, judge
from research_to_prod.values import Verdict


def implementation_gates(rules: Implementation, evidence: Evidence) -> list[Gate]:
    """Return the gates of the family."""
    paired = evidence.paired
    decisions, days = paired.decisions or 0, paired.days or 0
    gates = [
        _count("paired_days", paired.days, rules.paired_days.value, "number of days traded beside the model"),
        _count("paired_decisions", paired.decisions, rules.paired_decisions.value, "number of paired decisions"),
    ]
    shares = (
        ("signal_parity", paired.equal_decisions, paired.compared_decisions, rules.signal_parity.value,
         "share of decisions equal to the model's"),
        ("feed_agreement", paired.agreeing_bars, paired.bars, rules.feed_agreement.value,
         "share of the live feed's bars within one tick of the vendor's"),
    )  # fmt: skip
    for name, good, total, threshold, what in shares:
        known = good is not None and total is not None and 0 <= good <= total > 0
        gates.append(
            judge(
                name,
                Family.IMPLEMENTATION,
                good / total if known and good is not None and total else None,
                ">=",
                threshold,
                samples=total or 0,
                what=what,
                problem="" if known else f"{what}: not known",
                remedy="find the first decision that differs and what it read",
                counted=True,
            )
        )
    gates.append(
        judge(
            "slippage_ratio",
            Family.IMPLEMENTATION,
            paired.slippage_ratio,
            "<=",
            rules.slippage_ratio.value,
            samples=decisions,
            what="upper confidence bound of realised over modelled slippage",
            problem="" if paired.slippage_ratio is not None and days else "slippage beside the model is not known",
            remedy="measure longer, or charge the model what the desk pays",
        )
    )
    return gates


def _count(name: str, value: int | None, threshold: float, what: str) -> Gate:
    return judge(
        name,
        Family.IMPLEMENTATION,
        None if value is None else float(value),
        ">=",
        threshold,
        samples=value or 0,
        what=what,
        problem="" if value is not None else f"{what}: not known",
        remedy="trade longer at this stage",
        short=Verdict.INCONCLUSIVE,
        counted=True,
    )
