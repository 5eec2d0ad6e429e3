"""How likely a resting order is filled within a time.

Belongs here: the Kaplan-Meier curve, and what of an order is observed. Doesn't: what a missed fill would have earned.

A cancelled order says only that it was not filled until then. Counting it as unfilled, or leaving it out, biases the
curve; it is censored at its cancel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FillCurve:
    """The probability to be filled by each of k times at which something was filled.

    Parameters
    ----------
    seconds
        (k,) ascending.
    at_risk, filled
        (k,) orders still resting just before, and filled at that time.
    probability, standard_error
        (k,) one minus the Kaplan-Meier survival, and Greenwood's error.
    low, high
        (k,) interval on the scale of log(-log survival), which stays within [0, 1]; NaN where all are filled.
    orders
        Number of orders observed.
    """

    seconds: Floats
    at_risk: Integers
    filled: Integers
    probability: Floats
    standard_error: Floats
    low: Floats
    high: Floats
    orders: int

    @property
    def table(self) -> pa.Table:
        """A row a time."""
        names = ("seconds", "at_risk", "filled", "probability", "standard_error", "low", "high")
        return pa.table({name: getattr(self, name) for name in names})


def kaplan_meier(waited: Floats, filled: npt.NDArray[np.bool_], confidence: float = 0.95) -> FillCurve:
    """Return the product-limit estimate of Kaplan and Meier (1958).

    Parameters
    ----------
    waited
        (n,) seconds until the fill, or until the order left without one.
    filled
        (n,) whether it was filled. Who leaves at the time of a fill is at risk of it.

    Raises
    ------
    ValueError
        For a waiting time that is negative or not a number.
    """
    from scipy.special import ndtri

    if not (waited >= 0).all():
        raise ValueError(f"{int((~(waited >= 0)).sum())} waiting times are negative or missing")
    seconds, count = np.unique(waited[filled], return_counts=True)
    at_risk = len(waited) - np.searchsorted(np.sort(waited), seconds, side="left")
    survival = np.cumprod(1 - count / at_risk, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        greenwood = np.cumsum(count / (at_risk * (at_risk - count)), dtype=np.float64)
        error = survival * np.sqrt(greenwood)
        reach = float(ndtri((1 + confidence) / 2)) * np.sqrt(greenwood) / np.log(survival)
        low, high = 1 - survival ** np.exp(reach), 1 - survival ** np.exp(-reach)
    # Where nobody is left the error is 0 * infinity: unknown.
    return FillCurve(seconds, at_risk, count, 1 - survival, error, low, high, len(waited))


def resting_orders(orders: pa.Table, fills: pa.Table) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return the seconds until the first fill of each order that rested, and whether there was one, on our clock.

    Parameters
    ----------
    orders, fills
        Rows of those tables. An order rests if its style is ``maker`` and it was acknowledged. Without a fill it is
        censored at its end.
    """
    resting = orders.filter(pc.and_(pc.equal(orders["style"], "maker"), pc.is_valid(orders["acknowledged_at"])))
    first = fills.group_by("order_id").aggregate([("received_at", "min")])
    at = pc.index_in(resting["order_id"], value_set=first["order_id"].combine_chunks())
    learned = pc.take(first["received_at_min"], at)
    until = pc.coalesce(learned, resting["ended_at"])
    waited = pc.microseconds_between(resting["acknowledged_at"], until).to_numpy() / 1e6
    # A fill may reach us before the acknowledgement: it was filled at once.
    return np.maximum(waited, 0.0), pc.is_valid(learned).to_numpy()


def resting_children(events: pa.Table) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return the same of each child order that could only make, from the order events: finer than whole parents.

    Parameters
    ----------
    events
        ``ORDER_EVENTS`` rows. A child rests from its ``new`` on where it is post-only; without a fill it is censored at
        its last event, and one of which nothing more is recorded is left out.
    """
    resting = events.filter(pc.and_(pc.equal(events["event"], "new"), events["post_only"]))
    first = events.filter(pc.equal(events["event"], "fill")).group_by("child_id").aggregate([("received_at", "min")])
    ends = pc.is_in(events["event"], pa.array(["cancelled", "expired", "fill"]))
    last = events.filter(ends).group_by("child_id").aggregate([("received_at", "max")])
    filled = _lookup(resting["child_id"], first["child_id"], first["received_at_min"])
    until = pc.coalesce(filled, _lookup(resting["child_id"], last["child_id"], last["received_at_max"]))
    known = pc.is_valid(until)
    waited = pc.microseconds_between(resting["received_at"], until).filter(known).to_numpy() / 1e6
    return np.maximum(waited, 0.0), pc.is_valid(filled.filter(known)).to_numpy()


def _lookup(wanted: pa.ChunkedArray, keys: pa.ChunkedArray, values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.take(values, pc.index_in(wanted, value_set=keys.combine_chunks()))
