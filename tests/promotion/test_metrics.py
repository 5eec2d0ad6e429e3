"""What the ledger says of promotion as a process: each figure on records that were made for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.promotion.contracts import PROMOTION_METRICS, Metric
from research_to_prod.promotion.metrics import Figure, is_rollback, metrics_table, promotion_metrics
from research_to_prod.promotion.record import Draft, Gate, Record
from research_to_prod.values import digest

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
DAY, WEEK = timedelta(days=1), timedelta(weeks=1)
MakeDraft = Callable[..., Draft]
Move = tuple[float, str, str, str, dict[str, Any]]
"""Days after Monday, candidate, type, "from to", and what else the record says."""
WHY = {"reasons": ["a reason"]}
APPROVED = {
    "approvals": [
        {"key_id": "k", "person": "ann", "envelope_sha256": digest(1), "signed_at": "2026-01-05T00:00:00.000Z"}
    ]
}


def fired(days: float, began: float | None = None) -> dict[str, Any]:
    """What a rollback says of the rule that fired, and what it saw begin, so many days after Monday."""
    trigger = {"rule": "cusum_of_edge", "value": "11.2", "threshold": "9.5", "samples": 40}
    since = {} if began is None else {"began_at": MONDAY + began * DAY}
    return WHY | {"trigger": trigger | since | {"observed_at": MONDAY + days * DAY}}


class Log:
    """Records and the gates that their decisions rest on, without a file."""

    def __init__(self, draft: MakeDraft, moves: Sequence[Move]) -> None:
        self.records: list[Record] = []
        self._gates: dict[int, Sequence[Gate]] = {}
        for seq, (days, candidate, kind, way, more) in enumerate(moves):
            begin, end = way.split()
            made = draft(
                seq,
                **{"candidate": candidate, "candidate_sha256": digest(candidate), "type": kind}
                | {"recorded_at": MONDAY + days * DAY, "from_stage": begin, "to_stage": end}
                | more,
            )
            self._gates[seq] = made.gates
            self.records.append(made.placed(digest("log"), seq, digest(seq)))

    def gates_of(self, record: Record) -> Sequence[Gate]:
        return self._gates[record.seq]

    def figures(self, begin: datetime = MONDAY, end: datetime = MONDAY + 52 * WEEK) -> dict[tuple[str, str], Figure]:
        found = promotion_metrics(self.records, self.gates_of, begin, end)
        return {(str(each.metric), each.item): each for each in found}


@pytest.fixture
def log(draft: MakeDraft) -> Callable[..., Log]:
    return lambda *moves: Log(draft, moves)


def refused_by(*names: str) -> dict[str, Any]:
    gates = [
        {"gate": name, "family": "statistics", "verdict": "fail", "samples": 10, "reason": "too small"}
        for name in names
    ]
    return WHY | {"gates": gates}


TO_LIVE: list[Move] = [
    (0, "a", "reject", "research paper", refused_by("deflated_sharpe")),
    (2, "a", "promote", "research paper", {}),
    (16, "a", "promote", "paper canary", {}),
    (46, "a", "promote", "canary live", {}),
]


def test_lead_time_runs_from_the_first_record_even_a_refusal_to_the_first_arrival(log: Callable[..., Log]) -> None:
    found = log(*TO_LIVE, (60, "a", "promote", "live live", {}), (61, "b", "promote", "research paper", {})).figures()
    assert (found["lead_time", "paper"].value, found["lead_time", "paper"].n) == (1.0, 2)
    assert (found["lead_time", "canary"].value, found["lead_time", "canary"].n) == (16.0, 1)
    assert (found["lead_time", "live"].value, found["lead_time", "live"].n) == (46.0, 1)


def test_an_arrival_counts_in_the_week_in_which_it_happened(log: Callable[..., Log]) -> None:
    week = MONDAY + 2 * WEEK
    found = log(*TO_LIVE).figures(week, week + WEEK)
    assert (found["lead_time", "canary"].value, found["lead_time", "canary"].n) == (16.0, 1)
    assert (found["lead_time", "live"].value, found["lead_time", "live"].n) == (None, 0)
    assert found["lead_time", "live"].what == "not known: no candidate arrived there"
    assert (found["promotions", "all"].value, found["promotions", "canary"].n) == (1.0, 1)


def test_promotions_are_counted_by_week_and_reaffirmations_are_none(log: Callable[..., Log]) -> None:
    found = log(*TO_LIVE, (50, "a", "promote", "live live", {})).figures(end=MONDAY + 10 * WEEK)
    assert (found["promotions", "all"].value, found["promotions", "all"].n) == (pytest.approx(0.3), 3)


def test_refusals_are_counted_by_gate_and_those_of_the_proof_apart(log: Callable[..., Log]) -> None:
    found = log(
        (0, "a", "reject", "research paper", refused_by("pbo", "deflated_sharpe")),
        (1, "b", "reject", "research paper", refused_by("pbo")),
        (2, "c", "reject", "research paper", WHY),
        (3, "d", "promote", "research paper", {}),
    ).figures()
    assert (found["refusals", "all"].value, found["refusals", "all"].n) == (0.75, 4)
    by_gate = {item: figure.value for (metric, item), figure in found.items() if metric == Metric.REFUSED_BY}
    assert by_gate == {"deflated_sharpe": 1.0, "no gate": 1.0, "pbo": 2.0}
    assert found["refused_by", "pbo"].n == 3


def test_a_gate_that_does_not_decide_refuses_nothing(log: Callable[..., Log]) -> None:
    reported = {"gate": "rolling", "family": "robustness", "gating": False, "verdict": "fail", "samples": 1}
    more = WHY | {"gates": [reported | {"reason": "reported"}]}
    assert ("refused_by", "no gate") in log((0, "a", "reject", "research paper", more)).figures()


def test_rollbacks_are_held_against_the_time_that_strategies_traded_money(log: Callable[..., Log]) -> None:
    # Canary from day 16 to 46, live to 89 (73 days), canary again for 73 days: 146 days, two fifths of a year.
    moves = (*TO_LIVE, (89, "a", "rollback", "live canary", fired(88.5)), (162, "a", "demote", "canary paper", WHY))
    found = log(*moves).figures()
    assert (found["rollback_rate", "all"].value, found["rollback_rate", "all"].n) == (pytest.approx(5.0), 2)
    assert found["rollback_rate", "by rule"].value == pytest.approx(2.5)
    assert found["rollback_rate", "by people"].value == pytest.approx(2.5)
    assert (found["rolled_back", "all"].value, found["rolled_back", "all"].n) == (1.0, 1)


def test_a_fall_from_paper_is_no_rollback_from_money(log: Callable[..., Log]) -> None:
    found = log((0, "a", "promote", "research paper", {}), (1, "a", "demote", "paper demoted", WHY)).figures()
    assert found["rollback_rate", "all"].value is None
    assert found["rollback_rate", "all"].what == "not known: no strategy traded money"
    assert found["false_rollbacks", "all"].n == 1


def test_the_end_of_a_halt_is_no_rollback(log: Callable[..., Log]) -> None:
    halted = log(*TO_LIVE, (50, "a", "rollback", "live halted", fired(50)))
    ended = log(
        *TO_LIVE,
        (50, "a", "rollback", "live halted", fired(50)),
        (51, "a", "demote", "halted demoted", WHY | APPROVED),
    )
    assert [is_rollback(each) for each in ended.records[-2:]] == [True, False]
    assert ended.figures()["rollback_rate", "all"].n == halted.figures()["rollback_rate", "all"].n == 1


def test_time_to_roll_back_runs_from_the_reading_to_the_record(log: Callable[..., Log]) -> None:
    found = log(
        *TO_LIVE, (60, "a", "rollback", "live canary", fired(59.5)), (70, "a", "demote", "canary paper", WHY)
    ).figures()
    assert (found["time_to_roll_back", "all"].value, found["time_to_roll_back", "all"].n) == (43_200.0, 1)


def test_detection_takes_from_where_the_rule_saw_it_begin_to_the_reading_that_fired(log: Callable[..., Log]) -> None:
    found = log(
        *TO_LIVE,
        (60, "a", "rollback", "live canary", fired(59.5, began=50.0)),
        (61, "a", "rollback", "canary paper", fired(61)),
    ).figures()
    assert (found["time_to_detect", "all"].value, found["time_to_detect", "all"].n) == (9.5 * 86_400, 1)


def test_a_rule_that_knows_no_beginning_leaves_detection_unknown_and_says_so(log: Callable[..., Log]) -> None:
    found = log(*TO_LIVE, (60, "a", "rollback", "live canary", fired(59.5))).figures()
    assert (found["time_to_detect", "all"].value, found["time_to_detect", "all"].n) == (None, 0)
    assert found["time_to_detect", "all"].what.startswith("not known")


BACK: Move = (60, "a", "rollback", "live canary", fired(60))


def test_a_rollback_is_false_once_the_same_version_is_back(log: Callable[..., Log]) -> None:
    again = log(*TO_LIVE, BACK, (90, "a", "promote", "canary live", APPROVED))
    assert again.figures()["false_rollbacks", "all"].value == 1.0
    assert again.figures(end=MONDAY + 90 * DAY)["false_rollbacks", "all"].value == 0.0


def test_a_rollback_is_false_when_an_override_names_it(log: Callable[..., Log]) -> None:
    named = WHY | {"supersedes": "decision-4", "expires_at": MONDAY + 100 * DAY}
    assert log(*TO_LIVE, BACK, (61, "a", "override", "canary canary", named)).figures()[
        "false_rollbacks", "all"
    ].value == pytest.approx(1.0)
    other = named | {"supersedes": "decision-3"}
    assert (
        log(*TO_LIVE, BACK, (61, "a", "override", "canary canary", other)).figures()["false_rollbacks", "all"].value
        == 0.0
    )


def test_another_version_that_comes_back_refutes_nothing(log: Callable[..., Log]) -> None:
    edited = {"candidate_sha256": digest("edited")}
    moves = [(70 + 20 * n, "a", "promote", way, edited) for n, way in enumerate(("research paper", "paper canary"))]
    found = log(*TO_LIVE, BACK, *moves, (120, "a", "promote", "canary live", edited)).figures()
    assert (found["false_rollbacks", "all"].value, found["false_rollbacks", "all"].n) == (0.0, 1)
    # Its lead time is the candidate's, which was live before.
    assert found["lead_time", "live"].n == 1


def test_without_records_nothing_is_known_but_that_nothing_happened() -> None:
    found = promotion_metrics([], lambda _: [], MONDAY, MONDAY + WEEK)
    assert {str(each.metric) for each in found if each.value is not None} == {"promotions"}
    assert all(each.n == 0 for each in found)
    rows = metrics_table([], lambda _: [], MONDAY)
    assert set(rows["week"].to_pylist()) == {"2026-01-05"}


def test_a_week_before_the_first_record_knows_no_frequency_to_date(log: Callable[..., Log]) -> None:
    made = log(*TO_LIVE)
    rows = metrics_table(made.records, made.gates_of, MONDAY - 2 * WEEK).to_pylist()
    to_date = {row["item"]: row for row in rows if (row["window"], row["metric"]) == ("to_date", "promotions")}
    assert (to_date["all"]["value"], to_date["all"]["n"]) == (None, 0)


@given(st.integers(0, 9))
def test_figures_of_a_past_week_do_not_change_with_what_comes_later(draft: MakeDraft, later: int) -> None:
    moves = [*TO_LIVE, BACK, (90, "a", "promote", "canary live", APPROVED)]
    every, known = Log(draft, moves), Log(draft, moves[: sum(move[0] < 7 * later for move in moves)])
    end = MONDAY + later * WEEK
    for begin in (MONDAY, end - WEEK):
        assert promotion_metrics(every.records, every.gates_of, begin, end) == promotion_metrics(
            known.records, known.gates_of, begin, end
        )


def test_the_rows_are_those_of_the_contract_once_a_figure(log: Callable[..., Log]) -> None:
    made = log(*TO_LIVE, BACK)
    rows = metrics_table(made.records, made.gates_of, MONDAY)
    assert rows.schema.equals(PROMOTION_METRICS.arrow)
    keys = [tuple(row[name] for name in PROMOTION_METRICS.key) for row in rows.to_pylist()]
    assert len(keys) == len(set(keys))
    assert all(value is None or math.isfinite(value) for value in rows["value"].to_pylist())
