"""No path evaluates a trial without leaving it in the trial ledger, with its return series."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import research_to_prod
from research_to_prod.research import trials as door
from research_to_prod.research.bars import Bars
from research_to_prod.research.candidate import Candidate, canonical_parameters
from research_to_prod.research.strategy import Strategy, StrategyParameters, load_strategy
from research_to_prod.research.trial_ledger import TrialLedger, TrialLedgerError
from research_to_prod.research.trials import Experiment, Terms, backtest_candidate, run_trials, unrecorded_trials
from research_to_prod.research.validation.study import validate_candidate

PACKAGE = Path(research_to_prod.__file__).parent
STRATEGY = load_strategy(PACKAGE / "desk" / "strategies", "momentum")
MAKER = load_strategy(PACKAGE / "desk" / "strategies", "market_making")
ENGINE = {"run_backtest", "Sweep", "outcome_of", "run_market_making", "simulate", "summarise", "match"}
"""Whatever turns decisions into money."""
ENGINE_ROOM = {"backtest.py", "sweep.py", "market_making.py", "_kernels.py", "_quoting_kernel.py"}
DOOR = "trials.py"
ASKED = {"run_id": "run", "recorded_at": datetime(2026, 1, 1, tzinfo=UTC)}


def candidate(strategy: Strategy) -> Candidate:
    fields: dict[str, object] = {
        "name": "some_candidate",
        "owner": "team:research",
        "hypothesis": "Prices that moved for three days keep moving for another one or two.",
        "strategy": strategy.name,
        "type": strategy.type,
        "venue": "sandbox",
        "universe": ("BTC/USDT",),
        "timeframe": "1h",
        "window": {"start": "2024-01-01", "end": "2024-07-01"},
        "parameters": {"lookback_hours": 24},
        "search_space": {"lookback_hours": (12, 24, 48)},
        "capital": "1000",
        "strategy_sha256": strategy.source_sha256,
    }
    if strategy.makes_markets:
        fields["quoting"] = {"queue_ahead": 0.0, "max_inventory": 1.0}
    return Candidate.model_validate(fields)


def bars() -> Bars:
    steps = 182 * 24
    close = 100 * np.exp(np.cumsum(np.random.default_rng(5).normal(0, 0.01, (steps, 1)), axis=0))
    ts = np.datetime64("2024-01-01", "us") + np.arange(steps) * np.timedelta64(1, "h")
    high, low = close * 1.003, close * 0.997
    return Bars(ts, ("BTC/USDT",), close, high, low, close, np.full_like(close, 1e4), np.zeros_like(close))


PATHS: dict[str, Callable[[Strategy, TrialLedger], object]] = {
    "run_trials": lambda strategy, ledger: run_trials(candidate(strategy), strategy, bars(), ledger, **ASKED),
    "backtest_candidate": lambda strategy, ledger: backtest_candidate(
        candidate(strategy), strategy, bars(), ledger, **ASKED
    ),
    "Experiment.evaluate": lambda strategy, ledger: experiment(strategy, ledger).evaluate(
        candidate(strategy).grid(strategy)
    ),
    "Experiment.backtests": lambda strategy, ledger: experiment(strategy, ledger).backtests([Terms()]),
    "Experiment.returns_under": lambda strategy, ledger: experiment(strategy, ledger).returns_under([Terms()]),
    "validate_candidate": lambda strategy, ledger: validate_candidate(
        experiment(strategy, ledger), run_trials(candidate(strategy), strategy, bars(), ledger, **ASKED)
    ),
}


def experiment(strategy: Strategy, ledger: TrialLedger) -> Experiment:
    return Experiment(candidate(strategy), strategy, bars(), ledger, **ASKED)  # type: ignore[arg-type]


@pytest.fixture
def ledger(tmp_path: Path) -> TrialLedger:
    return TrialLedger(tmp_path / "trials.jsonl")


def names_of_the_engine(source: Path) -> Iterator[str]:
    """Yield each name of the engine that a module imports, reads or calls, under whatever alias."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names if alias.name in ENGINE)
        # ``pattern.match`` and ``path.match`` are not the engine's.
        elif isinstance(node, ast.Attribute) and node.attr in ENGINE - {"match"}:
            yield node.attr


def test_only_the_door_calls_the_engine() -> None:
    guilty = {
        str(source.relative_to(PACKAGE)): sorted(set(names_of_the_engine(source)))
        for source in PACKAGE.rglob("*.py")
        if not (source.parent.name == "research" and source.name in {*ENGINE_ROOM, DOOR})
    }
    assert {name: names for name, names in guilty.items() if names} == {}
    assert set(names_of_the_engine(PACKAGE / "research" / DOOR)) >= {"run_backtest", "Sweep", "run_market_making"}


def test_nobody_imports_the_doors_private_parts() -> None:
    private = {name for name in vars(door) if name.startswith("_") and not name.startswith("__")}
    for source in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == door.__name__:
                assert not {alias.name for alias in node.names} & private, source


def test_every_public_path_through_the_door_is_tried_here() -> None:
    functions = {
        name
        for name, member in inspect.getmembers(door, inspect.isfunction)
        if member.__module__ == door.__name__ and not name.startswith("_")
    }
    methods = {
        f"Experiment.{name}"
        for name, member in inspect.getmembers(Experiment, inspect.isfunction)
        if not name.startswith("_")
    }
    assert functions - PATHS.keys() == {"accounting_residuals", "bars_sha256", "unrecorded_trials"}
    assert methods <= PATHS.keys()


@pytest.mark.parametrize("strategy", [STRATEGY, MAKER], ids=lambda each: each.name)
@pytest.mark.parametrize("path", PATHS)
def test_whatever_parameter_set_a_path_decides_on_stands_in_the_ledger_with_its_series(
    path: str, strategy: Strategy, ledger: TrialLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: set[str] = set()
    decide = strategy._decide

    def watched(seen: Bars, parameters: StrategyParameters) -> object:
        tried.add(canonical_parameters(parameters))
        return decide(seen, parameters)

    monkeypatch.setitem(strategy.__dict__, "_decide", watched)
    PATHS[path](strategy, ledger)
    recorded = ledger.records()
    assert tried
    assert tried == {record.parameters for record in recorded}
    assert ledger.count(strategy.name, ["BTC/USDT"]) == len(tried)
    for record in recorded:
        assert len(ledger.returns(record)) == 182


@pytest.mark.parametrize("path", PATHS)
def test_no_path_returns_a_result_when_the_ledger_cannot_record_it(path: str, ledger: TrialLedger) -> None:
    ledger.path.write_bytes(b"not a ledger\n")
    with pytest.raises(TrialLedgerError, match="unreadable"):
        PATHS[path](STRATEGY, ledger)


def test_a_trial_that_the_ledger_lacks_or_has_with_other_returns_is_named(ledger: TrialLedger, tmp_path: Path) -> None:
    rows = run_trials(candidate(STRATEGY), STRATEGY, bars(), ledger, **ASKED)
    assert unrecorded_trials(rows, ledger) == []
    assert unrecorded_trials(rows, TrialLedger(tmp_path / "empty.jsonl")) == rows["trial_id"].to_pylist()
    content = bytearray(ledger.series_path.read_bytes())
    content[100] ^= 1
    ledger.series_path.write_bytes(content)
    with pytest.raises(TrialLedgerError, match="removed or changed"):
        unrecorded_trials(rows, ledger)
