"""What the market paid while an order was worked: VWAP, TWAP, close, participation-weighted price, our share of volume.

Belongs here: benchmark prices from the public tape. Doesn't: the decision and arrival mids (``quote_match``), and the
costs against them (``slippage``).

Our own fills are on the tape too, and a VWAP that is mostly our own says nothing: above `LARGEST_OWN_SHARE` of the
volume the volume-weighted benchmarks are withheld. TWAP weighs each traded price by how long it was the last.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

PARTICIPATION = 0.1
"""Share of the market's volume at which the participation-weighted price assumes that we had traded."""

LARGEST_OWN_SHARE = 0.3
"""Share of the interval's volume above which volume-weighted benchmarks are withheld."""

BENCHMARKS = ("interval_vwap", "interval_twap", "close_price", "pwp", "worse_volume_share")
_DAY = timedelta(days=1) // timedelta(microseconds=1)


def benchmark_prices(orders: pa.Table, trades: pa.Table, participation: float = PARTICIPATION) -> pa.Table:
    """Return the benchmarks of each order, null where the tape has none.

    Parameters
    ----------
    orders
        N rows: ``venue, symbol, side, acknowledged_at, ended_at, filled_quantity, average_price`` (null if unfilled).
    trades
        ``TRADES`` rows of the orders' days, in any order; rows without price or amount are left out. Theirs is the
        venue's clock and the orders' is ours: seconds long, an interval does not feel the milliseconds between them.
    participation
        Of the participation-weighted price (PWP): the VWAP from arrival until ``filled_quantity / participation`` has
        traded, null when the tape ends before.

    Returns
    -------
    pa.Table
        (N,) ``interval_volume`` from arrival to end, ``own_share_of_volume``, ``interval_vwap``, ``interval_twap``,
        ``close_price`` (last trade of the UTC day in which the order ended), ``pwp``, and ``worse_volume_share``, the
        share of the interval's volume at worse prices than our average, half of that at the same price (Kissell's
        relative performance measure).
    """
    names = ("interval_volume", "own_share_of_volume", *BENCHMARKS)
    found = {name: np.full(orders.num_rows, np.nan) for name in names}
    usable = pc.and_(pc.is_valid(trades["price"]), pc.is_valid(trades["amount"]))
    trades = trades.select(["venue", "symbol", "ts", "price", "amount"]).filter(usable)
    trades = trades.sort_by([(name, "ascending") for name in ("venue", "symbol", "ts")])
    begin, end = (_micros(orders, name) for name in ("acknowledged_at", "ended_at"))
    begin = np.where(orders["acknowledged_at"].is_null().to_numpy(), end, begin)
    side, filled, paid = (
        orders[name].cast(pa.float64()).to_numpy() for name in ("side", "filled_quantity", "average_price")
    )
    rows_of: dict[tuple[str, str], list[int]] = {}
    for row, market in enumerate(zip(orders["venue"].to_pylist(), orders["symbol"].to_pylist(), strict=True)):
        rows_of.setdefault(market, []).append(row)
    for (venue, symbol), rows in rows_of.items():
        tape = _Tape(trades.filter(pc.and_(pc.equal(trades["venue"], venue), pc.equal(trades["symbol"], symbol))))
        for row in rows:
            order = (begin[row], end[row], side[row], filled[row], paid[row])
            for name, value in tape.benchmarks(*order, participation).items():
                found[name][row] = value
    return pa.table({name: pa.array(values, from_pandas=True) for name, values in found.items()})


def relative_performance(prices: Floats, volumes: Floats, side: float, paid: float) -> float:
    """Return the share of volume at worse prices than ``paid``, half of that at the same (Kissell): 0.5 is average."""
    worse = side * (prices - paid)
    return float((volumes[worse > 0].sum() + volumes[worse == 0].sum() / 2) / volumes.sum())


class _Tape:
    """The trades of one market in the order of time."""

    def __init__(self, trades: pa.Table) -> None:
        self._at = _micros(trades, "ts")
        self._price, self._amount = trades["price"].to_numpy(), trades["amount"].to_numpy()
        self._traded = np.append(0.0, np.cumsum(self._amount))

    def benchmarks(
        self, begin: int, end: int, side: float, filled: float, paid: float, participation: float
    ) -> dict[str, float]:
        first, stop = self._at.searchsorted([begin, end], side="right").tolist()
        prices, amounts = self._price[first:stop], self._amount[first:stop]
        volume = float(amounts.sum())
        found = {"interval_volume": volume, "interval_twap": self._twap(begin, end), "close_price": self._close(end)}
        if volume > 0:
            found["own_share_of_volume"] = filled / volume
            if filled <= LARGEST_OWN_SHARE * volume:
                found["interval_vwap"] = float(prices @ amounts) / volume
            if filled > 0:
                found["worse_volume_share"] = relative_performance(prices, amounts, side, paid)
        if filled > 0:
            found["pwp"] = self._pwp(first, filled / participation)
        return found

    def _twap(self, begin: int, end: int) -> float:
        """Mean of the last traded price over (begin, end], NaN before the first trade."""
        first, stop = self._at.searchsorted([begin, end], side="right").tolist()
        if first == 0 or end <= begin:
            return float("nan")
        times = np.concatenate([[begin], self._at[first:stop], [end]])
        return float(np.diff(times) @ self._price[first - 1 : stop]) / (end - begin)

    def _close(self, end: int) -> float:
        """Price of the last trade of the day of ``end``; NaN if that day has none."""
        day = end - end % _DAY
        last = int(self._at.searchsorted(day + _DAY, side="left")) - 1
        return float(self._price[last]) if last >= 0 and self._at[last] >= day else float("nan")

    def _pwp(self, first: int, volume: float) -> float:
        """VWAP of the next ``volume`` traded from trade ``first`` on; NaN when less was traded."""
        needed = self._traded[first] + volume
        last = int(self._traded.searchsorted(needed, side="left")) - 1
        if needed > self._traded[-1]:
            return float("nan")
        whole = slice(first, last)
        rest = needed - self._traded[last]
        return float(self._price[whole] @ self._amount[whole] + self._price[last] * rest) / volume


def _micros(table: pa.Table, name: str) -> Integers:
    micros = table.column(name).cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    return np.asarray(pc.fill_null(micros, 0).to_numpy(), dtype=np.int64)
