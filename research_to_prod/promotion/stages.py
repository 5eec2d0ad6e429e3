"""The way of a candidate from research to live and back: one table of legal transitions.

What moves through the stages is a version of a candidate: the hash of its file, which says its parameters, its venue
and universe, and the source of its strategy. An edited candidate starts again in research while the version that
trades stays where it is, until the new one takes its place at the same stage. Promoting a version to the stage that
it holds reaffirms it on new evidence.

Down is easy and sticks: what a record moved down goes up again only by a promotion that names a person, and what a
rule rolled back may only reduce its positions until then.

Belongs here: the table, and what follows from the records alone: stages, what sticks, since when evidence counts.
Doesn't: whether a transition is deserved (gates, decision), and whether a named person's signature is good (approvals).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from research_to_prod.promotion.record import Draft, Policy, Record, RecordType
from research_to_prod.values import Stage

TRADING = (Stage.PAPER, Stage.CANARY, Stage.LIVE)
"""The stages at which a strategy sends orders."""

_DOWN = frozenset(
    {(Stage.LIVE, Stage.CANARY), (Stage.LIVE, Stage.PAPER), (Stage.CANARY, Stage.PAPER)}
    | {(stage, Stage.DEMOTED) for stage in TRADING}
    | {(stage, Stage.HALTED) for stage in (*TRADING, Stage.DEMOTED)}
)
_END_OF_A_HALT = (Stage.HALTED, Stage.DEMOTED)

LEGAL: Mapping[RecordType, frozenset[tuple[Stage, Stage]]] = {
    RecordType.PROMOTE: frozenset(
        {
            (Stage.RESEARCH, Stage.PAPER),
            (Stage.PAPER, Stage.CANARY),
            (Stage.CANARY, Stage.LIVE),
            # What was demoted earns its way back from paper, never straight to money.
            (Stage.DEMOTED, Stage.PAPER),
        }
        | {(stage, stage) for stage in TRADING}
    ),
    # By a person. A halt ends in demotion: whoever re-enables does not skip the gates.
    RecordType.DEMOTE: _DOWN | {_END_OF_A_HALT},
    # By a rule: it takes away and never gives back.
    RecordType.ROLLBACK: _DOWN,
    # Moves nothing: what a rule asked for is set aside.
    RecordType.OVERRIDE: frozenset({(stage, stage) for stage in (*TRADING, Stage.DEMOTED, Stage.HALTED)}),
}

_Key = tuple[str, str]
"""A candidate's name and the SHA-256 of its file."""


class IllegalTransitionError(ValueError):
    """A record asks for a move that the table does not have, from where its candidate is not, or that names nobody."""


def check_transition(record: Draft | Record, current: Stage, *, fallen: bool = False) -> None:
    """Raise unless ``record`` moves its candidate legally from ``current``.

    A rejection asks for the transition that it refuses, so it must be one that could have been promoted.

    Parameters
    ----------
    record
        The decision.
    current
        Where its candidate stands.
    fallen
        Whether it was moved down and nobody has let it up again: then a promotion must name a person.
    """
    kind = RecordType.PROMOTE if record.type is RecordType.REJECT else record.type
    move = (record.from_stage, record.to_stage)
    if move not in LEGAL[kind]:
        ways = ", ".join(sorted(to for start, to in LEGAL[kind] if start is record.from_stage)) or "nowhere"
        raise IllegalTransitionError(
            f"no {record.type} leads {record.candidate} from {record.from_stage} to {record.to_stage}; "
            f"from {record.from_stage} it may lead to: {ways}"
        )
    if record.from_stage is not current:
        raise IllegalTransitionError(
            f"{record.candidate} is at {current}, not at {record.from_stage}: decide again from where it is"
        )
    re_enables = (record.type is RecordType.PROMOTE and fallen) or move == _END_OF_A_HALT
    if re_enables and not record.approvals:
        raise IllegalTransitionError(
            f"{record.candidate} was moved down; only a record that names a person leads it from {current} to "
            f"{record.to_stage}: get the approval of one"
        )


class Standing:
    """Where every version of every candidate stands, and the record that put it there, after a run of records."""

    def __init__(self) -> None:
        self._deciding: dict[_Key, Record] = {}
        self._since: dict[_Key, datetime] = {}
        self._fallen: set[_Key] = set()
        self._reduce_only: set[_Key] = set()
        self._policies: dict[str, tuple[str, datetime | None]] = {}

    def stage(self, candidate: str, candidate_sha256: str) -> Stage:
        """Return the stage of one version; research where no record moved it."""
        deciding = self._deciding.get((candidate, candidate_sha256))
        return Stage.RESEARCH if deciding is None else deciding.to_stage

    def deciding(self) -> list[Record]:
        """Return, for each version that is not at research, the record that put it where it is."""
        return list(self._deciding.values())

    def fallen(self, candidate: str, candidate_sha256: str) -> bool:
        """Return whether a version was moved down and nobody has let it up again since.

        It stays so when another version takes its place: a detour does not wash it clean.
        """
        return (candidate, candidate_sha256) in self._fallen

    def reduce_only(self, candidate: str, candidate_sha256: str) -> bool:
        """Return whether a rule rolled a version back and nobody has let it up again since."""
        return (candidate, candidate_sha256) in self._reduce_only

    def evidence_since(self, candidate: str, candidate_sha256: str, policy: Policy) -> datetime | None:
        """Return the moment from which what a version does at its stage is evidence for its next one.

        It is the latest of: its arrival there (staying, reaffirmed, does not restart it); the end of a time in which
        it could only reduce; and the first record decided under ``policy`` after another one of the same id. None
        where there is no such moment: it does not trade, or nothing was yet decided under the edited policy, so that
        its evidence begins with the record that is about to be written.
        """
        known, since_policy = self._policies.get(policy.id, (policy.sha256, None))
        key = (candidate, candidate_sha256)
        if known != policy.sha256 or key in self._reduce_only or self.stage(*key) not in TRADING:
            return None
        arrived = self._since[key]
        return arrived if since_policy is None else max(arrived, since_policy)

    def arrived(self, candidate: str, candidate_sha256: str) -> datetime | None:
        """Return when a version came to its stage, or could open positions there again; None at research."""
        return self._since.get((candidate, candidate_sha256))

    def advance(self, record: Record) -> None:
        """Apply one record.

        Raises
        ------
        IllegalTransitionError
            When the record does not follow from where its candidate stands.
        """
        key = (record.candidate, record.candidate_sha256)
        current = self.stage(*key)
        check_transition(record, current, fallen=key in self._fallen)
        self._note_policy(record)
        if record.type in {RecordType.REJECT, RecordType.OVERRIDE}:
            return
        if record.to_stage in TRADING:
            # Two versions of one candidate at one stage would double its positions.
            replaced = [
                version
                for version, other in self._deciding.items()
                if version[0] == record.candidate and other.to_stage is record.to_stage and version != key
            ]
            for version in replaced:
                del self._deciding[version]
        if record.to_stage is not current or key in self._reduce_only:
            self._since[key] = record.recorded_at
        if record.type is RecordType.PROMOTE:
            self._fallen.discard(key)
            self._reduce_only.discard(key)
        else:
            self._fallen.add(key)
            if record.type is RecordType.ROLLBACK:
                self._reduce_only.add(key)
        self._deciding[key] = record

    def _note_policy(self, record: Record) -> None:
        before = self._policies.get(record.policy.id)
        if before is None:
            self._policies[record.policy.id] = (record.policy.sha256, None)
        elif before[0] != record.policy.sha256:
            self._policies[record.policy.id] = (record.policy.sha256, record.recorded_at)


def standing(records: Iterable[Record]) -> Standing:
    """Return where every candidate stands after ``records``, in their order."""
    result = Standing()
    for record in records:
        result.advance(record)
    return result


def stage_of(candidate: str, candidate_sha256: str, records: Iterable[Record]) -> Stage:
    """Return the stage of one version of a candidate, derived from the ledger's records."""
    return standing(records).stage(candidate, candidate_sha256)
