"""Trials: all of the search is run, recorded before anyone sees it, and reproducible."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import research_to_prod
from research_to_prod.research.bars import Bars
from research_to_prod.research.candidate import Candidate, Window
from research_to_prod.research.metrics import sharpe_ratio
from research_to_prod.research.strategy import Strategy, load_strategy
from research_to_prod.research.trial_ledger import TrialLedger
from research_to_prod.research.trials import (
    SCENARIOS,
    accounting_residuals,
    backtest_candidate,
    bars_sha256,
    run_trials,
)

STRATEGIES = Path(research_to_prod.__file__).parent / "desk" / "strategies"
STRATEGY = load_strategy(STRATEGIES, "momentum")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def candidate(**changes: object) -> Candidate:
    fields: dict[str, object] = {
        "name": "some_candidate",
        "owner": "team:research",
        "hypothesis": "Prices that moved for three days keep moving for another one or two.",
        "strategy": "momentum",
        "type": "swing",
        "venue": "sandbox",
        "universe": ("BTC/USDT",),
        "timeframe": "1h",
        "window": Window.model_validate({"start": "2024-01-01", "end": "2024-03-01"}),
        "parameters": {"lookback_hours": 24, "rebalance_hours": 6},
        "search_space": {"lookback_hours": (12, 24, 48), "rebalance_hours": (6, 12)},
        "capital": "1000",
        "strategy_sha256": STRATEGY.source_sha256,
    }
    return Candidate.model_validate({**fields, **changes})


def bars(seed: int = 5, steps: int = 60 * 24) -> Bars:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, (steps, 1)), axis=0))
    ts = np.datetime64("2024-01-01", "us") + np.arange(steps) * np.timedelta64(1, "h")
    return Bars(ts, ("BTC/USDT",), close, close, close, close, np.ones_like(close), np.zeros_like(close))


@pytest.fixture
def ledger(tmp_path: Path) -> TrialLedger:
    return TrialLedger(tmp_path / "trials.jsonl")


def run(ledger: TrialLedger, wanted: Candidate, history: Bars, strategy: Strategy = STRATEGY) -> pa.Table:
    return run_trials(wanted, strategy, history, ledger, run_id="run", recorded_at=NOW)


def backtest(ledger: TrialLedger, wanted: Candidate) -> pa.Table:
    return backtest_candidate(wanted, STRATEGY, bars(), ledger, run_id="run", recorded_at=NOW)


def test_every_combination_is_tried_and_recorded(ledger: TrialLedger) -> None:
    rows = run(ledger, candidate(), bars()).to_pylist()
    assert len(rows) == ledger.count("momentum", ["BTC/USDT"]) == 6
    tried = {
        (json.loads(row["parameters"])["lookback_hours"], json.loads(row["parameters"])["rebalance_hours"])
        for row in rows
    }
    assert tried == {(lookback, rebalance) for lookback in (12, 24, 48) for rebalance in (6, 12)}
    recorded = {record.trial_id: record for record in ledger.records()}
    for row in rows:
        assert row["n_days"] == len(row["returns"]) == 60
        assert row["sharpe_daily"] == pytest.approx(sharpe_ratio(np.array(row["returns"])))
        assert recorded[row["trial_id"]].sharpe_daily == row["sharpe_daily"]


def test_the_candidates_own_parameters_are_among_the_trials(ledger: TrialLedger) -> None:
    wanted = candidate()
    own = wanted.trial_id(wanted.own_parameters(STRATEGY))
    assert own in set(run(ledger, wanted, bars())["trial_id"].to_pylist())


def test_without_a_search_space_the_own_parameters_are_the_one_trial(ledger: TrialLedger) -> None:
    assert run(ledger, candidate(search_space={}), bars()).num_rows == 1


def test_renaming_and_rerunning_do_not_reset_or_inflate_the_count(ledger: TrialLedger) -> None:
    run(ledger, candidate(), bars())
    run(ledger, candidate(), bars())
    run(ledger, candidate(name="new_name", search_space={"lookback_hours": (24, 36)}), bars())
    assert ledger.count("momentum", ["BTC/USDT"]) == 7


def test_the_same_input_gives_the_same_table(ledger: TrialLedger) -> None:
    assert run(ledger, candidate(), bars()).equals(run(ledger, candidate(), bars()))


def test_no_result_is_returned_when_the_ledger_cannot_record_it(ledger: TrialLedger) -> None:
    ledger.path.write_bytes(b"not a ledger\n")
    with pytest.raises(RuntimeError, match="unreadable"):
        run(ledger, candidate(), bars())


def test_a_trial_that_never_trades_has_no_sharpe_ratio(ledger: TrialLedger) -> None:
    flat = bars()
    flat = replace(flat, **{name: np.full_like(flat.close, 100.0) for name in ("open", "high", "low", "close")})
    assert run(ledger, candidate(), flat)["sharpe_daily"].null_count == 6
    assert {record.sharpe_daily for record in ledger.records()} == {None}


@pytest.mark.parametrize(
    ("history", "message"),
    [
        (replace(bars(), symbols=("ETH/USDT",)), "bars are of"),
        (bars(steps=100), "bars must be the 1440"),
        (replace(bars(), ts=bars().ts + np.timedelta64(1, "h")), "bars must be the 1440"),
    ],
)
def test_bars_that_are_not_the_candidates_are_refused(ledger: TrialLedger, history: Bars, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(ledger, candidate(), history)
    assert ledger.records() == []


def test_a_strategy_whose_source_changed_is_refused(ledger: TrialLedger) -> None:
    with pytest.raises(ValueError, match="reload it"):
        run(ledger, candidate(), bars(), replace(STRATEGY, source="# edited"))


def test_the_backtest_holds_every_bar_of_every_scenario_and_costs_only_hurt(ledger: TrialLedger) -> None:
    rows = backtest(ledger, candidate())
    assert rows.num_rows == len(SCENARIOS) * 1440
    final = {
        row["scenario"]: row["equity"] for row in rows.to_pylist() if row["ts"] == datetime(2024, 2, 29, 23, tzinfo=UTC)
    }
    assert final["base"] > final["costs_1.5x"] > final["costs_2x"]


def test_the_backtest_of_the_own_parameters_is_the_recorded_trial(ledger: TrialLedger) -> None:
    wanted = candidate()
    table = run(ledger, wanted, bars()).to_pylist()
    own = wanted.trial_id(wanted.own_parameters(STRATEGY))
    returns = next(row["returns"] for row in table if row["trial_id"] == own)
    rows = backtest(ledger, wanted).to_pylist()
    final = next(row["equity"] for row in reversed(rows) if row["scenario"] == "base")
    assert np.prod(1 + np.array(returns)) * 1000 == pytest.approx(final, rel=1e-12)


def test_the_books_of_a_backtest_add_up_and_a_changed_row_is_noticed(ledger: TrialLedger) -> None:
    rows = backtest(ledger, candidate())
    assert set(accounting_residuals(rows, 1000.0)) == set(SCENARIOS)
    assert max(accounting_residuals(rows, 1000.0).values()) < 1e-12
    for name, wrong in (("fees", 0.5), ("equity", float("nan"))):
        column = rows[name].to_numpy().copy()
        column[700] = wrong
        changed = rows.set_column(rows.schema.get_field_index(name), name, pa.array(column))
        assert accounting_residuals(changed, 1000.0)["base"] > 1e-9


def test_the_digest_of_bars_sees_a_single_changed_price() -> None:
    one = bars()
    other = replace(one, close=one.close.copy())
    assert bars_sha256(one) == bars_sha256(other)
    other.close[77, 0] = np.nextafter(other.close[77, 0], 1e9)
    assert bars_sha256(one) != bars_sha256(other)
