"""One gate: a value held against a threshold, with one of three answers.

Values are rounded to 12 significant digits before they are compared, because processors and library builds differ
in the last bits; a margin below 1e-9 is INCONCLUSIVE, because there such a difference could have decided.

Belongs here: the gate as a value, and the one comparison that all families share. Doesn't: formulas and thresholds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from research_to_prod.gates.families import Family
from research_to_prod.values import Verdict

_SMALLEST_MARGIN = 1e-9


@dataclass(frozen=True)
class Gate:
    """One gate's answer; fields as in ``contracts.GATE_REPORT``."""

    gate: str
    family: Family
    gating: bool
    verdict: Verdict
    value: float | None
    threshold: float | None
    margin: float | None
    comparison: str
    samples: int
    power: float | None
    minimum_track_record: float | None
    reason: str
    remedy: str

    @property
    def relative_margin(self) -> float | None:
        """The margin in units of the threshold; as it is where the threshold is 0; None where there is none."""
        if self.margin is None or not self.threshold:
            return self.margin
        return self.margin / abs(self.threshold)


def judge(
    gate: str,
    family: Family,
    value: float | None,
    comparison: str,
    threshold: float | None,
    *,
    samples: int,
    what: str,
    problem: str = "",
    remedy: str = "",
    gating: bool = True,
    short: Verdict = Verdict.FAIL,
    power: float | None = None,
    minimum_track_record: float | None = None,
    minimum_samples: int = 0,
    counted: bool = False,
) -> Gate:
    """Compare ``value`` with ``threshold``.

    Parameters
    ----------
    comparison
        How the value must stand to the threshold: ``>=``, ``>`` or ``<=``.
    what
        What the value is, in words, for the reason.
    problem
        Why there is no answer; makes it INCONCLUSIVE whatever the value, as does a value that is not a finite number.
    short
        The verdict when the value falls short.
    minimum_samples
        On fewer samples the answer is INCONCLUSIVE.
    counted
        The value is exact on every machine, so that one equal to the threshold meets it.
    """
    value, threshold = rounded(value), rounded(threshold)
    margin, verdict = None, Verdict.INCONCLUSIVE
    if value is None or threshold is None:
        reason = problem or f"{what} could not be computed"
    else:
        margin = _round(threshold - value if comparison == "<=" else value - threshold)
        if abs(margin) < _SMALLEST_MARGIN and not counted:
            reason = f"{what} is {value:.6g}, too close to the threshold {threshold:.6g} to tell"
        else:
            verdict = Verdict.PASS if margin >= 0 else short
            reason = f"{what} is {value:.6g}; required {comparison} {threshold:.6g}"
    if samples < minimum_samples:
        problem = problem or f"{what} rests on {samples} samples; at least {minimum_samples} are required"
    if problem:
        verdict, reason = Verdict.INCONCLUSIVE, problem
    return Gate(
        gate=gate,
        family=family,
        gating=gating,
        verdict=verdict,
        value=value,
        threshold=threshold,
        margin=margin,
        comparison=comparison,
        samples=samples,
        power=rounded(power),
        minimum_track_record=rounded(minimum_track_record),
        reason=reason,
        remedy="" if verdict is Verdict.PASS else remedy,
    )


def rounded(value: float | None) -> float | None:
    """Return the value to 12 significant digits; None for None and for what is not a finite number."""
    return _round(value) if value is not None and math.isfinite(value) else None


def _round(value: float) -> float:
    """Round to 12 significant digits; minus zero becomes zero."""
    return float(f"{value:.11e}") + 0.0
