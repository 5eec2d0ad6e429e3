"""What was judged can be judged again from its row alone: the same bytes, whoever does it and whenever."""

from __future__ import annotations

import itertools
import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_to_prod.market_data.liquidity import Regime
from research_to_prod.operations.alerting.contracts import ALERT_EVALUATIONS
from research_to_prod.operations.alerting.evaluation import Key, Observation, State
from research_to_prod.operations.alerting.records import ReplayError, replay, row_of, table_of
from research_to_prod.operations.alerting.situation import Subject
from tests.operations.alerting.book import ACCOUNT, BTC, ETH, NOON, POLICY, VENUE, context, held, judged, reading

values = st.one_of(st.none(), st.floats(), st.floats(0, 1e6))
subjects = st.sampled_from([BTC, ETH, VENUE, ACCOUNT, Subject(), Subject(strategy="momentum"), Subject(key="USDC")])
readings = st.builds(
    lambda metric, subject, value, count, usual, ago: reading(
        metric, value, subject, NOON - timedelta(seconds=ago), count=count, usual=usual
    ),
    st.sampled_from(sorted(POLICY.metrics)),
    subjects,
    values,
    st.one_of(st.none(), st.integers(0, 1000)),
    values,
    st.integers(0, 4000),
)
books = st.lists(
    st.builds(lambda net, orders, use: held(net, working_orders=orders, margin_use=use), values.filter(
        lambda each: each is None or math.isfinite(each)), st.integers(0, 2), st.one_of(st.none(), st.floats(0, 1))),
    max_size=3,
)  # fmt: skip


@settings(max_examples=40)
@given(
    st.lists(readings, max_size=8, unique_by=lambda each: (each.metric, each.subject)),
    books,
    st.sampled_from(Regime),
    st.lists(st.sampled_from(["weekend", "maintenance", "funding"]), unique=True),
)
def test_every_row_judged_again_is_the_same_to_the_byte(
    given_readings: list[Observation], book: list[Any], regime: Regime, events: list[str]
) -> None:
    now = context(*book, regime=regime, events=tuple(events), watched={"market": (BTC, ETH), "account": (ACCOUNT,)})
    states: dict[Key, State] = {}
    for minutes in (0, 2):
        at = NOON + timedelta(minutes=minutes)
        result = judged(given_readings, now, states, at)
        states = dict(result.states)
        table = ALERT_EVALUATIONS.conform(table_of(result.evaluations, POLICY), f"{NOON:%Y-%m-%d}")
        for row in table.to_pylist():
            again = replay(row, POLICY)
            assert again == row
            assert again["inputs"].encode() == row["inputs"].encode()


def test_the_order_of_what_was_measured_does_not_matter() -> None:
    found = [reading("market_data_age", 9, BTC), reading("venue_not_ok", 1, VENUE), reading("basis", 70, ETH)]
    table = table_of(judged(found, context(held())).evaluations, POLICY)
    for order in itertools.permutations(found):
        assert table_of(judged(order, context(held())).evaluations, POLICY).equals(table)


def test_under_other_rules_nothing_is_said_to_be_replayed() -> None:
    row = row_of(judged([reading("basis", 70)], context()).evaluations[0], POLICY)
    with pytest.raises(ReplayError, match="judged under the rules 000000000000"):
        replay(row | {"policy_sha256": "0" * 64}, POLICY)


def test_inputs_that_were_touched_are_told_apart_or_not_read() -> None:
    (row,) = [
        row_of(each, POLICY)
        for each in judged([reading("market_data_age", 9.5)], context(held())).evaluations
        if each.case.rule == "md_stale"
    ]
    assert row["inputs"].count("9.5") == 1
    assert replay(row | {"inputs": row["inputs"].replace("9.5", "0.5")}, POLICY) != row
    with pytest.raises(ReplayError, match="md_stale on sandbox"):
        replay(row | {"inputs": row["inputs"].replace('"readings"', '"reading"')}, POLICY)
