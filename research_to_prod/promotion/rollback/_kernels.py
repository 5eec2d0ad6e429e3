"""The day's step of all charts over many series, compiled. Imported lazily: numba takes a second or more to load.

Belongs here: loops over the compiled ``recursions``. Doesn't: limits within the day, and wording; the same a reading at
a time, in plain Python, is ``stepping``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from research_to_prod.promotion.rollback import recursions
from research_to_prod.research.bars import Floats

RULES = np.dtype(
    [
        (name, np.float64)
        for name in (
            "residual_centre", "residual_autocorrelation", "residual_deviation", "residual_offset", "residual_scale",
            "edge_centre", "edge_autocorrelation", "edge_deviation", "edge_offset", "edge_scale",
            "clip", "memory", "volatility_floor", "clean_reads",
            "implementation_reference", "implementation_threshold", "edge_reference", "edge_threshold",
            "canary_shift", "canary_upper", "canary_lower", "audit_shift",
        )
    ]
)  # fmt: skip
"""What a series is judged by."""

BEHIND, AHEAD, DECAY, CANARY, EVIDENCE, LIVE_DAYS, PAIRED_DAYS = range(7)
"""Columns of what is recorded of each day; the state goes on with what only the next day needs."""
(
    _RESIDUAL_EXPECTED, _RESIDUAL_VARIANCE, _EDGE_EXPECTED, _EDGE_VARIANCE,
    IMPLEMENTATION_READS, EDGE_READS, CANARY_READS, KEPT_READS, _DECIDED, STATE,
) = range(7, 17)  # fmt: skip
RECORDED = 7

standardise = njit(cache=True, nogil=True)(recursions.standardise)
squared = njit(cache=True, nogil=True)(recursions.squared)
cusum = njit(cache=True, nogil=True)(recursions.cusum)
log_likelihood_ratio = njit(cache=True, nogil=True)(recursions.log_likelihood_ratio)
log1p_shiryaev_roberts = njit(cache=True, nogil=True)(recursions.log1p_shiryaev_roberts)


@njit(cache=True, nogil=True)
def begin(rules: Any, state: Floats) -> None:
    """Write the state before any day."""
    state[:] = 0.0
    state[_RESIDUAL_VARIANCE] = squared(rules.residual_deviation)
    state[_EDGE_VARIANCE] = squared(rules.edge_deviation)


@njit(cache=True, nogil=True)
def advance(rules: Any, state: Floats, live: float, residual: float) -> None:
    """Advance the charts by a day; NaN is what is not known.

    The edge's chart and the canary's test both run; which of the two decides is the stage's.
    """
    if math.isfinite(residual):
        floor = squared(rules.volatility_floor * rules.residual_deviation)
        z, state[_RESIDUAL_EXPECTED], state[_RESIDUAL_VARIANCE] = standardise(
            rules.residual_centre - residual, rules.residual_autocorrelation, rules.residual_offset,
            rules.residual_scale, rules.clip, rules.memory, floor, state[_RESIDUAL_EXPECTED], state[_RESIDUAL_VARIANCE],
        )  # fmt: skip
        state[BEHIND] = cusum(state[BEHIND], z, rules.implementation_reference)
        state[AHEAD] = cusum(state[AHEAD], -z, rules.implementation_reference)
        beyond = max(state[BEHIND], state[AHEAD]) > rules.implementation_threshold
        state[IMPLEMENTATION_READS] = state[IMPLEMENTATION_READS] + 1 if beyond else 0
        state[PAIRED_DAYS] += 1
    else:
        state[_RESIDUAL_EXPECTED] *= rules.residual_autocorrelation
    if not math.isfinite(live):
        state[_EDGE_EXPECTED] *= rules.edge_autocorrelation
        return
    floor = squared(rules.volatility_floor * rules.edge_deviation)
    z, state[_EDGE_EXPECTED], state[_EDGE_VARIANCE] = standardise(
        rules.edge_centre - live, rules.edge_autocorrelation, rules.edge_offset, rules.edge_scale,
        rules.clip, rules.memory, floor, state[_EDGE_EXPECTED], state[_EDGE_VARIANCE],
    )  # fmt: skip
    state[LIVE_DAYS] += 1
    state[EVIDENCE] = log1p_shiryaev_roberts(state[EVIDENCE], z, rules.audit_shift)
    state[DECAY] = cusum(state[DECAY], z, rules.edge_reference)
    state[EDGE_READS] = state[EDGE_READS] + 1 if state[DECAY] > rules.edge_threshold else 0
    if state[_DECIDED] == 0:
        state[CANARY] = log_likelihood_ratio(state[CANARY], z, rules.canary_shift)
        state[CANARY_READS] = state[CANARY_READS] + 1 if state[CANARY] >= rules.canary_upper else 0
        state[KEPT_READS] = state[KEPT_READS] + 1 if state[CANARY] <= rules.canary_lower else 0
        if max(state[CANARY_READS], state[KEPT_READS]) >= rules.clean_reads:
            state[_DECIDED] = 1


@njit(cache=True, nogil=True)
def watch_days(
    start: int, stop: int, rules: Any, live: Floats, residual: Floats, recorded: Floats, fired: npt.NDArray[np.int64]
) -> None:
    """Record the charts of the series [start, stop) and when each layer fires.

    Parameters
    ----------
    rules
        (n,) of `RULES`.
    live, residual
        (n, days).
    recorded
        (n, days, `RECORDED`).
    fired
        (n, 3) day on which implementation, edge and canary fire; -1: not. What fired stays fired.
    """
    state = np.empty(STATE)
    for i in range(start, stop):
        begin(rules[i], state)
        fired[i] = -1
        for t in range(live.shape[1]):
            advance(rules[i], state, live[i, t], residual[i, t])
            recorded[i, t] = state[:RECORDED]
            for layer in range(3):
                if fired[i, layer] < 0 and state[IMPLEMENTATION_READS + layer] >= rules[i].clean_reads:
                    fired[i, layer] = t
