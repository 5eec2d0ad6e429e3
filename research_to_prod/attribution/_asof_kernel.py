"""The compiled search of the quotes that stood at instants. Imported lazily: numba takes a second or more to load.

An instant's search starts at the quote of the instant before and doubles its step until it has passed the place: fills
in the order of time are some twenty quotes apart, so six comparisons in one or two cache lines do what a binary search
over a day needs twenty jumps for.

Belongs here: loops over one market. Doesn't: which quotes may be used (``quote_match``). The same in SQL is a test.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@njit(cache=True, nogil=True)
def is_ordered(times: Integers, sequences: Integers) -> bool:
    """Tell whether (time, sequence) never falls from one row to the next."""
    fell = False
    for i in range(1, len(times)):
        fell |= (times[i] < times[i - 1]) | ((times[i] == times[i - 1]) & (sequences[i] < sequences[i - 1]))
    return not fell


@njit(cache=True, nogil=True)
def improve(
    asked: Integers, latest: int, times: Integers, sequences: Integers, bid: Floats, ask: Floats,
    found_at: Integers, found_sequence: Integers, found_bid: Floats, found_ask: Floats,
) -> None:  # fmt: skip
    """Put the last of these quotes strictly before each instant in the place of an earlier one found before.

    Parameters
    ----------
    asked
        (n,) instants of one market, in any order; fast when nearly ascending.
    latest
        Instants after this one are left alone.
    times, sequences, bid, ask
        (m,) quotes of that market in the order of (time, sequence).
    found_at, found_sequence, found_bid, found_ask
        (n,) the best so far of each instant; written.
    """
    m = len(times)
    left = 0
    for i in range(len(asked)):
        at = asked[i]
        if at <= times[0] or at > latest:
            continue
        width = 1
        if times[left] < at:
            while left + width < m and times[left + width] < at:
                left += width
                width *= 2
        else:
            while times[left] >= at:
                width *= 2
                left = max(left - width, 0)
        width = min(width, m - left)
        # The place is in [left, left + width). Without a branch: these go either way, and each wrong guess costs 5 ns.
        while width > 1:
            half = width >> 1
            left += half * (times[left + half] < at)
            width -= half
        newer = times[left] > found_at[i]
        if newer or (times[left] == found_at[i] and sequences[left] > found_sequence[i]):
            found_at[i], found_sequence[i] = times[left], sequences[left]
            found_bid[i], found_ask[i] = bid[left], ask[left]


@njit(cache=True, nogil=True)
def judge(
    asked: Integers, never: int, earliest: int, max_age: int, found_at: Integers, bid: Floats, ask: Floats,
    reasons: tuple[int, int, int, int], reason: npt.NDArray[np.int8],
) -> None:  # fmt: skip
    """Write why a found quote may not be used, and blank it.

    Parameters
    ----------
    never
        The instant, or time of a quote, that stands for none.
    earliest
        Time of the market's first quote.
    reasons
        Codes of: no time, no quote, too old, unusable.
    reason
        (n,) zero where the quote may be used; written.
    """
    no_time, no_quote, too_old, unusable = reasons
    for i in range(len(asked)):
        if asked[i] == never:
            reason[i] = no_time
        elif asked[i] <= earliest:
            reason[i] = no_quote
        elif found_at[i] == never or asked[i] - found_at[i] > max_age:
            reason[i] = too_old
        # Comparisons with NaN are false, so the condition says what is good.
        elif not (bid[i] > 0.0 and ask[i] >= bid[i] and ask[i] < np.inf):
            reason[i] = unusable
        if reason[i]:
            bid[i] = ask[i] = np.nan
