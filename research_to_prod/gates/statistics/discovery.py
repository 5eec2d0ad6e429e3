"""Which of many hypotheses may be called false when all of them are looked at together.

Belongs here: corrections for the number of hypotheses on evidence that already exists. Doesn't: the best of many trials
of one search (``selection``), and evidence itself (``sequential``).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from research_to_prod.gates.statistics._validation import between, series
from research_to_prod.research.bars import Floats


def e_benjamini_hochberg(log_evidence: Floats, level: float, weights: Floats | None = None) -> npt.NDArray[np.bool_]:
    """Return which of (m,) hypotheses are rejected, with at most ``level`` false ones expected among the rejected.

    The k hypotheses with the largest e-values are rejected for the largest k whose smallest is at least
    ``m / (level k)``. Wang and Ramdas (2022), "False discovery rate control with e-values". Nothing is assumed of how
    the hypotheses depend on each other, and with the current values of e-processes it holds whenever one stops. While
    all hypotheses are true, anything is ever rejected with probability ``level`` at most: their weighted mean is an
    e-process too.

    Parameters
    ----------
    log_evidence
        Natural logs of the e-values; minus infinity for no evidence.
    level
        False discovery rate.
    weights
        (m,) fixed before the data, above 0; what a hypothesis gets more, the others get less. Equal by default.

    Raises
    ------
    ValueError
        For a log that is NaN or plus infinity, or weights of another shape or not above 0.
    """
    logs = np.asarray(log_evidence, dtype=np.float64)
    between("level", level, 0, 1)
    if logs.ndim != 1 or np.isnan(logs).any() or (logs == math.inf).any():
        raise ValueError("log_evidence must have shape (n_hypotheses,), and be neither NaN nor plus infinity")
    if weights is not None:
        weights = series("weights", weights, least=0)
        if weights.shape != logs.shape or (weights <= 0).any():
            raise ValueError(f"weights must have shape {logs.shape} and be above 0")
        logs = logs + np.log(weights * len(weights) / weights.sum())
    order = np.argsort(-logs, kind="stable")
    needed = math.log(max(len(logs), 1) / level) - np.log(np.arange(1, len(logs) + 1))
    enough = np.flatnonzero(logs[order] >= needed)
    rejected = np.zeros(len(logs), dtype=np.bool_)
    if len(enough):
        rejected[order[: enough[-1] + 1]] = True
    return rejected
