"""Burn rates of the desk's own records: an event counts once it is settled, and stays what it was."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.execution.contracts import ORDER_EVENTS, ORDERS
from research_to_prod.market_data.contracts import FETCH_CERTIFICATES
from research_to_prod.market_data.traffic import Heard
from research_to_prod.operations.alerting.burn_measures import Promised, certificate_burn_heard, observe_burns
from research_to_prod.operations.alerting.running_orders import children_of, observe_running
from tests.operations.alerting.book import POLICY, context, firing, held, judged
from tests.operations.alerting.test_day_measures import BTC, END, at, rows

OBJECTIVES = POLICY.settings.objectives
MINUTE = timedelta(minutes=1)


def told(
    moment: datetime = END,
    orders: pa.Table | None = None,
    certificates: Sequence[pa.Table] = (),
    runs: Sequence[Promised] | None = None,
) -> dict[tuple[str, str], tuple[float | None, int | None]]:
    found = observe_burns(orders, certificates, runs, OBJECTIVES, moment)
    return {(o.metric, str(o.subject)): (o.value, o.count) for o in found}


def proofs(*complete: bool, end: datetime = END) -> pa.Table:
    return rows(
        FETCH_CERTIFICATES,
        *({"venue": "sandbox", "interval_end": end, "complete": each, "fetch_id": f"{n} {end}"}
          for n, each in enumerate(complete)),
    )  # fmt: skip


def sent(*answers: float | None, hours: float = 23.5) -> pa.Table:
    """Orders whose outcome was known so many seconds after they were sent."""
    return rows(
        ORDERS,
        *(
            BTC | {"order_id": str(n), "side": 1, "sent_at": at(hours), "acknowledged_at": None}
            | {"ended_at": None if late is None else at(hours) + timedelta(seconds=late)}
            for n, late in enumerate(answers)
        ),
    )  # fmt: skip


def test_of_nothing_nothing_is_told() -> None:
    assert told() == {}


def test_five_incomplete_fetches_of_a_few_burn_the_budget_and_four_do_not() -> None:
    for bad, burn in ((0, 0.0), (4, 0.8), (5, 1.0)):
        table = proofs(*[False] * bad, *[True] * 10)
        assert told(certificates=[table])["certificate_burn", "sandbox"] == (burn, 10 + bad)


def test_a_fetch_that_feeds_two_tables_is_one() -> None:
    table = proofs(False, True)
    assert told(certificates=[table, table])["certificate_burn", "sandbox"] == (0.2, 2)


def test_what_was_not_fetched_within_six_hours_is_not_told() -> None:
    table = proofs(False, True, end=at(17))
    assert told(certificates=[table]) == {}
    assert told(at(22), certificates=[table])["certificate_burn", "sandbox"] == (0.2, 2)


def test_a_fetch_over_a_whole_day_tells_of_the_part_before_the_moment() -> None:
    table = proofs(False, True)
    assert told(at(23), certificates=[table]) == told(certificates=[table])
    assert told(at(-1), certificates=[table]) == {}


def test_live_readings_burn_alike() -> None:
    spells = [Heard(venue="sandbox", at=END - n * MINUTE, fetches=10, incomplete=1) for n in range(5)]
    heard = [*spells, Heard(venue="sandbox", at=at(12), fetches=9, incomplete=9)]
    (found,) = certificate_burn_heard(heard, OBJECTIVES, END)
    assert (found.value, found.count) == (1.0, 50)
    assert not list(certificate_burn_heard([heard[-1]], OBJECTIVES, END))


def test_an_order_counts_half_a_minute_after_it_was_sent_or_when_its_outcome_is_known() -> None:
    orders = sent(None, 31, 29)
    assert told(orders=orders)["outcome_burn", "sandbox"] == (1.0, 3)
    assert told(at(23.5) + timedelta(seconds=29), orders=orders)["outcome_burn", "sandbox"] == (0, 1)
    assert told(at(23), orders=orders) == {}


def test_two_unknown_outcomes_burn_and_one_does_not() -> None:
    assert told(orders=sent(None, *[1] * 20))["outcome_burn", "sandbox"] == (0.5, 21)
    assert told(orders=sent(None, None, *[1] * 20))["outcome_burn", "sandbox"] == (1.0, 22)


@pytest.mark.parametrize(("late", "fires"), [((1, 1), set()), ((None, 40), {"unknown_outcome: outcome_burn"})])
def test_two_lost_answers_make_their_rule_fire_and_no_other(late: tuple[float | None, ...], fires: set[str]) -> None:
    found = observe_burns(sent(*late, *[1] * 20), [proofs(*[True] * 9)], [], OBJECTIVES, END)
    result = judged(found, context(held()), at=END)
    assert {f"{each.case.rule}: {each.metric}" for each in firing(result) if each.known} == fires


def test_an_outcome_that_came_too_late_stays_one() -> None:
    orders = sent(40, 40, 1)
    assert told(orders=orders) == told(orders=sent(None, None, 1))


def test_where_nothing_was_sent_for_six_hours_nothing_burned() -> None:
    assert told(orders=sent(None, hours=3))["outcome_burn", "sandbox"] == (0, 0)


def test_three_late_runs_burn_the_budget_of_the_desk() -> None:
    good = [Promised(at(22), at(22) - MINUTE)] * 6
    late = [Promised(at(22), at(22) + MINUTE), Promised(at(22.5), None), Promised(at(23), None)]
    assert told(runs=[*good, *late])["asset_freshness_burn", "the desk"] == (1.0, 9)
    assert told(runs=[*good, *late[:2]])["asset_freshness_burn", "the desk"] == (pytest.approx(2 / 3), 8)


def test_a_run_that_is_not_due_yet_is_not_late() -> None:
    assert told(at(22) - MINUTE, runs=[Promised(at(22), None)])["asset_freshness_burn", "the desk"] == (0, 0)


def test_a_log_that_does_not_reach_back_tells_nothing_and_one_without_runs_that_none_was_late() -> None:
    assert told(runs=None) == {}
    assert told(runs=[]) == {("asset_freshness_burn", "the desk"): (0, 0)}


def test_a_desk_without_the_objective_has_no_burn() -> None:
    assert observe_burns(sent(None), [proofs(False)], [Promised(END, None)], (), END) == []


@given(st.lists(st.one_of(st.none(), st.integers(0, 120)), min_size=1, max_size=30), st.integers(0, 180))
def test_what_was_learned_after_the_moment_changes_nothing(answers: list[int | None], seconds: int) -> None:
    moment = at(23.5) + timedelta(seconds=seconds)
    known = [each if each is not None and each <= seconds else None for each in answers]
    assert told(moment, orders=sent(*answers)) == told(moment, orders=sent(*known))


def test_the_running_day_s_children_are_measured_as_the_finished_day_s_orders_are() -> None:
    def event(child: str, name: str, seconds: float, quantity: int = 2) -> dict[str, Any]:
        when = at(12) + timedelta(seconds=seconds)
        return BTC | {"child_id": child, "event": name, "received_at": when, "quantity": quantity, "side": 1}

    events = rows(
        ORDER_EVENTS,
        event("a", "sent", 0), event("a", "new", 1), event("a", "fill", 2, 1), event("a", "fill", 5, 1),
        event("b", "sent", 0), event("b", "cancel_sent", 3),
        event("c", "sent", 1), event("c", "rejected", 2),
        event("d", "new", 1),
    )  # fmt: skip
    told_of = [(each["end_reason"], each["acknowledged_at"]) for each in children_of(events).to_pylist()]
    assert told_of == [("filled", at(12) + timedelta(seconds=1)), (None, None), ("rejected", at(12) + 2 * MINUTE / 60)]
    found = {o.metric: o.value for o in observe_running(events, OBJECTIVES, at(12) + MINUTE)}
    assert found["unknown_outcome_age"] == 60
    assert found["outcome_burn"] == 0.5
    assert found["reject_rate"] == pytest.approx(1 / 3)
