"""Whole histories of daily results at once: what a nightly asset calls.

Belongs here: from tables of days to charts and triggers. Doesn't: limits within the day (``stepping``), which have no
history.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from research_to_prod.promotion.rollback.baseline import Standard
from research_to_prod.promotion.rollback.trigger import Trigger
from research_to_prod.promotion.rollback.watch import Watch
from research_to_prod.values import Stage

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class History:
    """What the daily layers made of whole histories.

    Parameters
    ----------
    triggers
        In order of day, then of the watches' candidates.
    charts
        By candidate, a row a day: ``behind`` and ``ahead`` (implementation), ``decay`` (edge), ``canary`` (log
        likelihood ratio), ``evidence`` (``ln(1 + R)``), and the clean days so far, ``live_days`` and ``paired_days``.
    inconclusive
        By candidate, a row a day: whether ``live`` and ``shadow`` were not known.
    """

    triggers: tuple[Trigger, ...]
    charts: Mapping[str, pd.DataFrame]
    inconclusive: Mapping[str, pd.DataFrame]


def judge_days(watches: Sequence[Watch], live: pd.DataFrame, shadow: pd.DataFrame) -> History:
    """Return charts and triggers of every watched candidate.

    Equals replaying each candidate's days one by one (``stepping``), the last bits of the evidence apart.

    Parameters
    ----------
    live, shadow
        Daily net returns on the capital approved, a row a UTC day (naive midnights), a column a candidate. Days and
        candidates that are absent are not known, as NaN is.

    Raises
    ------
    ValueError
        If more candidates are watched than the book's budget is for, one is watched twice, or an index is not of
        distinct days.
    """
    watches = sorted(watches, key=lambda watch: watch.candidate)
    names = [watch.candidate for watch in watches]
    problems = [f"{name} is watched twice" for name in sorted({name for name in names if names.count(name) > 1})]
    allowed = min((watch.design.strategies for watch in watches), default=0)
    if len(names) > allowed:
        problems.append(f"{len(names)} candidates are watched, the policy's budget is for {allowed}")
    for what, table in (("live", live), ("shadow", shadow)):
        index = table.index
        if not isinstance(index, pd.DatetimeIndex) or index.tz is not None or not index.equals(index.normalize()):
            problems.append(f"{what}: the index must be of UTC days without a zone")
        elif not index.is_unique:
            problems.append(f"{what}: days are repeated: {sorted(index[index.duplicated()].strftime('%Y-%m-%d'))[:5]}")
    if problems:
        raise ValueError("; ".join(problems))
    days = live.index.union(shadow.index)
    if not len(days) or not names:
        return History((), {}, {})
    days = pd.date_range(days.min(), days.max(), freq="D")

    def series(table: pd.DataFrame) -> npt.NDArray[np.float64]:
        values = table.reindex(index=days, columns=names).to_numpy(dtype=np.float64).T
        return np.where(np.isfinite(values), values, np.nan)

    earned, promised = series(live), series(shadow)
    held = np.array([[watch.baseline.residual is not None] for watch in watches])
    residuals = np.where(held, earned - promised, np.nan)
    recorded, fired = watched(np.array([rules(watch) for watch in watches]), earned, residuals)
    charts = {
        name: pd.DataFrame(recorded[i], days, list(_CHARTS)).astype({"live_days": int, "paired_days": int})
        for i, name in enumerate(names)
    }
    unknown = {
        name: pd.DataFrame({"live": np.isnan(earned[i]), "shadow": np.isnan(promised[i])}, days)
        for i, name in enumerate(names)
    }
    found = [
        (at, _trigger(watch, layer, recorded[i, : at + 1], days))
        for i, watch in enumerate(watches)
        for layer in _DECIDES[watch.stage]
        if (at := int(fired[i, layer])) >= 0
    ]
    triggers = tuple(trigger for _, trigger in sorted(found, key=lambda each: each[0]))
    return History(triggers, charts, unknown)


def rules(watch: Watch) -> npt.NDArray[Any]:
    """Return a watch's rules as the kernel reads them."""
    from research_to_prod.promotion.rollback._kernels import RULES

    edge, design = watch.baseline.edge, watch.design
    residual = watch.baseline.residual or _UNHELD
    numbers = (
        residual.centre, residual.autocorrelation, residual.deviation, residual.offset, residual.scale,
        edge.centre, edge.autocorrelation, edge.deviation, edge.offset, edge.scale,
        design.standardisation.clip.value, design.standardisation.memory.value,
        design.standardisation.volatility_floor.value, design.clean_reads,
        design.implementation.reference, design.implementation.threshold, design.edge.reference, design.edge.threshold,
        watch.canary_shift, design.canary_upper, design.canary_lower, design.audit_shift,
    )  # fmt: skip
    return np.array(numbers, dtype=RULES)


def watched(
    rules: npt.NDArray[Any], live: npt.NDArray[np.float64], residual: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return (n, days, 7) charts and (n, 3) days of firing of (n, days) results; see ``_kernels.watch_days``."""
    from research_to_prod.gates.statistics._kernels import over_threads
    from research_to_prod.promotion.rollback._kernels import RECORDED, watch_days

    recorded = np.empty((*live.shape, RECORDED))
    fired = np.empty((len(live), 3), dtype=np.int64)
    over_threads(
        watch_days, len(live), rules, np.ascontiguousarray(live), np.ascontiguousarray(residual), recorded, fired
    )
    return recorded, fired


_CHARTS = ("behind", "ahead", "decay", "canary", "evidence", "live_days", "paired_days")
_UNHELD = Standard(0.0, 0.0, 0.0, 0.0, 1.0)
"""Stands for the reference of residuals that are all unknown."""
_IMPLEMENTATION, _EDGE, _CANARY = range(3)
_DECIDES = {
    Stage.PAPER: (_IMPLEMENTATION,),
    Stage.CANARY: (_CANARY, _IMPLEMENTATION),
    Stage.LIVE: (_EDGE, _IMPLEMENTATION),
}
"""In the order in which a step asks them."""


def _trigger(watch: Watch, layer: int, charts: npt.NDArray[np.float64], days: pd.DatetimeIndex) -> Trigger:
    """Return what a layer says that fired on the last of the days that ``charts`` has rows of."""
    at, day = dict(zip(_CHARTS, charts[-1].tolist(), strict=True)), f"{days[len(charts) - 1]:%Y-%m-%d}"

    def began(chart: str) -> str:
        """Return the first day since the chart last stood at zero."""
        return f"{days[int(np.flatnonzero(np.append(0.0, charts[:, _CHARTS.index(chart)]) == 0)[-1])]:%Y-%m-%d}"

    if layer == _EDGE:
        return watch.edge_decayed(at["decay"], int(at["live_days"]), day, at["evidence"], began("decay"))
    if layer == _CANARY:
        return watch.canary_lost(at["canary"], int(at["live_days"]), day, at["evidence"])
    # On paper the edge is not watched, and there is no evidence about it.
    evidence = 0.0 if watch.stage is Stage.PAPER else at["evidence"]
    since = began("behind" if at["behind"] >= at["ahead"] else "ahead")
    return watch.implementation_differs(at["behind"], at["ahead"], int(at["paired_days"]), day, evidence, since)


def compile_ahead() -> None:
    """Compile the kernel into its cache, so that the first night doesn't wait for it; ``make install`` does."""
    from research_to_prod.promotion.rollback._kernels import RULES

    watched(np.ones(1, RULES), np.zeros((1, 1)), np.zeros((1, 1)))
