"""Evidence: gathered from tables in any order; what is missing stays missing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest

import research_to_prod
from research_to_prod.gates.evidence import Evidence, gather_evidence
from research_to_prod.gates.holdings import Holdings
from research_to_prod.market_data.contracts import MARKET_FINDINGS, MARKET_QUALITY
from research_to_prod.research.bars import Bars
from research_to_prod.research.candidate import Candidate, Window
from research_to_prod.research.strategy import load_strategy
from research_to_prod.research.trial_ledger import TrialLedger
from research_to_prod.research.trials import backtest_candidate, run_trials

STRATEGY = load_strategy(Path(research_to_prod.__file__).parent / "desk" / "strategies", "momentum")
CANDIDATE = Candidate(
    name="some_candidate",
    owner="team:research",
    hypothesis="Prices that moved for three days keep moving for another one or two.",
    strategy="momentum",
    type=STRATEGY.type,
    venue="sandbox",
    universe=("BTC/USDT",),
    timeframe="1h",
    window=Window.model_validate({"start": "2024-01-01", "end": "2024-03-01"}),
    parameters={"lookback_hours": 24, "rebalance_hours": 6},
    search_space={"lookback_hours": (12, 24, 48)},
    capital="1000",  # type: ignore[arg-type]
    strategy_sha256=STRATEGY.source_sha256,
)
HOURS = {"2024-01": 31 * 24, "2024-02": 29 * 24}


def bars() -> Bars:
    close = 100 * np.exp(np.cumsum(np.random.default_rng(5).normal(0, 0.01, (1440, 1)), axis=0))
    ts = np.datetime64("2024-01-01", "us") + np.arange(1440) * np.timedelta64(1, "h")
    return Bars(ts, ("BTC/USDT",), close, close, close, close, np.ones_like(close), np.zeros_like(close))


def quality(valid: dict[str, int], venue: str = "sandbox", timeframe: str = "1h") -> pa.Table:
    """Return rows of MARKET_QUALITY whose expected bars wrongly equal the valid ones: that must not be believed."""
    blank = {field.name: None if field.nullable else _zero(field.type) for field in MARKET_QUALITY.arrow}
    named = {"venue": venue, "symbol": "BTC/USDT", "timeframe": timeframe}
    rows = [{**blank, **named, "month": month, "expected_bars": n, "valid_bars": n} for month, n in valid.items()]
    return pa.Table.from_pylist(rows, schema=MARKET_QUALITY.arrow)


def findings(*rows: dict[str, object]) -> pa.Table:
    """Return rows of MARKET_FINDINGS, each an open error of the candidate's market unless it says otherwise."""
    blank = {field.name: _zero(field.type) for field in MARKET_FINDINGS.arrow if not field.nullable}
    at = datetime(2024, 1, 5, tzinfo=UTC)
    error = {
        **blank, "venue": "sandbox", "symbol": "BTC/USDT", "timeframe": "1h", "month": "2024-01", "level": "error",
        "rule": "look_ahead", "first_at": at, "last_at": at, "resolved_by": None,
    }  # fmt: skip
    return pa.Table.from_pylist([{**error, **row} for row in rows], schema=MARKET_FINDINGS.arrow)


def _zero(type_: pa.DataType) -> object:
    return "" if pa.types.is_string(type_) else 0


@pytest.fixture
def ledger(tmp_path: Path) -> TrialLedger:
    ledger = TrialLedger(tmp_path / "trials.jsonl")
    run_trials(CANDIDATE, STRATEGY, bars(), ledger, **ASKED)
    return ledger


ASKED = {"run_id": "run", "recorded_at": datetime(2026, 1, 1, tzinfo=UTC)}
with TemporaryDirectory() as folder:
    BACKTEST = backtest_candidate(CANDIDATE, STRATEGY, bars(), TrialLedger(Path(folder) / "trials.jsonl"), **ASKED)


def gather(
    ledger: TrialLedger,
    market_quality: pa.Table | None = None,
    backtest: pa.Table = BACKTEST,
    market_findings: pa.Table | None = None,
) -> Evidence:
    trials = ledger.trials(CANDIDATE.strategy, CANDIDATE.universe)
    return gather_evidence(
        CANDIDATE,
        STRATEGY,
        quality(HOURS) if market_quality is None else market_quality,
        findings() if market_findings is None else market_findings,
        backtest,
        trials,
    )


def test_whole_tables_give_whole_evidence(ledger: TrialLedger) -> None:
    evidence = gather(ledger)
    assert evidence.completeness == {"BTC/USDT": (1440, 1440)}
    assert evidence.unresolved == {"BTC/USDT": ()}
    assert len(evidence.daily_returns) == 60
    assert {multiplier: len(series) for multiplier, series in evidence.stressed_returns.items()} == {1.5: 60, 2.0: 60}
    assert evidence.max_drawdown is not None
    assert (evidence.n_trials, len(evidence.trial_sharpes)) == (3, 3)


def test_the_order_of_rows_does_not_matter(ledger: TrialLedger) -> None:
    order = np.random.default_rng(0).permutation(BACKTEST.num_rows)
    one, other = gather(ledger), gather(ledger, quality(dict(reversed(HOURS.items()))), BACKTEST.take(order))
    np.testing.assert_array_equal(one.daily_returns, other.daily_returns)
    np.testing.assert_array_equal(one.stressed_returns[2.0], other.stressed_returns[2.0])
    assert (one.max_drawdown, one.completeness) == (other.max_drawdown, other.completeness)


@pytest.mark.parametrize(
    "market_quality",
    [
        quality({}),
        quality({"2024-01": 744}),
        quality({"2024-01": 744, "2024-03": 744}),
        quality(HOURS, venue="elsewhere"),
        quality(HOURS, timeframe="1d"),
        pa.concat_tables([quality(HOURS), quality({"2024-01": 744})]),
    ],
)
def test_a_month_that_was_not_profiled_or_twice_leaves_completeness_unknown(
    ledger: TrialLedger, market_quality: pa.Table
) -> None:
    evidence = gather(ledger, market_quality)
    assert evidence.completeness == {"BTC/USDT": None}
    assert evidence.unresolved == {"BTC/USDT": None}, "a month that nobody examined has no findings either"


def test_a_bar_that_no_certificate_covers_leaves_completeness_unknown(ledger: TrialLedger) -> None:
    rows = quality(HOURS)
    unknown = pa.array([0, 1], pa.int64())
    rows = rows.set_column(rows.column_names.index("unknown_bars"), rows.schema.field("unknown_bars"), unknown)
    assert gather(ledger, rows).completeness == {"BTC/USDT": None}


def test_only_the_markets_own_open_errors_within_the_window_count(ledger: TrialLedger) -> None:
    rows = findings(
        {"month": "2024-02", "first_at": datetime(2024, 2, 3, 4, tzinfo=UTC), "rule": "broken_print"},
        {},
        {"level": "warning"},
        {"level": "info"},
        {"resolved_by": "r1"},
        {"symbol": "ETH/USDT"},
        {"venue": "elsewhere"},
        {"timeframe": "1d"},
        {"month": "2023-12"},
        {"month": "2024-03"},
    )
    assert gather(ledger, market_findings=rows).unresolved == {
        "BTC/USDT": ("look_ahead at 2024-01-05T00:00Z", "broken_print at 2024-02-03T04:00Z")
    }


def test_expected_bars_follow_from_the_window_not_from_the_table(ledger: TrialLedger) -> None:
    assert gather(ledger, quality({"2024-01": 700, "2024-02": 696})).completeness == {"BTC/USDT": (1440, 1396)}


def test_a_backtest_that_lacks_a_bar_or_a_scenario_is_no_evidence(ledger: TrialLedger) -> None:
    lacking = gather(ledger, backtest=BACKTEST.slice(1))
    assert len(lacking.daily_returns) == 0
    assert lacking.max_drawdown is None
    base_only = gather(ledger, backtest=BACKTEST.slice(0, 1440))
    assert base_only.stressed_returns == {}
    assert len(base_only.daily_returns) == 60


def test_another_candidates_backtest_is_not_taken(ledger: TrialLedger) -> None:
    names = pa.array(["another"] * BACKTEST.num_rows)
    renamed = BACKTEST.set_column(0, BACKTEST.schema.field(0), names)
    assert len(gather(ledger, backtest=renamed).daily_returns) == 0


def test_without_its_own_trial_in_the_ledger_the_count_is_unknown(ledger: TrialLedger, tmp_path: Path) -> None:
    assert gather(TrialLedger(tmp_path / "empty.jsonl")).n_trials is None
    own = CANDIDATE.trial_id(CANDIDATE.own_parameters(STRATEGY))
    others = {key: value for key, value in ledger.trials("momentum", ["BTC/USDT"]).items() if key != own}
    assert gather_evidence(CANDIDATE, STRATEGY, quality(HOURS), findings(), BACKTEST, others).n_trials is None


def test_a_trial_without_a_sharpe_ratio_counts_but_has_none(ledger: TrialLedger) -> None:
    trials = ledger.trials("momentum", ["BTC/USDT"])
    first = next(iter(trials))
    trials[first] = trials[first].model_copy(update={"sharpe_daily": None})
    evidence = gather_evidence(CANDIDATE, STRATEGY, quality(HOURS), findings(), BACKTEST, trials)
    assert (evidence.n_trials, len(evidence.trial_sharpes)) == (3, 2)


def test_evidence_is_frozen(ledger: TrialLedger) -> None:
    evidence = gather(ledger)
    with pytest.raises(AttributeError):
        evidence.n_trials = 1  # type: ignore[misc]
    assert replace(evidence, n_trials=5).n_trials == 5


def test_positions_are_those_of_the_backtest_that_is_judged(ledger: TrialLedger) -> None:
    def held(backtest: pa.Table, on: Bars) -> Holdings | None:
        trials = ledger.trials(CANDIDATE.strategy, CANDIDATE.universe)
        return gather_evidence(CANDIDATE, STRATEGY, quality(HOURS), findings(), backtest, trials, bars=on).holdings

    found = held(BACKTEST, bars())
    assert found is not None
    rows = BACKTEST.slice(0, 1440)
    units = np.array(rows["units"].to_pylist())
    assert (units != 0).any()
    np.testing.assert_allclose(found.weights, units * bars().close / rows["equity"].to_numpy()[:, None], rtol=1e-12)
    np.testing.assert_allclose(found.daily_volume[:, 0], bars().close.reshape(60, 24).sum(axis=1), rtol=1e-12)
    # Other bars, a bar too few, or units that are not those of the exposure: not known.
    dearer = replace(bars(), close=2 * bars().close)
    assert held(BACKTEST, dearer) is None
    assert held(BACKTEST.slice(1), bars()) is None
    doubled = pa.array([[2 * each[0]] for each in BACKTEST["units"].to_pylist()], pa.list_(pa.float64()))
    index = BACKTEST.column_names.index("units")
    assert held(BACKTEST.set_column(index, BACKTEST.schema.field(index), doubled), bars()) is None
