"""Which venue, style and size costs most, all else equal.

Belongs here: the adjusted means. Doesn't: what an order cost (``slippage``).

A venue that gets the difficult orders looks dear. So each order's cost in basis points is regressed on venue, style,
size, market and hour of the day at once (least squares on dummies), and each level's adjusted mean is what all orders
together would have cost at that level (Lane and Nelder 1982). Where a level never meets another of its factor in the
same market, such as one venue per market, the two can't be told apart: the adjusted mean is not estimable, and unknown.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.attribution.markouts import FEWEST_PARENTS
from research_to_prod.attribution.quote_match import Floats

FACTORS = ("venue", "style", "size")
"""What is compared; market and hour of the day are held equal."""

SIZES = (1e3, 1e4, 1e5, 1e6)
"""Upper bounds of the classes of executed value, in quote currency; the last class has none."""

_BPS = 1e4
_ESTIMABLE = 1e-6
_Levels = npt.NDArray[np.object_]


def like_for_like(rows: pa.Table, confidence: float = 0.95) -> pa.Table:
    """Return raw and adjusted mean costs by level of each factor, in basis points of executed value.

    Parameters
    ----------
    rows
        Of ``model_costs.orders_with_charges``: spread, impact and fees (``paid``) of each order.

    Returns
    -------
    pa.Table
        ``factor, level, orders, raw_bps, adjusted_bps, low_bps, high_bps``. Intervals are Student's t on errors
        clustered by market and UTC day (sandwich with G / (G - 1)); null below `markouts.FEWEST_PARENTS` clusters, and
        all three null where the level is not estimable.
    """
    names = [("factor", pa.string()), ("level", pa.string()), ("orders", pa.int64())]
    bounds = [(name, pa.float64()) for name in ("raw_bps", "adjusted_bps", "low_bps", "high_bps")]
    schema = pa.schema([*names, *bounds])
    rows = rows.filter(rows["style"].is_valid()).sort_by("order_id")
    if not rows.num_rows:
        return schema.empty_table()
    value = rows["value"].to_numpy()
    cost = _BPS * rows["paid"].to_numpy() / value
    market = _texts(rows, "symbol")
    levels: Mapping[str, _Levels] = {
        "venue": _texts(rows, "venue"),
        "style": _texts(rows, "style"),
        "size": np.array(_size_names(), dtype=object)[np.searchsorted(np.array(SIZES), value, side="right")],
        "market": market,
        "hour": np.array(pc.strftime(rows["sent_at"], "%H").to_pylist(), dtype=object),
    }
    design, columns = _dummies(levels)
    days = np.array(pc.strftime(rows["sent_at"], "%Y-%m-%d").to_pylist(), dtype=object)
    _, cluster = np.unique((market + " " + days).astype(str), return_inverse=True)
    fit = _Fit(design, cost, cluster, confidence)
    lines = []
    for factor in FACTORS:
        for level in _in_order(factor, levels[factor]):
            own = levels[factor] == level
            # All orders as they are, but at this level.
            contrast = design.mean(axis=0)
            for (name, other), column in columns.items():
                if name == factor:
                    contrast[column] = float(other == level)
            line = {"factor": factor, "level": level, "orders": int(own.sum()), "raw_bps": float(cost[own].mean())}
            lines.append(line | fit.of(contrast))
    return pa.Table.from_pylist(lines, schema=schema)


class _Fit:
    """Least squares by the pseudoinverse, because dummies of all levels are never independent."""

    def __init__(self, design: Floats, cost: Floats, cluster: npt.NDArray[np.int64], confidence: float) -> None:
        from scipy.special import stdtrit

        normal = np.linalg.pinv(design.T @ design, hermitian=True)
        self._beta = normal @ (design.T @ cost)
        self._span = normal @ (design.T @ design)
        self._groups = groups = int(cluster.max()) + 1
        scores = np.zeros((groups, design.shape[1]))
        np.add.at(scores, cluster, design * (cost - design @ self._beta)[:, None])
        self._variance = normal @ (scores.T @ scores) @ normal * (groups / max(groups - 1, 1))
        self._reach = float(stdtrit(groups - 1, (1 + confidence) / 2)) if groups >= FEWEST_PARENTS else float("nan")

    def of(self, contrast: Floats) -> dict[str, float]:
        """Return the estimate and its interval, nothing where the data can't tell."""
        if np.abs(contrast @ self._span - contrast).max() > _ESTIMABLE:
            return {}
        mean = float(contrast @ self._beta)
        if self._groups < FEWEST_PARENTS:
            return {"adjusted_bps": mean}
        reach = self._reach * max(float(contrast @ self._variance @ contrast), 0.0) ** 0.5
        return {"adjusted_bps": mean, "low_bps": mean - reach, "high_bps": mean + reach}


def _dummies(levels: Mapping[str, _Levels]) -> tuple[Floats, dict[tuple[str, str], int]]:
    """Return a (N, k) matrix: one, then a column for each level of each factor; and the column of each."""
    count = len(next(iter(levels.values())))
    parts, columns = [np.ones(count)], {}
    for factor, values in levels.items():
        for level in sorted(set(values.tolist())):
            columns[factor, level] = len(parts)
            parts.append((values == level).astype(np.float64))
    return np.stack(parts, axis=1), columns


def _texts(rows: pa.Table, name: str) -> _Levels:
    return np.array(rows[name].to_pylist(), dtype=object)


def _size_names() -> list[str]:
    bounds = [f"{each:,.0f}" for each in SIZES]
    between = [f"{low} to {high}" for low, high in itertools.pairwise(bounds)]
    return [f"below {bounds[0]}", *between, f"from {bounds[-1]}"]


def _in_order(factor: str, values: _Levels) -> list[str]:
    found = set(values.tolist())
    return [each for each in (_size_names() if factor == "size" else sorted(found)) if each in found]
