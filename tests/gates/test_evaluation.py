"""Verdicts: every branch, failing closed, the same bytes from the same evidence."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.gates.contracts import GATE_REPORT
from research_to_prod.gates.evaluation import GateReport, evaluate
from research_to_prod.gates.evidence import Evidence, Studies
from research_to_prod.gates.policy import Policy
from research_to_prod.values import StrategyType, Verdict
from tests.gates.good_evidence import GOOD, POLICY, gate, returns, verdicts

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
NAN = math.nan
UNRESOLVED = "unresolved_findings"


def report(**changes: Any) -> GateReport:
    return evaluate(POLICY, replace(GOOD, **changes))


def test_good_evidence_passes_every_gate() -> None:
    assert {each.verdict for each in report().gates if each.gating} == {PASS}
    assert report().verdict is PASS
    assert {each.remedy for each in report().gates if each.gating} == {""}


@pytest.mark.parametrize(
    ("changes", "name", "verdict"),
    [
        ({"completeness": {"BTC/USDT": (1000, 1000), "ETH/USDT": (1000, 990)}}, "completeness", FAIL),
        ({"completeness": {"BTC/USDT": (1000, 999)}}, "completeness", INCONCLUSIVE),
        ({"completeness": {}}, "completeness", INCONCLUSIVE),
        ({"completeness": {"BTC/USDT": (1000, 1000), "ETH/USDT": None}}, "completeness", INCONCLUSIVE),
        ({"completeness": {"BTC/USDT": (0, 0)}}, "completeness", INCONCLUSIVE),
        ({"completeness": {"BTC/USDT": (1000, 1001)}}, "completeness", INCONCLUSIVE),
        ({"completeness": {"BTC/USDT": (1000, -1)}}, "completeness", INCONCLUSIVE),
        ({"unresolved": {"BTC/USDT": (), "ETH/USDT": ("broken_print at 2023-01-01T00:00Z",)}}, UNRESOLVED, FAIL),
        ({"unresolved": {"BTC/USDT": (), "ETH/USDT": None}}, UNRESOLVED, INCONCLUSIVE),
        (
            {"unresolved": {"BTC/USDT": ("look_ahead at 2023-01-01T00:00Z",), "ETH/USDT": None}},
            UNRESOLVED,
            INCONCLUSIVE,
        ),
        ({"unresolved": {}}, UNRESOLVED, INCONCLUSIVE),
        ({"max_drawdown": 0.3}, "maximum_drawdown", FAIL),
        ({"max_drawdown": 0.25}, "maximum_drawdown", INCONCLUSIVE),
        ({"max_drawdown": 0.25 + 1e-12}, "maximum_drawdown", INCONCLUSIVE),
        ({"max_drawdown": None}, "maximum_drawdown", INCONCLUSIVE),
        ({"max_drawdown": NAN}, "maximum_drawdown", INCONCLUSIVE),
        ({"max_drawdown": -0.1}, "maximum_drawdown", INCONCLUSIVE),
        ({"stressed_returns": {1.5: returns(3.0), 2.0: returns(-1.0)}}, "stressed_mean_return", FAIL),
        ({"stressed_returns": {1.5: returns(3.0), 2.0: np.zeros(1000)}}, "stressed_mean_return", INCONCLUSIVE),
        ({"stressed_returns": {1.5: returns(3.0)}}, "stressed_mean_return", INCONCLUSIVE),
        ({"stressed_returns": {1.5: returns(0.5), 2.0: returns(0.4)}}, "stressed_sharpe_lower_bound", FAIL),
        ({"stressed_returns": {2.0: returns(3.0)}}, "stressed_sharpe_lower_bound", INCONCLUSIVE),
        ({"stressed_returns": {}}, "stressed_sharpe_lower_bound", INCONCLUSIVE),
        ({"daily_returns": returns(4.0, days=300)}, "minimum_days", INCONCLUSIVE),
        ({"daily_returns": returns(4.0, days=365)}, "minimum_days", INCONCLUSIVE),
        ({"daily_returns": np.empty(0)}, "minimum_days", INCONCLUSIVE),
        ({"daily_returns": returns(0.5)}, "minimum_track_record", INCONCLUSIVE),
        ({"daily_returns": returns(-2.0)}, "minimum_track_record", INCONCLUSIVE),
        ({"daily_returns": np.empty(0)}, "minimum_track_record", INCONCLUSIVE),
        ({"daily_returns": returns(1.0)}, "deflated_sharpe_ratio", FAIL),
        ({"daily_returns": np.empty(0)}, "deflated_sharpe_ratio", INCONCLUSIVE),
        ({"daily_returns": np.full(1000, 0.001)}, "deflated_sharpe_ratio", INCONCLUSIVE),
        ({"daily_returns": np.append(returns(4.0), NAN)}, "deflated_sharpe_ratio", INCONCLUSIVE),
        ({"daily_returns": np.append(returns(4.0), math.inf)}, "deflated_sharpe_ratio", INCONCLUSIVE),
        ({"n_trials": None}, "deflated_sharpe_ratio", INCONCLUSIVE),
        ({"n_trials": 0}, "deflated_sharpe_ratio", INCONCLUSIVE),
        ({"n_trials": 1}, "deflated_sharpe_ratio", INCONCLUSIVE),
        ({"n_trials": -5}, "deflated_sharpe_ratio", INCONCLUSIVE),
        ({"n_trials": 19}, "deflated_sharpe_ratio", INCONCLUSIVE),
        ({"daily_returns": returns(2.5), "n_trials": 10**9}, "deflated_sharpe_ratio", INCONCLUSIVE),
    ],
)
def test_each_shortcoming_gets_its_verdict_and_blocks(changes: dict[str, Any], name: str, verdict: Verdict) -> None:
    result = report(**changes)
    assert verdicts(result)[name] is verdict
    assert result.verdict is not PASS
    assert gate(result, name).reason
    assert gate(result, name).remedy


def test_a_failure_that_the_sample_could_not_avoid_says_so() -> None:
    # A billion trials: not even the edge that the desk looks for would pass on this window.
    found = gate(report(daily_returns=returns(2.5), n_trials=10**9), "deflated_sharpe_ratio")
    assert found.power is not None
    assert found.power < 0.5
    assert "would pass with a probability of only" in found.reason


def test_a_fail_outweighs_what_is_inconclusive() -> None:
    assert report(n_trials=None).verdict is INCONCLUSIVE
    assert report(n_trials=None, max_drawdown=0.5).verdict is FAIL


def test_reported_numbers_stand_beside_the_gates_and_do_not_gate() -> None:
    # Dispersed trials: the published form of the deflated Sharpe ratio refuses, ours does not.
    result = report(trial_sharpes=np.linspace(-0.5, 0.5, 20))
    reported = gate(result, "deflated_sharpe_ratio_across_trials")
    assert (reported.verdict, reported.gating) == (FAIL, False)
    assert result.verdict is PASS
    assert {each.gate for each in result.gates if not each.gating} == {
        "deflated_sharpe_ratio_across_trials", "probabilistic_sharpe_ratio", "minimum_backtest_length",
        "rolling_walk_forward_efficiency", "rolling_walk_forward_positive_folds",
        "event_march_2020", "event_may_2021", "event_may_2022", "event_november_2022", "runbook", "kill_drill",
    }  # fmt: skip


def test_a_report_without_gates_or_with_only_reported_ones_is_not_a_pass() -> None:
    empty = replace(report(), gates=())
    assert empty.verdict is INCONCLUSIVE
    reported = tuple(each for each in report().gates if not each.gating)
    assert replace(report(), gates=reported).verdict is INCONCLUSIVE


def test_autocorrelated_returns_raise_the_bar() -> None:
    noise = np.random.default_rng(3).normal(0, 1, 1001)
    trending = noise[1:] + 0.7 * noise[:-1]
    trending = 0.01 * ((trending - trending.mean()) / trending.std(ddof=1) + 2.5 / math.sqrt(365))
    values = [gate(report(daily_returns=series), "deflated_sharpe_ratio").value for series in (returns(2.5), trending)]
    assert values[0] is not None
    assert values[1] is not None
    assert values[1] < values[0] - 0.02


def test_an_override_and_the_allocation_of_its_type_apply_to_a_strategy() -> None:
    assert verdicts(report(max_drawdown=0.15))["maximum_drawdown"] is PASS
    assert verdicts(report(max_drawdown=0.15, strategy_type=StrategyType.CARRY))["maximum_drawdown"] is FAIL
    nearly = {"BTC/USDT": (10_000, 9_995)}
    assert verdicts(report(completeness=nearly))["completeness"] is PASS
    assert verdicts(report(completeness=nearly, strategy_type=StrategyType.MARKET_MAKING))["completeness"] is FAIL


def test_margin_is_the_distance_to_the_threshold_and_positive_when_good() -> None:
    drawdown = gate(report(max_drawdown=0.3), "maximum_drawdown")
    assert (drawdown.value, drawdown.threshold, drawdown.margin) == (0.3, 0.25, -0.05)
    complete = gate(report(), "completeness")
    assert (complete.value, complete.threshold, complete.margin) == (1.0, 0.999, 0.001)


def test_the_least_complete_market_decides_and_is_named() -> None:
    bad = {"A/Q": (1000, 1000), "C/Q": (1000, 400), "B/Q": (1000, 900)}
    assert "C/Q" in gate(report(completeness=bad), "completeness").reason


def test_a_count_that_equals_its_threshold_meets_it_and_open_findings_are_named() -> None:
    clean = gate(report(), UNRESOLVED)
    assert (clean.verdict, clean.value, clean.threshold, clean.margin) == (PASS, 0.0, 0.0, 0.0)
    found = {"BTC/USDT": tuple(f"look_ahead at 2023-0{month}-01T00:00Z" for month in range(1, 6))}
    refused = gate(report(unresolved=found), UNRESOLVED)
    assert (refused.verdict, refused.value) == (FAIL, 5.0)
    assert "BTC/USDT look_ahead at 2023-01-01T00:00Z" in refused.reason
    assert "and others" in refused.reason


def test_the_minimum_track_record_is_stated() -> None:
    # 1.645^2 / (4 / sqrt(365))^2 days, a little more for the variance of the estimate.
    stated = gate(report(), "minimum_track_record").minimum_track_record
    assert stated == pytest.approx(63.5, abs=1)


def shuffled(evidence: Evidence, seed: int) -> Evidence:
    rng = np.random.default_rng(seed)
    return replace(
        evidence,
        completeness=dict(reversed(list(evidence.completeness.items()))),
        unresolved=dict(reversed(list(evidence.unresolved.items()))),
        stressed_returns=dict(reversed(list(evidence.stressed_returns.items()))),
        trial_sharpes=rng.permutation(evidence.trial_sharpes),
        daily_returns=np.asfortranarray(np.repeat(evidence.daily_returns[:, None], 3, axis=1))[:, 1],
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_bytes_do_not_depend_on_the_order_in_which_evidence_came(seed: int) -> None:
    rng = np.random.default_rng(seed)
    evidence = replace(GOOD, trial_sharpes=rng.normal(0, 0.03, 20))
    assert evaluate(POLICY, shuffled(evidence, seed)).canonical_bytes() == evaluate(POLICY, evidence).canonical_bytes()


def test_the_bytes_name_policy_candidate_and_verdict_and_hold_numbers_as_text() -> None:
    content = json.loads(report().canonical_bytes())
    assert (content["candidate"], content["verdict"]) == ("some_candidate", "pass")
    assert content["policy_sha256"] == POLICY.sha256
    drawdown = next(each for each in content["gates"] if each["gate"] == "maximum_drawdown")
    assert (drawdown["value"], drawdown["threshold"], drawdown["power"]) == ("0.1", "0.25", None)


def test_a_changed_policy_changes_the_bytes() -> None:
    plain = POLICY.model_dump(mode="json")
    plain["allocation"]["types"]["swing"]["drawdown_limit"]["value"] = 0.24
    other = evaluate(Policy.model_validate(plain), GOOD)
    assert other.verdict is PASS
    assert other.canonical_bytes() != report().canonical_bytes()


def test_evidence_of_nothing_gives_a_report_that_can_be_stored() -> None:
    nothing = report(
        completeness={}, unresolved={}, daily_returns=np.empty(0), stressed_returns={}, max_drawdown=None,
        n_trials=None, trial_sharpes=np.empty(0), studies=Studies(), holdings=None, book=None, capital=None,
    )  # fmt: skip
    assert set(verdicts(nothing).values()) == {INCONCLUSIVE}
    table = GATE_REPORT.conform(nothing.to_table(), "some_candidate")
    assert table.num_rows == len(nothing.gates)
    assert table["value"].null_count >= 7
    assert nothing.canonical_bytes()


def test_the_table_holds_one_row_a_gate_with_the_policys_hash() -> None:
    rows = report().to_table().to_pylist()
    assert len(rows) == len(report().gates) == len({row["gate"] for row in rows})
    assert {row["policy_sha256"] for row in rows} == {POLICY.sha256}
    assert {row["family"] for row in rows} == {"data_quality", "statistics", "robustness", "risk", "readiness"}


odd = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))
series = st.one_of(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=6).map(lambda values: np.array(values, float)),
    st.just(returns(4.0)),
    st.just(np.zeros(1000)),
)


@given(
    st.dictionaries(
        st.sampled_from(["A/Q", "B/Q"]),
        st.one_of(st.none(), st.tuples(st.integers(-2, 5), st.integers(-2, 5))),
    ),
    st.dictionaries(st.sampled_from(["A/Q", "B/Q"]), st.sampled_from([None, (), ("look_ahead at some time",)])),
    series, st.dictionaries(st.sampled_from([1.5, 2.0]), series), odd,
    st.one_of(st.none(), st.integers(-3, 10**6)), series,
)  # fmt: skip
def test_evidence_that_lacks_anything_never_passes_and_never_crashes(
    completeness: dict[str, Any], unresolved: dict[str, Any], daily: np.ndarray, stressed: dict[float, np.ndarray],
    drawdown: float | None, n_trials: int | None, trial_sharpes: np.ndarray,
) -> None:  # fmt: skip
    with np.errstate(all="ignore"):
        result = report(
            completeness=completeness, unresolved=unresolved, daily_returns=daily, stressed_returns=stressed,
            max_drawdown=drawdown, n_trials=n_trials, trial_sharpes=trial_sharpes,
        )  # fmt: skip
    whole = (
        bool(completeness)
        and all(pair is not None and 0 < pair[0] == pair[1] for pair in completeness.values())
        and bool(unresolved)
        and all(found == () for found in unresolved.values())
        and len(daily) == 1000
        and set(stressed) == {1.5, 2.0}
        and drawdown is not None
        and 0 <= drawdown < 0.25
        and n_trials is not None
        and n_trials >= 2
    )
    assert whole or result.verdict is not PASS
    assert result.to_table().num_rows == len(result.gates)
    assert result.canonical_bytes()
