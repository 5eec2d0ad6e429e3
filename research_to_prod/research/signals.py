"""The few array operations that bar strategies share.

Belongs here: holding a decision, clocks, windows in hours. Doesn't: anything that chooses a position.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from research_to_prod.research.bars import Bars, Floats

_HOUR = np.timedelta64(1, "h")


def carry_forward(values: Floats) -> Floats:
    """Replace each NaN of a (T, M) array by the last number above it; leading NaNs stay."""
    rows = np.where(np.isnan(values), 0, np.arange(len(values))[:, None])
    np.maximum.accumulate(rows, axis=0, out=rows)
    return np.take_along_axis(values, rows, axis=0)


def hold(decisions: Floats) -> Floats:
    """Turn (T, M) decisions, NaN where there is none, into positions held until the next; flat before the first."""
    return np.nan_to_num(carry_forward(decisions), nan=0.0)


def latched(enter: npt.NDArray[np.bool_], leave: npt.NDArray[np.bool_]) -> Floats:
    """Return 1 from each entry up to the next exit and 0 elsewhere, for (T, M) masks; an exit wins over an entry."""
    return hold(np.where(leave, 0.0, np.where(enter, 1.0, np.nan)))


def bars_in(bars: Bars, hours: int) -> int:
    """Return how many bars make up ``hours``.

    Raises
    ------
    ValueError
        If the hours are not a whole number of bars.
    """
    if len(bars) < 2:
        return hours
    step = bars.ts[1] - bars.ts[0]
    if (hours * _HOUR) % step != np.timedelta64(0, "us"):
        raise ValueError(f"{hours} hours are not a whole number of bars of {step}")
    return int(hours * _HOUR // step)


def closes_on(bars: Bars, hours: int) -> npt.NDArray[np.bool_]:
    """Return the (T,) mask of bars whose close falls on a multiple of ``hours`` since 1970-01-01 UTC.

    The clock is absolute: a schedule counted from the first bar would decide at other hours when more history is given.
    """
    if len(bars) < 2:
        return np.zeros(len(bars), bool)
    closes = bars.ts + (bars.ts[1] - bars.ts[0])
    since_epoch = closes - np.datetime64(0, "us")
    return np.asarray(since_epoch % (hours * _HOUR) == np.timedelta64(0, "us"), dtype=bool)
