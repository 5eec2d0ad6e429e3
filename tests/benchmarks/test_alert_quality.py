"""The study of alert quality: that its weeks say what was injected, what it counts, and that a replay is a replay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import _alert_page as written
from benchmarks import _alert_scores as scores
from benchmarks._alert_ablations import ablations
from benchmarks._alert_incidents import INCIDENTS
from benchmarks._alert_plain import (
    GROUP_INTERVAL,
    TUNINGS,
    Setting,
    firing_of,
    notified,
    plain_day_and_night,
    plain_static,
    plain_z,
)
from benchmarks._alert_surroundings import Surroundings, surroundings
from benchmarks._alert_systems import (
    RULES,
    Page,
    Run,
    constant_context,
    contextual,
    day_and_night,
    policy_of,
    run,
    shipped,
    static,
    z_scores,
)
from benchmarks._alert_weeks import (
    ACCOUNT,
    DAY,
    NEEDS_ORDERS,
    SYMBOLS,
    VENUE,
    WEEK,
    Fault,
    Kind,
    Plan,
    injected,
    sound_weeks,
    with_faults,
)
from research_to_prod.market_data.liquidity import WEEKS, Regime
from research_to_prod.operations.alerting.evaluation import Key, Observation, State, evaluate
from research_to_prod.operations.alerting.situation import Subject

FIRST = WEEKS * WEEK
BTC = Subject(VENUE.venue, instrument=SYMBOLS[0])
BOOK = Subject(strategy="carry")

OURS = [shipped(), contextual({}), static({}), day_and_night({}), z_scores({})]
SETTING = Setting(1.0, 60.0)
PLAIN = [
    plain_static(dict.fromkeys(RULES, SETTING)),
    plain_day_and_night(dict.fromkeys(RULES, (SETTING, Setting(2.5, 0.0)))),
    plain_z(dict.fromkeys(RULES, Setting(30.0, 60.0))),
]
SYSTEMS = [*OURS, *PLAIN]


@cache
def around() -> Surroundings:
    """One sound week with a profile, and two faults on its first day."""
    faults = [
        Fault(Kind.BAD_PRICE, BTC, FIRST + 600, FIRST + 615, 250.0),
        Fault(Kind.POSITION, ACCOUNT, FIRST + 900, FIRST + 960, 40.0),
    ]
    return surroundings(injected(sound_weeks(3, WEEKS + 1), faults, 3))


def page(minute: int, rule: str = "md_invalid", subject: Subject = BTC, *, flat: bool = False) -> Page:
    return Page(minute, rule, subject, "id", flat=flat, regime=Regime.NORMAL)


def scored(*pages: Page, flaps: int = 0) -> scores.Score:
    cases = tuple(scores.Case(fault, True, 120.0, Regime.NORMAL) for fault in around().world.journal)
    return scores.score(Run(pages, flaps, len(pages)), cases, FIRST, FIRST + DAY)


def test_the_shipped_rules_tell_of_both_faults_while_they_last() -> None:
    begin, end = FIRST + 590, FIRST + 920
    found = scores.score(run(around(), shipped(), begin, end), scores.cases_of(around(), begin, end), begin, end)
    told = {page.rule for page, matched in zip(found.run.pages, found.matched, strict=True) if matched}
    assert told == {"md_invalid", "position_break"}


@pytest.mark.parametrize("system", [shipped(), z_scores(dict.fromkeys(RULES, 30.0))])
def test_skipping_turns_at_which_nothing_can_happen_changes_nothing(system: object) -> None:
    begin, end = FIRST + 540, FIRST + 660
    quick, whole = (run(around(), system, begin, end, every_turn=each) for each in (False, True))  # type: ignore[arg-type]
    assert quick.turns < whole.turns == end - begin
    assert (quick.pages, quick.flaps) == (whole.pages, whole.flaps)


def test_a_fault_is_in_the_journal_and_in_what_is_measured_and_nowhere_else() -> None:
    sound = sound_weeks(3, 1)
    fault = Fault(Kind.BAD_PRICE, BTC, 100, 110, 250.0)
    faulty = injected(sound, [fault], 3)
    assert faulty.journal == (fault,)
    changed = sound.values["mid_deviation", BTC] != faulty.values["mid_deviation", BTC]
    assert list(np.flatnonzero(changed)) == list(range(100, 110))
    assert all(np.array_equal(sound.values[key], faulty.values[key]) for key in sound.values if key[1] != BTC)


def test_faults_of_later_weeks_leave_those_of_earlier_ones_in_what_is_measured() -> None:
    lost = Fault(Kind.LOSSES, Subject(strategy="carry"), 100, 160, 0.9)
    once = injected(sound_weeks(3, 1), [lost], 3)
    again = injected(once, [Fault(Kind.BAD_PRICE, BTC, 600, 610, 250.0)], 4)
    for metric in ("loss_share_5m", "loss_share_1h", "loss_share_day"):
        key = (metric, Subject(strategy="carry"))
        assert np.array_equal(once.values[key], again.values[key])
    assert once.values["loss_share_1h", Subject(strategy="carry")][159] > 0.5


def test_every_kind_is_drawn_as_often_and_only_where_it_can_happen() -> None:
    sound = sound_weeks(5, 2)
    drawn = with_faults(sound, 1, 2, lambda week: week == 1).journal
    assert Counter(each.kind for each in drawn) == dict.fromkeys(Kind, 2)
    assert all(WEEK <= each.begin < each.end <= 2 * WEEK for each in drawn)
    assert all(sound.held(each.subject)[each.begin] > 0 for each in drawn if each.kind in NEEDS_ORDERS)


def test_the_same_seed_gives_the_same_weeks() -> None:
    one, other = sound_weeks(5, 1), sound_weeks(5, 1)
    assert all(np.array_equal(one.values[key], other.values[key], equal_nan=True) for key in one.values)


def test_a_page_counts_only_for_its_rules_subject_and_time() -> None:
    ether = Subject(VENUE.venue, instrument=SYMBOLS[1])
    right, late = page(FIRST + 602), page(FIRST + 615 + scores.GRACE + 1)
    found = scored(right, late, page(FIRST + 602, "md_stale"), page(FIRST + 602, subject=ether), page(FIRST + 599))
    assert found.matched == (True, False, False, False, False)
    assert [each.minutes for each in found.outcomes] == [3, None]
    assert (found.recall, found.precision) == (0.5, 0.2)


def test_what_was_missed_is_never_in_time() -> None:
    found = scored(page(FIRST + 600), page(FIRST + 605))
    assert (found.of_budget[0], found.of_budget[1], found.in_time) == (np.inf, np.inf, 0.5)
    assert found.duplicates == 1


def test_tuning_takes_the_fewest_pages_that_find_as_much() -> None:
    good, noisy, deaf = scored(page(FIRST + 600)), scored(page(FIRST + 600), page(FIRST + 10)), scored()
    assert scores.tuned({1.0: noisy, 2.0: good, 4.0: deaf}, "md_invalid", noisy) == 2.0
    assert scores.tuned({1.0: noisy, 2.0: good, 4.0: deaf}, "md_invalid", deaf) == 4.0
    assert scores.tuned_by_clock({1.0: noisy, 4.0: deaf}, "md_invalid", noisy) == (1.0, 4.0)


def test_the_bootstrap_draws_days_for_all_systems_alike() -> None:
    one = scored(page(FIRST + 600))
    assert scores.bootstrap([one, one], lambda sums: float(sums[0][0] - sums[1][0]), draws=20) == (0, 0)


def test_a_level_that_tells_too_late_counts_as_deaf_where_time_does() -> None:
    soon, late = scored(page(FIRST + 600), page(FIRST + 10)), scored(page(FIRST + 610))
    assert scores.tuned({1.0: soon, 2.0: late}, "md_invalid", soon) == 2.0
    assert scores.tuned({1.0: soon, 2.0: late}, "md_invalid", soon, within=1) == 1.0


def findings(
    faulty: Mapping[str, scores.Score], quiet: Mapping[str, scores.Score], afterwards: Mapping[str, scores.Score]
) -> written.Findings:
    plain = {what: {each.name: faulty[each.name] for each in PLAIN} for what in TUNINGS}
    parts = {each.name: faulty[shipped().name] for each in ablations()}
    cases = [scores.Case(each.fault, True, 120.0, Regime.NORMAL) for each in INCIDENTS]
    dated = dict.fromkeys(faulty, scores.score(Run((), 0, 0), cases, FIRST, FIRST + WEEK))
    return written.Findings(
        SYSTEMS, faulty, quiet, dated, plain, plain, parts, parts, afterwards, dict.fromkeys(afterwards, scored())
    )


def test_a_target_that_is_missed_is_said_to_be() -> None:
    quiet, loud = scored(page(FIRST + 600)), scored(*[page(FIRST + each) for each in range(600, 610)])
    faulty = {each.name: quiet for each in SYSTEMS} | {shipped().name: loud}
    twice = scored(page(FIRST + 600), page(FIRST + 601))
    found = findings(faulty, dict.fromkeys(faulty, loud), {"static": twice, "deaf": scored()})
    ratio, plainly, afterwards, soon, never, calm = written.targets(found)
    assert (ratio.measured, ratio.holds, plainly.measured, plainly.holds) == (10, False, 10, False)
    assert (afterwards.measured, afterwards.holds) == (5, False)
    assert (soon.holds, never.holds, calm.holds) == (True, False, False)


def test_the_best_baseline_is_not_one_that_is_silent_because_it_is_deaf() -> None:
    good, deaf = scored(page(FIRST + 600), page(FIRST + 601)), scored()
    faulty = {shipped().name: good, "good": good, "deaf": deaf}
    assert written.best_of(faulty, ["good", "deaf"]) == "good"
    assert written.best_of({**faulty, "good": deaf}, ["good", "deaf"]) == "good"


@st.composite
def signals(draw: st.DrawFn) -> tuple[list[float], int, int]:
    values = draw(st.lists(st.sampled_from([0.0, 0.7, 1.0]), min_size=1, max_size=25))
    return values, draw(st.integers(0, 3)), draw(st.integers(0, 3))


@given(signals())
def test_a_plain_alert_fires_when_the_projects_own_evaluation_of_the_same_rule_does(
    drawn: tuple[list[float], int, int],
) -> None:
    values, lasting, clear_after = drawn
    (rule,) = [each for each in shipped().policy.rules if each.id == "missing_fill"]
    (condition,) = rule.any
    condition = condition.model_copy(update={"lasting": 60.0 * lasting})
    policy = policy_of([rule.model_copy(update={"any": (condition,), "clear_after": 60.0 * clear_after})])
    context = constant_context(around(), FIRST)
    states: Mapping[Key, State] = {}
    expected = []
    for minute, value in enumerate(values):
        now = around().world.at(FIRST + minute)
        result = evaluate(policy, [Observation("fill_breaks", VENUE, value, now)], context, states, now)
        states = result.states
        expected.append(any(each.fires for each in result.evaluations))
    signal = np.array(values)
    lasts = np.full(len(values), 60.0 * lasting)
    assert list(firing_of(signal >= 1, signal <= 0.5, lasts, 60.0 * clear_after)) == expected


def test_alertmanager_tells_once_until_it_has_looked_and_found_it_resolved() -> None:
    firing = np.zeros(30, bool)
    firing[[2, 3, 6, 7, 20]] = True  # looked at again at 7, still firing, and at 12
    assert notified(firing) == [2, 20]
    assert notified(np.ones(30, bool)) == [0]
    firing[2 + GROUP_INTERVAL] = False
    assert notified(firing) == [2, 20]
    firing[9] = True
    assert notified(firing) == [2, 9, 20]


def test_a_plain_file_tells_of_both_faults_and_pages_each_subject_by_itself() -> None:
    begin, end = FIRST + 590, FIRST + 1_000
    run_of = PLAIN[0].run(around(), begin, end)
    found = scores.score(run_of, scores.cases_of(around(), begin, end), begin, end)
    assert {page.rule for page, matched in zip(run_of.pages, found.matched, strict=True) if matched} == {
        "md_invalid",
        "position_break",
    }
    assert run_of.by_rule is not None
    assert run_of.by_rule <= len(run_of.pages)


def test_where_nothing_was_counted_a_plain_file_has_no_share_to_judge() -> None:
    world = around().world
    share, count = world.values["reject_rate", BOOK].copy(), world.counts["reject_rate", BOOK].copy()
    share[FIRST : FIRST + 30], count[FIRST : FIRST + 30] = 1.0, 0.0
    count[FIRST + 20 : FIRST + 30] = 1.0
    values, counts = world.values | {("reject_rate", BOOK): share}, world.counts | {("reject_rate", BOOK): count}
    changed = replace(around(), world=replace(world, values=values, counts=counts))
    pages = [each for each in PLAIN[0].run(changed, FIRST, FIRST + 60).pages if each.subject == BOOK]
    assert [(each.rule, each.minute) for each in pages] == [("reject_rate", FIRST + 21)]


def test_every_part_that_is_taken_out_changes_the_rules_or_what_they_are_told() -> None:
    own = shipped()
    for system in ablations():
        told = system.context is not own.context or system.apart
        assert told or system.policy.sha256 != own.policy.sha256
    assert len({each.name for each in ablations()}) == len(ablations())


def test_without_parents_two_markets_of_one_cause_are_two_pages() -> None:
    both = [
        Fault(Kind.BAD_PRICE, Subject(VENUE.venue, instrument=each), FIRST + 600, FIRST + 615, 250.0)
        for each in SYMBOLS
    ]
    world = injected(sound_weeks(3, WEEKS + 1), both, 3)
    changed = replace(around(), world=world)
    (apart,) = [each for each in ablations() if each.apart]
    together, alone = (
        [page.rule for page in run(changed, system, FIRST + 595, FIRST + 620).pages] for system in (shipped(), apart)
    )
    assert together.count("md_invalid") == 1
    assert alone.count("md_invalid") == 2


def test_the_page_says_what_was_found_and_what_was_not() -> None:
    names = [each.name for each in SYSTEMS]
    found = dict.fromkeys(names, scored(page(FIRST + 600), page(FIRST + 10)))
    afterwards = {names[2]: scored(page(FIRST + 600))}

    def told(faulty: Mapping[str, scores.Score]) -> str:
        return written.page(Plan(), findings(faulty, found, afterwards))

    text = told(found)
    assert "| untrue price | `md_invalid` | 1 of 1 |" in text
    assert "| position break | `position_break` | 0 of 1 |" in text
    assert "| `md_invalid` | 1 | 1 | 1 | 1 | 1 |" in text
    assert "| the same, what was missed counted as never | at most 1 | never, missed | never, missed |" in text
    assert "| pages over those of the best plain baseline | at most 0.5 | 1, missed | 1, missed |" in text
    assert "| `missing_fill` | 1 min | 1 min / 0 min | 1 min |" in text
    assert f"| {names[2]} | 50% | 100% | 1 | 0.00 | 50% | 2.00 (" in text
    assert "is not at equal recall" not in text
    deaf = {each.name: scored(page(FIRST + 10)) for each in PLAIN}
    beside = told(found | deaf)
    assert beside.count("is not at equal recall") == 1
    assert "comes nearest is *plain static*, 0%; pages over its pages 2.00" in beside
    for each in [*TUNINGS, *(part.name for part in ablations())]:
        assert f"| {each} | " in text
    for incident in INCIDENTS:
        assert (
            f"| {incident.title} | {incident.figures} ({incident.source}) | 2.0 | – | – | – | – | – | – | – | – |"
            in text
        )


def test_every_dated_incident_names_its_source_and_falls_into_the_week() -> None:
    for incident in INCIDENTS:
        assert len(incident.source) > 10
        assert FIRST <= incident.begin < incident.fault.end <= FIRST + WEEK
