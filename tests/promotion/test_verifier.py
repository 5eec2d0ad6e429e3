"""The verifier stands alone, so what it must share with the package is held together here."""

import base64
import types
import typing
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from research_to_prod.promotion import record as models
from research_to_prod.promotion import stages, verifier
from research_to_prod.promotion.keys import KeyRole, PublicKey
from research_to_prod.promotion.ledger import LedgerError
from research_to_prod.promotion.record import Change, RecordType
from research_to_prod.values import Stage, StrategyType, digest

FORMS = {
    "promote": models.Record,
    "reject": models.Record,
    "demote": models.Record,
    "rollback": models.Record,
    "override": models.Record,
    "policy": models.Policy,
    "code": models.CodeIdentity,
    "limits": models.Limits,
    "instrument": models.Instrument,
    "dagster": models.Dagster,
    "trigger": models.Trigger,
    "approval": models.Approval,
    "public_key": PublicKey,
}


@pytest.mark.parametrize("form", FORMS)
def test_the_verifier_and_the_models_know_the_same_fields(form):
    fields = FORMS[form].model_fields
    optional = {name for name, field in fields.items() if not field.is_required()} - {"v", "algorithm"}
    assert set(verifier._FIELDS[form]) == set(fields)
    assert set(fields) - verifier._NEEDED[form] == optional
    for name, kind in verifier._FIELDS[form].items():
        inner = [each for each in annotations(fields[name].annotation) if issubclass(each, BaseModel)]
        assert [FORMS.get(kind.strip("[]"))] == inner or (inner == [] and kind.strip("[]") not in FORMS)


def annotations(annotation):
    """The classes that an annotation is made of."""
    inner = [each for part in typing.get_args(annotation) for each in annotations(part)]
    return (
        [annotation, *inner]
        if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias)
        else inner
    )


def test_the_changes_have_their_fields_too():
    known = {*verifier._FIELDS["key_change"], *verifier._FIELDS["policy_change"]}
    assert known == set(models.ChangeRecord.model_fields)
    assert set(models.KeyEntry.model_fields) == set(PublicKey.model_fields)


def test_the_verifier_and_the_enums_know_the_same_words():
    words = {"stage": Stage, "strategy_type": StrategyType, "role": KeyRole}
    assert {kind: set(verifier.KINDS[kind].split("|")) for kind in words} == {
        kind: {each.value for each in enum} for kind, enum in words.items()
    }
    assert {form for form in verifier.FORMS if verifier.FORMS[form].startswith("v:")} == {
        each.value for each in RecordType
    }


def test_the_verifier_and_the_stages_have_one_table_of_transitions():
    assert {kind: {(a.value, b.value) for a, b in moves} for kind, moves in stages.LEGAL.items()} == verifier.LEGAL
    assert set(verifier.TRADING) == set(stages.TRADING)


MOVE = st.tuples(
    st.sampled_from([*stages.LEGAL, RecordType.REJECT]), st.integers(0, 7), st.integers(0, 1), st.booleans()
)


@settings(max_examples=60, deadline=None)
@given(st.lists(MOVE, min_size=5, max_size=25))
def test_the_verifier_lets_a_candidate_move_exactly_where_the_stages_do(draft, moves):
    log, state = verifier.Log({}, lambda _: b"null"), stages.Standing()
    template, versions = draft(1).placed(models.GENESIS, 0, models.GENESIS), [digest("a"), digest("b")]
    person = models.Approval(key_id="k", person="ada", envelope_sha256=digest(1), signed_at=template.recorded_at)
    for kind, way, version, approved in moves:
        current = state.stage("c", versions[version])
        ways = sorted(stages.LEGAL[RecordType.PROMOTE if kind is RecordType.REJECT else kind])
        onward = [move for move in ways if move[0] is current] or ways
        start, end = onward[way % len(onward)] if way < 6 else ways[way % len(ways)]
        changes = {"type": kind, "candidate": "c", "candidate_sha256": versions[version], "from_stage": start}
        changes |= {"to_stage": end, "approvals": (person,) if approved else None}
        moved = template.model_copy(update=changes)
        told = moved.model_dump(mode="json", exclude_none=True)
        refusals = [each for each in log._illegal(told) if "c " in each or "leads c" in each]
        try:
            state.advance(moved)
        except stages.IllegalTransitionError:
            assert refusals
        else:
            assert not refusals
            log._apply(told)
            log._evidence.clear()
    for each in versions:
        assert log._stages.get(("c", each), "research") == state.stage("c", each).value


def change(kind, at, **fields):
    return Change.model_validate(
        {"type": kind, "decision_id": f"{kind}-{at}", "recorded_at": at, "author": "ann", "reasons": ["because"]}
        | fields
    )


def test_a_changed_policy_is_in_force_from_its_record_on(ledger, draft):
    first = ledger.append(draft(1))
    other = draft(2).policy
    assert other.sha256 != first.policy.sha256
    at = first.recorded_at + timedelta(seconds=1)
    recorded = ledger.record_change(change("policy_change", at, policy=other), [b"2"])
    assert (recorded.seq, ledger.verify().changes) == (1, (recorded,))
    with pytest.raises(LedgerError, match=f"policy research_to_paper in force is {other.sha256}"):
        ledger.append(draft(3))
    assert ledger.append(draft(4, policy=other)).seq == 2
    assert [record.seq for record in ledger.records()] == [0, 2]


def test_a_log_can_end_a_key_and_then_that_key_signs_nothing(ledger, draft, keys):
    first = ledger.append(draft(1))
    ((name, entry),) = keys.public.items()
    end = first.recorded_at + timedelta(minutes=1)
    ended = entry.model_copy(update={"valid_to": end}).model_dump()
    ledger.record_change(change("key_change", first.recorded_at, key_id=name, key=ended))
    assert ledger.append(draft(2)).seq == 2
    with pytest.raises(LedgerError, match=r"is valid from .* until .*, not at"):
        ledger.append(draft(3600))
    other = ended | {"role": "approver", "person": "eve"}
    with pytest.raises(LedgerError, match=r"the trusted keys know key .* as log"):
        ledger.record_change(change("key_change", first.recorded_at + timedelta(seconds=9), key_id=name, key=other))
    with pytest.raises(LedgerError, match="is not the id of the key"):
        ledger.record_change(change("key_change", end - timedelta(seconds=9), key_id=digest(1), key=ended))


def test_a_log_cannot_make_a_key_trusted(ledger, draft):
    first = ledger.append(draft(1))
    public = base64.b64encode(b"k" * 32).decode()
    new = {"public_key": public, "role": "approver", "person": "eve", "valid_from": first.recorded_at}
    name = verifier.sha256(b"k" * 32)
    ledger.record_change(change("key_change", first.recorded_at, key_id=name, key=new))
    assert f"record 1 names key {name}, which is not among the trusted keys" in ledger.verify().report.not_checked


def test_an_override_moves_nothing_and_names_what_it_sets_aside(ledger, draft):
    first = ledger.append(draft(1))
    same = {"candidate": first.candidate, "candidate_sha256": first.candidate_sha256, "from_stage": "paper"}
    fields = {"type": "override", "reasons": ["false alarm"], **same}
    with pytest.raises(LedgerError, match="no earlier decision on c1"):
        ledger.append(draft(2, supersedes="nothing", **fields))
    ledger.append(draft(3, supersedes=first.decision_id, **fields))
    assert stages.stage_of("c1", first.candidate_sha256, ledger.records()) is Stage.PAPER


def test_the_digest_that_people_approve_is_that_of_the_record_whenever_it_is_recorded(ledger, draft):
    asked = draft(1)
    later = asked.model_copy(update={"recorded_at": asked.recorded_at + timedelta(days=2)})
    record = ledger.append(later)
    assert asked.decision_digest() == record.decision_digest()
    assert draft(1, n_trials=41).decision_digest() != asked.decision_digest()
    other = draft(1, inputs=[asked.inputs[0].model_dump() | {"rows": 743}])
    assert other.decision_digest() != asked.decision_digest()


def test_times_as_text_compare_as_times():
    moments = [
        datetime.fromisoformat(f"2026-{month:02}-01T00:00:00.{ms:03}Z") for month in (1, 9, 10) for ms in (0, 99)
    ]
    assert [verifier.time_text(each) for each in moments] == sorted(verifier.time_text(each) for each in moments)
