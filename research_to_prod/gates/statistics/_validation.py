"""What the statistics refuse to work on: one wording for one mistake.

Belongs here: checks that several modules share. Doesn't: what only one function asks of its arguments.
"""

from __future__ import annotations

import math
import operator

import numpy as np
import numpy.typing as npt

from research_to_prod.research.bars import Floats

Integers = npt.NDArray[np.int64]


def whole(name: str, value: int, least: int) -> int:
    """Return ``value`` as an integer of at least ``least``; ValueError for anything else, booleans included."""
    if isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be an integer, is a boolean")  # noqa: TRY004 - one error for one bad argument
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be an integer, is {value!r}") from None
    if number < least:
        raise ValueError(f"{name} must be at least {least}, is {number}")
    return number


def between(name: str, value: float, low: float, high: float) -> float:
    """Return ``value`` if it lies strictly between ``low`` and ``high``; ValueError otherwise and for NaN."""
    if not low < value < high:
        raise ValueError(f"{name} must lie between {low:g} and {high:g}, is {value}")
    return value


def series(name: str, values: Floats, least: int = 1) -> Floats:
    """Return (n,) finite float64 values, n at least ``least``; ValueError otherwise."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) < least:
        raise ValueError(f"{name} must have shape (n_observations,) with at least {least}, has {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, {int((~np.isfinite(values)).sum())} values are not")
    return values


def panel(returns: Floats, least_observations: int, least_trials: int) -> Floats:
    """Return (n_observations, n_trials) finite returns that vary, as contiguous float64.

    Raises
    ------
    ValueError
        Lists all that is wrong. More trials than observations are refused: that is what a transposed array looks like,
        and on one the statistics are numbers without a meaning.
    """
    returns = np.ascontiguousarray(returns, dtype=np.float64)
    if returns.ndim != 2:
        raise ValueError(f"returns must have shape (n_observations, n_trials), have {returns.shape}")
    rows, columns = returns.shape
    problems = []
    if rows < least_observations:
        problems.append(f"{rows} observations are too few, {least_observations} are needed")
    if columns < least_trials:
        problems.append(f"{columns} trials are too few, {least_trials} are needed")
    if columns > rows:
        problems.append(
            f"{columns} trials on {rows} observations: time must run down the rows (transpose if it doesn't); "
            "a search this wide needs a longer window"
        )
    if returns.size and not np.isfinite(returns).all():
        problems.append(f"{int((~np.isfinite(returns)).sum())} returns are not finite")
    elif returns.size and (flat := constant(returns)).any():
        problems.append(f"trials {np.flatnonzero(flat).tolist()[:10]} don't vary: leave out what never traded")
    if problems:
        raise ValueError("; ".join(problems))
    return returns


def magnitude(values: Floats) -> float:
    """Return the power of two at or above the largest magnitude: dividing by it is exact, so equals stay equal."""
    return float(2.0 ** np.frexp(np.abs(values).max())[1])


def constant(returns: Floats) -> npt.NDArray[np.bool_]:
    """Return which columns of (n, k) finite returns have no variance beyond rounding."""
    largest = np.abs(returns).max(axis=0)
    scaled = returns / np.where(largest > 0, largest, 1.0)
    return np.asarray(scaled.std(axis=0) <= 1e-12)


def all_finite(*numbers: float) -> bool:
    """Return whether every number is finite."""
    return all(math.isfinite(number) for number in numbers)
