"""All studies of one candidate that research can make; those that need tests of significance are made by the gates.

Belongs here: what is run, in which order, on which trials. Doesn't: a study's arithmetic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pyarrow as pa

from research_to_prod.research.bars import Floats
from research_to_prod.research.strategy import StrategyParameters
from research_to_prod.research.trials import Experiment, Terms
from research_to_prod.research.validation import stress
from research_to_prod.research.validation.capacity import Capacity, assumed_impact, capacity_curve
from research_to_prod.research.validation.cross_validation import cross_validate
from research_to_prod.research.validation.measures import Measure, unknown
from research_to_prod.research.validation.neighbourhood import compare_neighbours, neighbours_of
from research_to_prod.research.validation.regimes import label_days, regime_table
from research_to_prod.research.validation.splits import TrialPanel
from research_to_prod.research.validation.stress import LatencyStress, latency_stress
from research_to_prod.research.validation.walk_forward import walk_forward

EMBARGO = 0.01
"""Days of embargo as a share of the window, as Lopez de Prado proposes."""


@dataclass(frozen=True, eq=False)
class Validation:
    """The rows of all studies, and the curves that pictures show.

    Parameters
    ----------
    returns
        (D, N) daily net returns of the candidate's search, as `trial_matrix` gives them.
    own
        (D,) of the candidate's own parameters.
    capacity
        None for a market maker, whose quotes don't follow its capital.
    """

    measures: tuple[Measure, ...]
    returns: Floats
    own: Floats
    latency: LatencyStress
    capacity: Capacity | None


def validate_candidate(experiment: Experiment, trials: pa.Table) -> Validation:
    """Make all studies of a candidate.

    Parameters
    ----------
    experiment
        The candidate on its bars; whatever is tried goes to its trial ledger.
    trials
        The candidate's rows of ``contracts.TRIALS``.

    Raises
    ------
    ValueError
        If the trials are not of this candidate's window and parameters.
    """
    candidate = experiment.candidate
    returns = trial_matrix(trials)
    names = trials["trial_id"].to_pylist()
    wanted = sorted(candidate.trial_id(each) for each in candidate.grid(experiment.strategy))
    if sorted(names) != wanted:
        raise ValueError(f"the trials are not those of {candidate.name}'s search; materialize trials again")
    own = returns[:, names.index(candidate.trial_id(experiment.own))]
    rows: list[Measure] = []

    purge, embargo = purge_days(experiment), math.ceil(EMBARGO * len(returns))
    panel = TrialPanel(returns)
    for study, rolling in (("walk_forward_anchored", False), ("walk_forward_rolling", True)):
        try:
            rows += walk_forward(panel, rolling=rolling, purge=purge).measures(study)
        except ValueError as error:
            rows += unknown(study, str(error))
    try:
        rows += cross_validate(panel, purge=purge, embargo=embargo).measures()
    except ValueError as error:
        rows += unknown("cpcv", str(error))

    near = neighbours_of(experiment.own)
    tried = experiment.evaluate(tuple(near.values()))
    rows += compare_neighbours(own, {name: each.returns for name, each in zip(near, tried, strict=True)}).measures()

    dearer = [Terms(cost_multiplier=each) for each in stress.COST_MULTIPLIERS]
    later = [Terms(extra_delay_bars=each) for each in stress.EXTRA_BARS]
    series = experiment.returns_under([*dearer, *later])
    rows += stress.cost_stress(dict(zip(stress.COST_MULTIPLIERS, series, strict=False)))
    first = 1 if candidate.quoting is not None else candidate.execution.delay_bars
    delays = [first + each for each in stress.EXTRA_BARS]
    bar = timedelta(microseconds=int((experiment.bars.ts[1] - experiment.bars.ts[0]) / np.timedelta64(1, "us")))
    latency = latency_stress(dict(zip(delays, series[len(dearer) :], strict=True)), bar)
    rows += latency.measures()
    sized = _capacity(experiment)
    rows += unknown("capacity", "quotes don't follow the capital") if sized is None else sized.measures()
    rows += regime_table(own, label_days(experiment.bars))
    return Validation(tuple(rows), returns, own, latency, sized)


def trial_matrix(trials: pa.Table) -> Floats:
    """Return the (D, N) daily net returns of rows of ``contracts.TRIALS``, one column a row.

    A day that begins with no equity left has no return; it counts as 0 here. The ruin itself, -100 % or worse, is in
    the day before, so leaving the trial out would only flatter the search.

    Raises
    ------
    ValueError
        If there are no trials, or they are not over the same days.
    """
    series = trials["returns"].to_pylist()
    if len({len(each) for each in series}) != 1:
        raise ValueError("trials must be over the same days; materialize trials again")
    return np.nan_to_num(np.array(series, dtype=np.float64).T, nan=0.0)


def purge_days(experiment: Experiment) -> int:
    """Return the days over which decisions of the candidate's search look back, at least 1."""
    sets: tuple[StrategyParameters, ...] = experiment.candidate.grid(experiment.strategy)
    longest = max(experiment.strategy.warm_up(each) for each in sets)
    step = experiment.bars.ts[1] - experiment.bars.ts[0]
    return max(1, math.ceil(longest * step / np.timedelta64(1, "D")))


def _capacity(experiment: Experiment) -> Capacity | None:
    candidate = experiment.candidate
    if candidate.quoting is not None:
        return None
    (free,) = experiment.backtests([Terms(impact=0.0)])
    impact = assumed_impact(candidate.costs, experiment.bars)
    return capacity_curve(free, experiment.bars, float(candidate.capital), impact)
