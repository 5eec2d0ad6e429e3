"""The rows of the validation table, and what of it must be there.

Belongs here: one number with its name or the reason why there is none. Doesn't: computing any.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from research_to_prod.research.bars import Floats
from research_to_prod.research.contracts import VALIDATION
from research_to_prod.research.metrics import annualised_sharpe_ratio, sharpe_ratio

WHOLE = "all"
"""The item that sums a study up."""

STUDIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "walk_forward_anchored": ("oos_sharpe", "efficiency", "positive_share", "folds"),
        "walk_forward_rolling": ("oos_sharpe", "efficiency", "positive_share", "folds"),
        "cpcv": ("paths", "quantile_05", "positive_share"),
        "overfitting": ("pbo", "loss_probability", "n_blocks", "n_trials", "days", "idle_trials"),
        "selection": ("spa_lower", "spa_consistent", "spa_upper", "block_length", "resamples"),
        "neighbourhood": ("base_sharpe", "median_ratio", "minimum_sharpe", "neighbours"),
        "cost_stress": ("base_sharpe",),
        "latency_stress": ("largest_delay_bars", "l_star_ms", "improves_with_latency"),
        "capacity": ("retained_at_capital", "capacity"),
        "regimes": ("days",),
        "bootstrap": ("sharpe_lower_95", "sharpe_upper_95", "block_length", "resamples"),
    }
)
"""The metrics that each study's item ``all`` must hold, as a number or as a null with its reason."""


@dataclass(frozen=True)
class Measure:
    """One number of a study, or the reason why it could not be computed."""

    study: str
    item: str
    metric: str
    value: float | None
    reason: str = ""


def measures(study: str, item: str, why_not: str = "", /, **values: float) -> list[Measure]:
    """Return one measure a keyword; what is not a finite number becomes a null with the reason ``why_not``."""
    found = []
    for metric, value in values.items():
        known = math.isfinite(value)
        reason = "" if known else why_not or "the numbers that it rests on are not defined"
        found.append(Measure(study, item, metric, float(value) if known else None, reason))
    return found


def unknown(study: str, why_not: str) -> list[Measure]:
    """Return the study's summary without a number in it."""
    return measures(study, WHOLE, why_not, **dict.fromkeys(STUDIES[study], math.nan))


def mean_and_sharpe(returns: Floats) -> dict[str, float]:
    """Return the daily mean and the annual Sharpe ratio of (D,) daily returns; NaN where there is none."""
    mean = float(np.mean(returns)) if len(returns) else math.nan
    return {"mean": mean, "sharpe": annualised_sharpe_ratio(sharpe_ratio(returns))}


def validation_table(candidate: str, found: Iterable[Measure]) -> pa.Table:
    """Return the rows of ``contracts.VALIDATION``."""
    rows = [{"candidate": candidate, **asdict(each)} for each in found]
    return VALIDATION.conform(pa.Table.from_pylist(rows, schema=VALIDATION.arrow), candidate)


def missing_measures(rows: pa.Table) -> list[str]:
    """Return the measures of `STUDIES` that the rows lack, or hold with neither a number nor a reason."""
    there = {
        (row["study"], row["metric"])
        for row in rows.to_pylist()
        if row["item"] == WHOLE and ((row["value"] is not None and math.isfinite(row["value"])) or row["reason"])
    }
    return [
        f"{study} {metric}" for study, metrics in STUDIES.items() for metric in metrics if (study, metric) not in there
    ]
