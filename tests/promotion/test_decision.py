import math
from dataclasses import replace

import pytest

from research_to_prod.gates.evaluation import Gate, GateReport
from research_to_prod.promotion.decision import already_promoted, decide
from research_to_prod.promotion.record import Case, RecordType
from research_to_prod.values import Stage, Verdict, sha256_hex

PASSED = Gate(
    gate="deflated_sharpe_ratio",
    family="statistics",
    gating=True,
    verdict=Verdict.PASS,
    value=0.97,
    threshold=0.95,
    margin=0.02,
    comparison=">=",
    samples=1088,
    power=0.8,
    minimum_track_record=497.0,
    reason="0.97; required >= 0.95",
    remedy="",
)
FAILED = replace(
    PASSED,
    gate="maximum_drawdown",
    family="risk",
    verdict=Verdict.FAIL,
    value=0.41,
    threshold=0.25,
    margin=-0.16,
    comparison="<=",
    reason="largest fall is 0.41; required <= 0.25",
    remedy="less leverage",
)
UNKNOWN = replace(
    PASSED,
    gate="completeness",
    family="data_quality",
    verdict=Verdict.INCONCLUSIVE,
    value=math.nan,
    margin=None,
    reason="no market's data quality is known",
    remedy="materialize market_quality",
)


@pytest.fixture
def case(draft_fields):
    fields = {name: value for name, value in draft_fields(1).items() if name in Case.model_fields}
    return Case.model_validate(fields)


def report_on(case, *gates):
    return GateReport(case.candidate, case.policy.id, case.policy.sha256, gates)


def test_a_whole_case_with_a_passing_report_is_promoted(case):
    report = report_on(case, PASSED)
    draft = decide(case, report, [])
    assert draft.type is RecordType.PROMOTE
    assert draft.reasons == ()
    assert draft.gate_report_sha256 == sha256_hex(report.canonical_bytes())
    (gate,) = draft.gates
    assert (gate.value, gate.threshold, gate.margin, gate.samples) == ("0.97", "0.95", "0.02", 1088)


def test_a_gate_is_recorded_with_its_remedy_where_there_is_one(case):
    reasons = [gate.reason for gate in decide(case, report_on(case, PASSED, FAILED), ()).gates]
    assert reasons == ["0.97; required >= 0.95", "largest fall is 0.41; required <= 0.25; remedy: less leverage"]


def test_the_same_case_and_report_give_the_same_bytes(case):
    report = report_on(case, PASSED, FAILED)
    assert decide(case, report, ["x"]).canonical_bytes() == decide(case, report, ["x"]).canonical_bytes()


def test_a_rejection_carries_every_reason(case):
    draft = decide(case, report_on(case, PASSED, FAILED, UNKNOWN), ["candles[2023-01]: stale", "gate_report: runless"])
    assert draft.type is RecordType.REJECT
    assert draft.reasons == (
        "candles[2023-01]: stale",
        "gate_report: runless",
        "gate maximum_drawdown: fail: largest fall is 0.41; required <= 0.25; remedy: less leverage",
        "gate completeness: inconclusive: no market's data quality is known; remedy: materialize market_quality",
        "the gate report's verdict is fail",
    )
    assert len(draft.gates) == 3


def test_what_was_not_measured_is_absent_and_not_a_number(case):
    draft = decide(case, report_on(case, PASSED, UNKNOWN), [])
    assert draft.gates[1].value is None
    assert b"NaN" not in draft.canonical_bytes()


def test_a_refused_proof_rejects_even_when_all_gates_pass(case):
    draft = decide(case, report_on(case, PASSED), ["check missing"])
    assert (draft.type, draft.reasons) == (RecordType.REJECT, ("check missing",))


def test_an_inconclusive_gate_rejects(case):
    assert decide(case, report_on(case, PASSED, UNKNOWN), []).type is RecordType.REJECT


def test_a_figure_beside_the_gates_neither_promotes_nor_rejects(case):
    beside = replace(FAILED, gating=False)
    assert decide(case, report_on(case, PASSED, beside), []).type is RecordType.PROMOTE
    assert decide(case, report_on(case, beside), []).type is RecordType.REJECT


def test_a_missing_report_rejects(case):
    draft = decide(case, None, [])
    assert draft.type is RecordType.REJECT
    assert "the gate report is missing" in draft.reasons
    assert draft.gate_report_sha256 is None


def test_a_report_without_gates_rejects(case):
    draft = decide(case, report_on(case), [])
    assert draft.type is RecordType.REJECT
    assert "no gating gates are recorded" in draft.reasons


@pytest.mark.parametrize("name", ["inputs", "checks"])
def test_a_case_without_proof_is_rejected_even_when_nothing_was_refused(case, name):
    draft = decide(case.model_copy(update={name: ()}), report_on(case, PASSED), [])
    assert (draft.type, draft.reasons) == (RecordType.REJECT, (f"no {name} are recorded",))


def test_a_failed_check_rejects_even_when_nothing_was_refused(case):
    failed = case.checks[0].model_copy(update={"passed": False})
    draft = decide(case.model_copy(update={"checks": (failed,)}), report_on(case, PASSED), [])
    assert draft.reasons == ("check complete of candles[2023-01] failed",)


@pytest.mark.parametrize("name", ["n_trials", "trial_ledger_head"])
def test_an_unknown_number_of_trials_rejects(case, name):
    draft = decide(case.model_copy(update={name: None}), report_on(case, PASSED), [])
    assert draft.type is RecordType.REJECT


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"candidate": "another"}, "candidate another, not c1"),
        ({"policy_sha256": "0" * 64}, "policy hash 000"),
        ({"policy_id": "paper_to_canary"}, "policy paper_to_canary"),
    ],
)
def test_a_report_on_something_else_rejects(case, changes, says):
    draft = decide(case, replace(report_on(case, PASSED), **changes), [])
    assert draft.type is RecordType.REJECT
    assert says in draft.reasons[0]


def test_a_decision_goes_into_the_ledger(case, ledger):
    report = report_on(case, PASSED)
    assert ledger.append(decide(case, report, []), [report.canonical_bytes()]).type is RecordType.PROMOTE


def test_promotion_on_the_same_evidence_is_recognised(ledger, draft):
    refused = ledger.append(draft(0, type="reject", reasons=["stale"]))
    assert lookup(ledger, refused) is None
    promoted = ledger.append(draft(1))
    assert lookup(ledger, promoted) == promoted
    others = (
        {"candidate": "c2"},
        {"candidate_sha256": "0" * 64},
        {"to_stage": Stage.CANARY},
        {"gate_report_sha256": "0" * 64},
    )
    assert [lookup(ledger, promoted, **other) for other in others] == [None] * 4


def lookup(ledger, record, **other):
    names = ("candidate", "candidate_sha256", "to_stage", "gate_report_sha256")
    return already_promoted(ledger.records(), **({name: getattr(record, name) for name in names} | other))


def of(record, **changes):
    return {"candidate": record.candidate, "candidate_sha256": record.candidate_sha256} | changes


def test_reaffirmation_on_new_evidence_leaves_the_old_recognised(ledger, draft):
    first = ledger.append(draft(1))
    second = ledger.append(draft(2, **of(first, from_stage="paper")))
    assert lookup(ledger, first) == first
    assert lookup(ledger, second) == second


@pytest.mark.parametrize("away", ["demoted", "halted"])
def test_a_demoted_candidate_is_not_promoted_by_its_old_evidence(ledger, draft, away):
    first = ledger.append(draft(1))
    ledger.append(draft(2, type="demote", reasons=["loss"], **of(first, from_stage="paper", to_stage=away)))
    assert lookup(ledger, first) is None


def test_a_candidate_sent_back_a_stage_is_not_promoted_by_its_old_evidence(ledger, draft):
    first = ledger.append(draft(1))
    ledger.append(draft(2, **of(first, from_stage="paper", to_stage="canary")))
    ledger.append(draft(3, type="demote", reasons=["loss"], **of(first, from_stage="canary", to_stage="paper")))
    assert lookup(ledger, first) is None


def test_a_replaced_version_is_not_promoted_by_its_old_evidence(ledger, draft):
    first = ledger.append(draft(1))
    ledger.append(draft(2, candidate=first.candidate))
    assert lookup(ledger, first) is None
