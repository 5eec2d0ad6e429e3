"""The whole of a candidate's studies: complete, reproducible, and only on the trials of its own search."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import research_to_prod
from research_to_prod.defs.research.pictures import backtest_shown, searched, validation_shown
from research_to_prod.gates.validation_statistics import assess_significance
from research_to_prod.research.bars import Bars
from research_to_prod.research.candidate import Candidate, Window
from research_to_prod.research.metrics import annualised_sharpe_ratio, sharpe_ratio
from research_to_prod.research.strategy import load_strategy
from research_to_prod.research.trial_ledger import TrialLedger
from research_to_prod.research.trials import Experiment, backtest_candidate, run_trials
from research_to_prod.research.validation.measures import missing_measures, validation_table
from research_to_prod.research.validation.study import Validation, purge_days, trial_matrix, validate_candidate

STRATEGY = load_strategy(Path(research_to_prod.__file__).parent / "desk" / "strategies", "momentum")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 182
CANDIDATE = Candidate.model_validate(
    {
        "name": "some_candidate",
        "owner": "team:research",
        "hypothesis": "Prices that moved for three days keep moving for another one or two.",
        "strategy": "momentum",
        "type": "swing",
        "venue": "sandbox",
        "universe": ("BTC/USDT",),
        "timeframe": "1h",
        "window": Window.model_validate({"start": "2024-01-01", "end": "2024-07-01"}),
        "parameters": {"lookback_hours": 24, "rebalance_hours": 6},
        "search_space": {"lookback_hours": (12, 24, 48), "rebalance_hours": (6, 12)},
        "capital": "1000",
        "strategy_sha256": STRATEGY.source_sha256,
    }
)


def bars() -> Bars:
    """Return hourly bars whose trend changes sign every five days, which momentum earns from."""
    hours = np.arange(DAYS * 24)
    drift = np.where((hours // 120) % 2, -0.001, 0.001)
    close = 100 * np.exp(np.cumsum(np.random.default_rng(5).normal(drift, 0.003)))[:, np.newaxis]
    ts = np.datetime64("2024-01-01", "us") + hours * np.timedelta64(1, "h")
    return Bars(ts, ("BTC/USDT",), close, close, close, close, np.full_like(close, 1000.0), np.zeros_like(close))


def experiment(folder: Path) -> Experiment:
    return Experiment(CANDIDATE, STRATEGY, bars(), TrialLedger(folder / "trials.jsonl"), "run", NOW)


def tried(asked: Experiment) -> pa.Table:
    return run_trials(CANDIDATE, STRATEGY, asked.bars, asked.ledger, run_id="run", recorded_at=NOW)


def table(made: Validation) -> pa.Table:
    significance = assess_significance(made.returns, made.own, CANDIDATE.sha256)
    return validation_table(CANDIDATE.name, [*made.measures, *significance])


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, pa.Table, Validation]:
    asked = experiment(tmp_path_factory.mktemp("study"))
    trials = tried(asked)
    return asked, trials, validate_candidate(asked, trials)


Studied = tuple[Experiment, pa.Table, Validation]


def test_all_studies_together_are_complete(studied: Studied) -> None:
    assert missing_measures(table(studied[2])) == []


def test_a_rerun_has_identical_rows_in_whatever_order_the_trials_stand(studied: Studied, tmp_path: Path) -> None:
    asked = experiment(tmp_path)
    trials = tried(asked)
    again = table(validate_candidate(asked, trials.take(list(reversed(range(trials.num_rows))))))
    for one, other in zip(table(studied[2]).to_pylist(), again.to_pylist(), strict=True):
        assert {**one, "value": None} == {**other, "value": None}
        assert one["value"] == pytest.approx(other["value"], rel=1e-12)
    assert table(validate_candidate(asked, trials)).equals(table(studied[2]))


def test_every_neighbour_is_in_the_trial_ledger_and_a_stress_is_no_trial(studied: Studied) -> None:
    asked, trials, made = studied
    neighbours = {row.item for row in made.measures if row.study == "neighbourhood" and row.item != "all"}
    assert neighbours
    recorded = {record.parameters for record in asked.ledger.records()}
    assert len(recorded) == asked.ledger.count("momentum", ["BTC/USDT"])
    beyond = len(recorded - set(trials["parameters"].to_pylist()))
    assert 0 < beyond <= len(neighbours)


def test_the_own_series_is_that_of_the_candidates_parameters(studied: Studied) -> None:
    _, trials, made = studied
    own = next(
        row["returns"]
        for row in trials.to_pylist()
        if {"lookback_hours": 24, "rebalance_hours": 6}.items() <= json.loads(row["parameters"]).items()
    )
    assert made.own.tolist() == own


def test_the_first_delay_and_the_single_cost_are_the_candidates_own(studied: Studied) -> None:
    made = studied[2]
    assert made.latency.delays[:4] == (1, 2, 3, 4)
    assert made.latency.means[0] == pytest.approx(made.own.mean(), rel=1e-9)
    values = {(row.study, row.item, row.metric): row.value for row in made.measures}
    assert values["cost_stress", "1.0x", "mean"] == pytest.approx(made.own.mean(), rel=1e-9)
    assert values["cost_stress", "1.0x", "mean"] > values["cost_stress", "3.0x", "mean"]


@pytest.mark.parametrize(
    "changed",
    [lambda rows: rows.slice(1), lambda rows: pa.concat_tables([rows, rows.slice(0, 1)])],
    ids=["one is missing", "one is twice"],
)
def test_trials_that_are_not_the_candidates_search_are_refused(
    studied: Studied, changed: Callable[[pa.Table], pa.Table]
) -> None:
    asked, trials, _ = studied
    with pytest.raises(ValueError, match="materialize trials again"):
        validate_candidate(asked, changed(trials))


def test_a_day_after_ruin_counts_as_zero() -> None:
    trials = pa.table({"returns": [[0.1, -1.0, math.nan], [0.1, 0.2, 0.3]]})
    assert trial_matrix(trials).tolist() == [[0.1, 0.1], [-1.0, 0.2], [0.0, 0.3]]


@pytest.mark.parametrize("series", [[], [[0.1], [0.1, 0.2]]], ids=["none", "other days"])
def test_trials_over_other_days_or_none_are_refused(series: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="same days"):
        trial_matrix(pa.table({"returns": pa.array(series, pa.list_(pa.float64()))}))


def test_the_purge_is_the_longest_look_back_of_the_search_in_days(studied: Studied) -> None:
    assert purge_days(studied[0]) == 2


def test_the_ui_shows_the_numbers_of_validation_that_are_known(studied: Studied) -> None:
    asked, _, made = studied
    shown = validation_shown(asked, made, made.measures)
    assert {"stress", "summary"} <= set(shown)
    assert shown["trials_ever"] == asked.ledger.count("momentum", ["BTC/USDT"])
    numbers = {(row.study, row.metric): row.value for row in made.measures if row.item == "all"}
    assert shown["l_star_ms"] == numbers["latency_stress", "l_star_ms"]
    assert shown["capacity"] == numbers["capacity", "capacity"]
    assert 0 <= shown["dsr"] <= 1


def test_the_ui_shows_the_numbers_of_a_backtest_and_the_count_that_deflates_them(studied: Studied) -> None:
    asked, _, made = studied
    rows = backtest_candidate(CANDIDATE, STRATEGY, asked.bars, asked.ledger, run_id="run", recorded_at=NOW)
    shown = backtest_shown(CANDIDATE, rows, 40)
    assert shown["sharpe"] == pytest.approx(annualised_sharpe_ratio(sharpe_ratio(made.own)))
    assert shown["dsr"] < backtest_shown(CANDIDATE, rows, 2)["dsr"]
    assert {"equity", "max_drawdown", "turnover_per_year", "net_return", "fees"} <= set(shown)
    unknown = backtest_shown(CANDIDATE, rows, None)
    assert unknown["trials_ever"] == "unknown"
    assert "dsr" not in unknown


def test_the_surface_is_the_search_with_what_it_does_not_show_at_the_candidates_own(studied: Studied) -> None:
    asked, trials, _ = studied
    found = searched(CANDIDATE, asked.own, trials)
    assert found is not None
    cells, names, own = found
    assert (names, own) == (("lookback_hours", "rebalance_hours"), (24, 6))
    sharpes = {
        (tried["lookback_hours"], tried["rebalance_hours"]): row["sharpe_annual"]
        for row in trials.to_pylist()
        for tried in [json.loads(row["parameters"])]
    }
    assert cells == sharpes
    alone = CANDIDATE.model_copy(update={"search_space": {"lookback_hours": (24,)}})
    assert searched(alone, asked.own, trials) is None
