import time
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from pydantic import BaseModel, ValidationError

from research_to_prod.promotion.record import (
    GENESIS,
    Draft,
    Evidence,
    Gate,
    Limits,
    Record,
    describe,
    number_text,
    to_utc_millis,
)
from research_to_prod.promotion.verifier import parse_record
from research_to_prod.values import Stage, StrategyType, Verdict, canonical_json, sha256_hex

SHA256 = st.binary(min_size=32, max_size=32).map(bytes.hex)
TEXT = st.text(min_size=1, max_size=20)
COUNT = st.integers(0, 2**53 - 1)
NUMBER = st.floats(allow_nan=False, allow_infinity=False).map(number_text) | st.integers().map(number_text)


CODE = {"package_sha256": GENESIS, "lockfile_sha256": GENESIS, "version": "1"}
TRIGGER = {"rule": "r", "value": "1", "threshold": "2", "samples": 3, "observed_at": "2026-01-01T00:00:00.000Z"}


def optional(strategy: SearchStrategy) -> SearchStrategy:
    return st.none() | strategy


GATES = st.fixed_dictionaries(
    {
        "gate": TEXT,
        "family": TEXT,
        "gating": st.booleans(),
        "verdict": st.sampled_from(Verdict),
        "value": optional(NUMBER),
        "threshold": optional(NUMBER),
        "margin": optional(NUMBER),
        "samples": COUNT,
        "reason": st.text(max_size=40),
    }
)
INPUTS = st.fixed_dictionaries(
    {
        "asset": TEXT,
        "partition": optional(TEXT),
        "lake_version": COUNT,
        "content_sha256": SHA256,
        "rows": COUNT,
        "run_id": TEXT,
        "storage_id": COUNT,
    }
)
CHECKS = st.fixed_dictionaries(
    {
        "asset": TEXT,
        "check": TEXT,
        "partition": optional(TEXT),
        "passed": st.booleans(),
        "run_id": TEXT,
        "storage_id": COUNT,
    }
)
EVIDENCE = st.fixed_dictionaries(
    {
        "inputs": st.lists(INPUTS, max_size=2),
        "checks": st.lists(CHECKS, max_size=2),
        "gates": st.lists(GATES, max_size=2),
    }
)
REJECTIONS = st.fixed_dictionaries(
    {
        "v": st.just(2),
        "log_id": SHA256,
        "seq": COUNT,
        "prev": SHA256,
        "type": st.just("reject"),
        "decision_id": TEXT,
        "recorded_at": st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=9))])).filter(
            lambda at: 1 < at.year < 9999
        ),
        "candidate": TEXT,
        "candidate_sha256": SHA256,
        "strategy": TEXT,
        "strategy_type": st.sampled_from(StrategyType),
        "from_stage": st.sampled_from(Stage),
        "to_stage": st.sampled_from(Stage),
        "policy": st.fixed_dictionaries({"id": TEXT, "version": TEXT, "sha256": SHA256}),
        "code": st.fixed_dictionaries({"package_sha256": SHA256, "lockfile_sha256": SHA256, "version": TEXT}),
        "parameters_sha256": SHA256,
        "evidence_sha256": SHA256,
        "reasons": st.lists(TEXT, min_size=1, max_size=3),
        "gate_report_sha256": optional(SHA256),
        "n_trials": optional(COUNT),
        "trial_ledger_head": optional(TEXT),
        "author": TEXT,
        "dagster": st.fixed_dictionaries({"run_id": TEXT, "instance_id": optional(TEXT)}),
    }
)


@given(REJECTIONS, EVIDENCE)
def test_records_and_evidence_survive_their_canonical_bytes_and_these_are_those_of_rfc_8785(fields, evidence):
    for value in (Record.model_validate(fields), Evidence.model_validate(evidence)):
        data = value.canonical_bytes()
        assert type(value).from_canonical_bytes(data) == value
        assert data == canonical_json(value.model_dump(mode="json", exclude_none=True))


@given(REJECTIONS)
def test_the_verifier_reads_every_record_that_the_models_write(fields):
    record = Record.model_validate(fields)
    assert parse_record(record.canonical_bytes()) == record.model_dump(mode="json", exclude_none=True)


def test_canonical_bytes_are_frozen(draft):
    # A change of these bytes would take every record ever made out of its tree.
    record = draft(1).placed(GENESIS, 0, GENESIS)
    sha = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    evidence = (
        '{"checks":[{"asset":"candles","check":"complete","partition":"2023-01","passed":true,"run_id":"run-1",'
        '"storage_id":12}],"gates":[{"family":"statistics","gate":"deflated_sharpe","gating":true,"margin":"0.02",'
        '"reason":"0.97 >= 0.95","samples":1088,"threshold":"0.95","value":"0.97","verdict":"pass"}],"inputs":'
        '[{"asset":"candles","content_sha256":"SHA","lake_version":3,"partition":"2023-01","rows":744,"run_id":"run-1",'
        '"storage_id":11}]}'
    ).replace("SHA", sha)
    assert draft(1).evidence.canonical_bytes().decode() == evidence
    assert record.canonical_bytes().decode() == (
        '{"algo_id":"c1","author":"ann","candidate":"c1","candidate_sha256":"SHA","code":{"lockfile_sha256":"SHA",'
        '"package_sha256":"SHA","version":"0.1.0"},"dagster":{"run_id":"run-2"},"decision_id":"decision-1",'
        '"evidence_sha256":"EVIDENCE","from_stage":"research","gate_report_sha256":"SHA","limits":{"capital":"250000",'
        '"currency":"USDT","instruments":[{"symbol":"BTC/USDT","venue":"sandbox"}]},"log_id":"GENESIS","n_trials":40,'
        '"parameters_sha256":"SHA","policy":{"id":"research_to_paper","sha256":"SHA","version":"1"},"prev":"GENESIS",'
        '"reasons":[],"recorded_at":"2026-01-01T00:00:01.000Z","seq":0,"strategy":"momentum","strategy_type":"swing",'
        '"to_stage":"paper","trial_ledger_head":"SHA","type":"promote","v":2}'
    ).replace("SHA", sha).replace("GENESIS", GENESIS).replace("EVIDENCE", sha256_hex(evidence.encode()))


@pytest.mark.parametrize(
    "respell",
    [
        lambda data: data.replace(b'"author":"ann"', b'"author": "ann"'),
        lambda data: data.replace(b'"author":"ann"', b'"author":"bob","author":"ann"'),
        lambda data: data.replace(b'"author":"ann"', b'"author":"\\u0061nn"'),
        lambda data: data.replace(b'"rows":744', b'"rows":7.44e2'),
        lambda data: data.replace(b"00:00:01.000Z", b"00:00:01Z"),
        lambda data: data.replace(b'"reasons":[]', b'"reasons":[],"extra":null'),
        lambda data: data.replace(b'"run_id":"run-2"', b'"instance_id":null,"run_id":"run-2"'),
    ],
)
def test_another_spelling_of_the_same_draft_is_refused(draft, respell):
    data = draft(1).canonical_bytes()
    assert Draft.from_canonical_bytes(data) == draft(1)
    assert respell(data) != data
    with pytest.raises(
        ValueError, match=r"^not in canonical form \(RFC 8785, absent fields left out\)$|Extra inputs|valid integer"
    ):
        Draft.from_canonical_bytes(respell(data))


def test_a_record_says_what_its_draft_decided_and_is_approved_by_the_same_digest(draft):
    decided = draft(1)
    record = decided.placed(GENESIS, 7, GENESIS)
    assert record.decided() == decided.decided()
    assert record.decision_digest() == decided.decision_digest()
    assert record.sha256 == sha256_hex(record.canonical_bytes())
    assert record.model_dump(mode="json", exclude_none=True) == decided.decided() | {
        "v": 2, "log_id": GENESIS, "seq": 7, "prev": GENESIS
    }  # fmt: skip


def test_an_unknown_field_is_refused_by_name(draft):
    with pytest.raises(ValidationError, match="override"):
        draft(1, override="yes")
    with pytest.raises(ValidationError, match="branch"):
        draft(1, code={"package_sha256": GENESIS, "lockfile_sha256": GENESIS, "version": "1", "branch": "abc"})


@pytest.mark.parametrize("value", ["nan", "NaN", "inf", "-Infinity", "1e400", "", "0,97", "0.970", "1e0", "٣", "+1"])
def test_a_number_that_is_not_finite_or_not_in_shortest_form_is_refused(value):
    with pytest.raises(ValidationError, match=r"not a finite number|not in shortest form"):
        Gate(gate="g", family="risk", verdict="pass", value=value, samples=1, reason="")


@pytest.mark.parametrize("value", ["-1", "0", "0.97", "-0.5", "1e-07", "2.0"])
def test_a_number_in_shortest_form_is_taken_as_it_is(value):
    assert Gate(gate="g", family="risk", verdict="pass", value=value, samples=1, reason="").value == value


@pytest.mark.parametrize("value", [0.97, float("nan"), 1])
def test_a_json_number_where_text_belongs_is_refused(value):
    with pytest.raises(ValidationError, match="valid string"):
        Gate(gate="g", family="risk", verdict="pass", value=value, samples=1, reason="")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_number_text_refuses_what_was_not_measured(value):
    with pytest.raises(ValueError, match="not a finite number"):
        number_text(value)


def test_number_text_of_a_narrow_float_is_that_of_the_number_it_is():
    assert number_text(np.float32(0.1)) == "0.10000000149011612"
    assert number_text(None) is None


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_number_text_reads_back_as_the_same_number(value):
    assert float(number_text(value)) == value


@pytest.mark.parametrize("amount", ["250000.00", Decimal("2.5E+5"), "250000", Decimal(250000)])
def test_capital_is_a_plain_decimal_whatever_its_spelling(amount):
    assert Limits(instruments=(), capital=amount).capital == "250000"


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-5", "much", "", 250000.0, Decimal("NaN")])
def test_capital_that_is_no_amount_is_refused(amount):
    with pytest.raises(ValidationError, match="capital"):
        Limits(instruments=(), capital=amount)


def test_a_time_without_zone_is_refused(draft):
    with pytest.raises(ValidationError, match="no time zone"):
        draft(1, recorded_at=datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None))


def test_times_are_utc_and_floored_to_the_millisecond(draft):
    tokyo = datetime(2026, 1, 1, 9, 0, 0, 1999, timezone(timedelta(hours=9)))
    assert draft(1, recorded_at=tokyo).recorded_at == datetime(2026, 1, 1, 0, 0, 0, 1000, UTC)


def test_times_are_utc_wherever_they_are_written(monkeypatch):
    try:
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        assert to_utc_millis(datetime(2026, 1, 1, tzinfo=UTC)).isoformat() == "2026-01-01T00:00:00+00:00"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_rejection_without_reasons_is_refused(draft):
    with pytest.raises(ValidationError, match="without reasons"):
        draft(1, type="reject")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"reasons": ["stale"]}, "stale"),
        ({"inputs": []}, "no inputs"),
        ({"checks": []}, "no checks"),
        ({"gates": []}, "no gating gates"),
        ({"gate_report_sha256": None}, "gate report is missing"),
        ({"n_trials": None}, "number of trials is missing"),
        ({"trial_ledger_head": None}, "trial ledger head is missing"),
        ({"algo_id": None}, "algorithm's id is missing"),
        ({"code": CODE | {"dirty": True}, "from_stage": "paper", "to_stage": "canary"}, "not committed"),
        ({"code": CODE | {"dirty": True}, "from_stage": "canary", "to_stage": "live"}, "not committed"),
        ({"validator": "user:Ann"}, "both its author and its validator"),
        ({"expires_at": "2026-01-01T00:00:01.000Z"}, "expired"),
        ({"trigger": TRIGGER}, "names the trigger"),
        ({"type": "rollback", "reasons": ["loss"], "trigger": None}, "names the trigger"),
        ({"type": "override", "reasons": ["false alarm"], "supersedes": "decision-0", "expires_at": None}, "ends"),
        ({"type": "override", "reasons": ["false alarm"]}, "the decision that it sets aside"),
    ],
)
def test_a_decision_that_its_own_contents_refuse_cannot_be_made(draft, changes, says):
    with pytest.raises(ValidationError, match=says):
        draft(1, **changes)


def test_everything_that_refuses_a_promotion_is_said_at_once(draft):
    with pytest.raises(ValidationError) as found:
        draft(1, inputs=[], checks=[])
    refused = "a promotion that its own contents refuse: no"
    assert describe(found.value) == f"it: Value error, {refused} inputs are recorded; {refused} checks are recorded"


def test_code_that_was_not_committed_may_promote_to_paper_and_the_record_says_so(draft):
    assert draft(1, code=CODE | {"dirty": True}).code.dirty is True


@pytest.mark.parametrize("verdict", ["fail", "inconclusive"])
def test_a_promotion_over_a_gate_that_does_not_pass_cannot_be_made(draft, draft_fields, verdict):
    gate = draft_fields(1)["gates"][0] | {"verdict": verdict}
    with pytest.raises(ValidationError, match=f"gate deflated_sharpe: {verdict}"):
        draft(1, gates=[gate])


def test_a_figure_beside_the_gates_does_not_decide(draft, draft_fields):
    gate = draft_fields(1)["gates"][0]
    beside = gate | {"gate": "psr_2025", "verdict": "fail", "gating": False}
    assert draft(1, gates=[gate, beside]).type == "promote"
    with pytest.raises(ValidationError, match="no gating gates"):
        draft(1, gates=[beside])


def test_a_promotion_over_a_failed_check_cannot_be_made(draft, draft_fields):
    check = draft_fields(1)["checks"][0] | {"passed": False}
    with pytest.raises(ValidationError, match=r"check complete of candles\[2023-01\] failed"):
        draft(1, checks=[check])


def test_what_a_record_lacks_is_named_field_by_field_in_one_line():
    class Two(BaseModel):
        inner: dict[str, int]
        other: int

    with pytest.raises(ValidationError) as found:
        Two.model_validate({"inner": {"a": "x"}})
    integer = "Input should be a valid integer, unable to parse string as an integer"
    assert describe(found.value) == f"inner.a: {integer}; other: Field required"
    with pytest.raises(ValidationError) as found:
        Two.model_validate(5)
    assert describe(found.value).startswith("it: Input should be")
