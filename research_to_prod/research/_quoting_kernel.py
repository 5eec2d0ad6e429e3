"""The compiled loop of market making: quotes of one market against its trades. Imported lazily, as numba is.

Belongs here: which quotes are filled. Doesn't: what the fills earn (``market_making``).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from research_to_prod.research.bars import Floats


@njit(cache=True, nogil=True, error_model="numpy")
def match(
    first: npt.NDArray[np.int64], price: Floats, size: Floats, side: Floats, quotes: Floats, open_: Floats,
    queue_ahead: float, max_inventory: float,
) -> tuple[npt.NDArray[np.int64], Floats, Floats]:  # fmt: skip
    """Return bar, price and signed units of each fill.

    ``first`` is (T + 1,): bar ``t`` has the trades ``first[t]`` to ``first[t + 1]``. ``quotes`` is (T, 4): bid, ask,
    bid size, ask size. `market_making` has the rules in words, `market_making_oracle` in plain Python.
    """
    most = 2 * len(price)
    bars, prices, units = np.empty(most, np.int64), np.empty(most), np.empty(most)
    count, held = 0, 0.0
    for t in range(1, len(open_)):
        bid, ask, bid_left, ask_left = quotes[t - 1, 0], quotes[t - 1, 1], quotes[t - 1, 2], quotes[t - 1, 3]
        bid_left = bid_left if bid < open_[t] else 0.0
        ask_left = ask_left if ask > open_[t] else 0.0
        bid_ahead, ask_ahead = queue_ahead, queue_ahead
        for i in range(first[t], first[t + 1]):
            bought, sold = 0.0, 0.0
            if price[i] < bid:
                bought = bid_left
            elif price[i] == bid and side[i] < 0.0:
                passed = min(bid_ahead, size[i])
                bid_ahead -= passed
                bought = min(bid_left, size[i] - passed)
            if price[i] > ask:
                sold = ask_left
            elif price[i] == ask and side[i] > 0.0:
                passed = min(ask_ahead, size[i])
                ask_ahead -= passed
                sold = min(ask_left, size[i] - passed)
            bought = min(bought, max_inventory - held)
            if bought > 0.0:
                bars[count], prices[count], units[count] = t, bid, bought
                held, bid_left, count = held + bought, bid_left - bought, count + 1
            sold = min(sold, max_inventory + held)
            if sold > 0.0:
                bars[count], prices[count], units[count] = t, ask, -sold
                held, ask_left, count = held - sold, ask_left - sold, count + 1
    return bars[:count], prices[:count], units[:count]
