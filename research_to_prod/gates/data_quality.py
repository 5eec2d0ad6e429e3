"""The gates on the history: whether it is complete, and whether anything wrong in it was left open.

Belongs here: the family data_quality. Doesn't: examining markets (``market_data``).
"""

from __future__ import annotations

from research_to_prod.gates.evidence import Evidence
from research_to_prod.gates.families import DataQuality, Family
from research_to_prod.gates.gate import Gate, judge


def data_quality_gates(rules: DataQuality, evidence: Evidence) -> list[Gate]:
    """Return the gates of the family."""
    return [
        _completeness(rules.completeness.value, evidence),
        _unresolved(rules.unresolved_findings.value, evidence),
    ]


def _completeness(threshold: float, evidence: Evidence) -> Gate:
    bars = evidence.completeness
    unknown = sorted(symbol for symbol, pair in bars.items() if pair is None or not 0 <= pair[1] <= pair[0] > 0)
    shares = {symbol: pair[1] / pair[0] for symbol, pair in bars.items() if pair is not None and symbol not in unknown}
    problem = ""
    if not bars:
        problem = "no market's data quality is known"
    elif unknown:
        problem = f"data quality of {', '.join(unknown)} is not known for the whole window"
    worst = min(sorted(shares), key=lambda symbol: shares[symbol], default="")
    value = None if problem else shares[worst]
    return judge(
        "completeness",
        Family.DATA_QUALITY,
        value,
        ">=",
        threshold,
        samples=sum(pair[0] for pair in bars.values() if pair is not None),
        what=f"share of expected bars valid, or filled by a declared repair, in {worst}, the least complete market,",
        problem=problem,
        remedy="materialize market_quality for every month of the window; backfill the gaps, or choose another window",
    )


def _unresolved(threshold: float, evidence: Evidence) -> Gate:
    found = evidence.unresolved
    unknown = sorted(symbol for symbol, findings in found.items() if findings is None)
    problem = ""
    if not found:
        problem = "no market was examined"
    elif unknown:
        problem = f"{', '.join(unknown)} was not examined for the whole window"
    named = [f"{symbol} {each}" for symbol in sorted(found) for each in found[symbol] or ()]
    shown = f" ({'; '.join(named[:3])}{' and others' if len(named) > 3 else ''})" if named else ""
    return judge(
        "unresolved_findings",
        Family.DATA_QUALITY,
        None if problem else float(len(named)),
        "<=",
        threshold,
        samples=len(found),
        what=f"number of error-level findings that no declared repair settles{shown}",
        problem=problem,
        remedy="repair or declare what was found, as market_findings says for each, or choose another window",
        counted=True,
    )
