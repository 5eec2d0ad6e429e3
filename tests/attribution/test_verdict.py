"""A verdict says what changed, with its size; that nothing did; or for how long nobody can know."""

import math
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import yaml

import research_to_prod
from research_to_prod.attribution.verdict import (
    QUESTIONS,
    Answer,
    EdgeVerdict,
    StrategyRecord,
    judge,
    verdict_of,
)
from research_to_prod.attribution.verdict_policy import load_attribution_policy
from research_to_prod.gates.policy import PolicyError

FILE = Path(research_to_prod.__file__).parent / "desk" / "policies" / "attribution.yaml"
POLICY = load_attribution_policy(FILE)
EXPECTED = 16.0


def record(
    name: str = "carry",
    days: int = 400,
    *,
    lost: float = 0.0,
    cost: float = 0.0,
    selection: float = 0.0,
    since: int = 0,
) -> StrategyRecord:
    """Return a record with little noise: what is true of it shows."""
    rng = np.random.default_rng([days, since])
    after = np.arange(days) >= since
    shadow = EXPECTED * (1 - lost * after) + rng.normal(0, 30, days)
    live = shadow - cost * after - rng.normal(0, 3, days)
    return StrategyRecord(name, shadow, live, EXPECTED, rng.normal(selection, 5, days), orders=20 * days)


@pytest.mark.parametrize(
    ("truth", "verdict"),
    [
        ({}, EdgeVerdict.NORMAL),
        ({"cost": 2.0}, EdgeVerdict.EXECUTION),
        ({"lost": 1.0}, EdgeVerdict.EDGE),
        ({"lost": 1.0, "cost": 2.0}, EdgeVerdict.BOTH),
        ({"selection": 5.0, "cost": 1.0}, EdgeVerdict.SELECTION),
        ({"cost": 2.0, "since": 250}, EdgeVerdict.EXECUTION),
    ],
)
def test_the_verdict_is_the_truth_where_it_shows(truth: dict[str, float], verdict: EdgeVerdict):
    (found,) = judge([record(**truth)], POLICY)  # type: ignore[arg-type]
    assert found.verdict is verdict
    assert found.days_to_decide is None
    assert found.policy_sha256 == POLICY.sha256


@pytest.mark.parametrize("answers", [*product(Answer, repeat=3)], ids="-".join)
def test_every_combination_of_answers_has_its_verdict(answers: tuple[Answer, ...]):
    edge, execution, selection = answers
    verdict = verdict_of(dict(zip(QUESTIONS, answers, strict=True)))
    assert (edge is Answer.YES) == (verdict in {EdgeVerdict.EDGE, EdgeVerdict.BOTH})
    assert (verdict is EdgeVerdict.BOTH) == (edge is execution is Answer.YES)
    if edge is not Answer.YES:
        assert (selection is Answer.YES) == (verdict is EdgeVerdict.SELECTION)
    assert (verdict is EdgeVerdict.NORMAL) == (edge is execution is Answer.NO and selection is not Answer.YES)


def test_a_short_record_says_in_how_many_days_it_can_say_more():
    (found,) = judge([record(days=12)], POLICY)
    assert found.verdict is EdgeVerdict.INCONCLUSIVE
    assert (found.days_to_decide, found.orders_to_decide) == (33, 660)
    assert "Edge: 12 days; 45 are needed to judge." in found.reason
    assert math.isnan(found.findings[0].effect)


def test_an_open_question_states_its_days_and_orders():
    (found,) = judge([record(days=50)], POLICY)
    edge = found.findings[0]
    assert found.verdict is EdgeVerdict.INCONCLUSIVE
    assert edge.answer is Answer.UNKNOWN
    assert edge.days_to_decide is not None
    assert edge.lower < 0
    assert edge.upper > 1
    assert found.days_to_decide == max(each.days_to_decide or 0 for each in found.findings[:2])
    assert edge.orders_to_decide == 20 * edge.days_to_decide
    assert f"open for about {edge.days_to_decide} days or {edge.orders_to_decide} orders more" in found.reason


def test_the_size_and_the_beginning_of_a_change_are_told():
    (found,) = judge([record(cost=2.0, since=250)], POLICY)
    execution = found.findings[1]
    assert execution.began == 270
    assert execution.effect_since == pytest.approx(2.0, abs=0.6)
    assert execution.effect == pytest.approx(2.0 * 150 / 400, abs=0.4)
    assert "since about day 270" in found.reason


def test_an_effect_too_small_to_act_on_is_no_verdict_however_certain():
    (found,) = judge([record(days=2000, cost=0.7)], POLICY)
    execution = found.findings[1]
    assert execution.lower > 0
    assert execution.answer is Answer.NO


def test_a_change_needs_more_evidence_the_more_strategies_are_looked_at():
    healthy = [record(f"healthy{number}") for number in range(60)]
    alone = [record("odd", days=75, cost=1.0)]
    assert judge(alone, POLICY)[0].verdict is EdgeVerdict.EXECUTION
    assert judge([*alone, *healthy], POLICY)[0].findings[1].answer is Answer.UNKNOWN


def test_the_order_of_the_book_changes_nothing_and_neither_does_asking_twice():
    book = [record("a", cost=2.0), record("b"), record("c", days=20), replace(record("d"), expected=-1.0)]
    found = {each.strategy: each for each in judge(book, POLICY)}
    for each in judge(book[::-1], POLICY):
        assert repr(each) == repr(found[each.strategy])


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"expected": 0.0}, "the expected edge is 0"),
        ({"expected": math.nan}, "the expected edge is not known"),
        ({"live": np.ones(3)}, "400 days of shadow don't pair with 3 of live"),
        ({"shadow": np.full(400, np.nan)}, "400 of 400 days of shadow are not known"),
    ],
)
def test_a_record_that_cannot_be_judged_is_inconclusive_and_does_not_stop_the_others(broken: dict, reason: str):
    bad, good = judge([replace(record("bad"), **broken), record("good")], POLICY)
    assert bad.verdict is EdgeVerdict.INCONCLUSIVE
    assert reason in bad.reason
    assert bad.days_to_decide is None
    assert good.verdict is EdgeVerdict.NORMAL


def test_a_series_that_never_moves_is_a_broken_record_and_not_a_certain_one():
    still = replace(record(), live=record().shadow)
    (found,) = judge([still], POLICY)
    assert found.verdict is EdgeVerdict.INCONCLUSIVE
    assert found.days_to_decide is None
    assert "don't vary" in found.reason


def test_an_empty_book_has_no_verdicts_and_a_strategy_may_not_appear_twice():
    assert judge([], POLICY) == ()
    with pytest.raises(ValueError, match="carry"):
        judge([record(), record()], POLICY)


def test_nothing_unfilled_asks_no_question_of_selection():
    (found,) = judge([replace(record(), selection=np.empty(0))], POLICY)
    assert found.verdict is EdgeVerdict.NORMAL
    assert "Selection" not in found.reason


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edge": None}, "edge"),
        ({"surprise": 1}, "surprise"),
        ({"id": "other"}, "must be the file's name"),
        ({"power": {"value": 0.8, "why": "too short"}}, "power.why"),
        ({"selection.weight": 0.5}, "must add up to 1"),
        ({"execution.acted_on": 9.0}, "acted_on must not exceed ruled_out"),
    ],
)
def test_a_policy_with_a_mistake_is_refused(tmp_path: Path, change: dict, message: str):
    content = yaml.safe_load(FILE.read_text())
    for name, value in change.items():
        part, _, field = name.partition(".")
        if field:
            content[part][field]["value"] = value
        else:
            content[part] = value
    (tmp_path / "attribution.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(PolicyError, match=message):
        load_attribution_policy(tmp_path / "attribution.yaml")


def test_the_hash_of_the_policy_changes_with_a_number_and_not_with_a_comment(tmp_path: Path):
    for text in (FILE.read_text() + "# a comment\n", FILE.read_text().replace("value: 365", "value: 300")):
        (tmp_path / "attribution.yaml").write_text(text)
        same = load_attribution_policy(tmp_path / "attribution.yaml").sha256 == POLICY.sha256
        assert same == text.endswith("comment\n")
