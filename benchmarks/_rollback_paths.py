"""Drawn paths through the compiled detectors: how long each runs.

Belongs here: noise and counting. Doesn't: detectors, which are the shipped ones, and the page.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from research_to_prod.promotion.rollback import _kernels as kernels
from research_to_prod.research.bars import Floats

NOISE = ("normal", "Student's t, 4 degrees", "GARCH(1, 1)", "AR(1) 0.2", "skewed, with jumps")
"""Each of mean 0 and deviation 1; the last is beyond what is promised, and reported."""

FIRED = ("implementation", "edge", "canary lost", "canary kept", "audit")
_ARCH, _GARCH, _AUTOREGRESSION, _JUMPS, _JUMP = 0.08, 0.90, 0.2, 0.02, 4.0
BURN = 200


@njit(cache=True)
def _next(kind: int, memory: Floats) -> float:
    """Return the next value; ``memory`` holds the variance of GARCH and the last value of AR(1)."""
    shock = np.random.standard_normal()  # noqa: NPY002 - numba's own generator, seeded by path
    if kind == 1:
        return shock / math.sqrt(np.random.chisquare(4.0) / 4) / math.sqrt(2.0)  # noqa: NPY002
    if kind == 2:
        value = math.sqrt(memory[0]) * shock
        memory[0] = 1 - _ARCH - _GARCH + _ARCH * value**2 + _GARCH * memory[0]
        return value
    if kind == 3:
        memory[1] = _AUTOREGRESSION * memory[1] + math.sqrt(1 - _AUTOREGRESSION**2) * shock
        return memory[1]
    if kind == 4:
        jump = -_JUMP if np.random.random() < _JUMPS else 0.0  # noqa: NPY002
        return (shock + jump + _JUMP * _JUMPS) / math.sqrt(1 + _JUMP**2 * _JUMPS * (1 - _JUMPS))
    return shock


@njit(cache=True)
def _fresh(memory: Floats, kind: int) -> None:
    memory[0], memory[1] = 1.0, 0.0
    for _ in range(BURN):
        _next(kind, memory)


@njit(cache=True)
def _draw(seed: int, kind: int, values: Floats) -> None:
    np.random.seed(seed)  # noqa: NPY002
    memory = np.empty(2)
    _fresh(memory, kind)
    for t in range(len(values)):
        values[t] = _next(kind, memory)


def draw(seed: int, kind: int, days: int) -> Floats:
    """Return (days,) of one kind of noise."""
    values = np.empty(days)
    _draw(seed, kind, values)
    return values


@njit(cache=True)
def _run(
    seed: int, kind: int, mean: float, residual: bool, until: int, longest: int, audit_limit: float, rules: Any,  # noqa: FBT001
    crossed: npt.NDArray[np.int64], fired: npt.NDArray[np.int64],
) -> None:  # fmt: skip
    np.random.seed(seed)  # noqa: NPY002
    state, memory, streak = np.empty(kernels.STATE), np.empty(2), np.empty(len(FIRED))
    for path in range(len(rules)):
        each = rules[path]
        kernels.begin(each, state)
        _fresh(memory, kind)
        crossed[path], fired[path] = longest, longest
        for day in range(1, longest + 1):
            value = mean + _next(kind, memory)
            kernels.advance(each, state, math.nan if residual else value, value if residual else math.nan)
            streak[:4] = state[kernels.IMPLEMENTATION_READS : kernels.IMPLEMENTATION_READS + 4]
            streak[4] = each.clean_reads if state[kernels.EVIDENCE] >= audit_limit else 0.0
            for which in range(len(FIRED)):
                if streak[which] >= 1 and crossed[path, which] == longest:
                    crossed[path, which] = day
                if streak[which] >= each.clean_reads and fired[path, which] == longest:
                    fired[path, which] = day
            done = fired[path, until] < longest
            if until in (2, 3):
                done = fired[path, 2] < longest or fired[path, 3] < longest
            if done:
                break


def run(
    seed: int, kind: int, rules: npt.NDArray[Any], *, mean: float, until: str, longest: int, audit_limit: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the days on which each of `FIRED` was first beyond its limit, and fired; ``longest`` where neither.

    Parameters
    ----------
    rules
        (paths,) what each path is judged by.
    mean
        Of the live returns, or of the residuals when ``until`` is the implementation; in their deviation.
    until
        A path ends when this one fires (a canary: when either answer does); the others are then not complete.
    """
    shape = (len(rules), len(FIRED))
    crossed, fired = np.empty(shape, np.int64), np.empty(shape, np.int64)
    which = FIRED.index(until)
    _run(seed, kind, mean, which == 0, which, longest, audit_limit, rules, crossed, fired)
    return crossed, fired
