"""The way of a candidate from research to live and back: one table of legal transitions.

What moves through the stages is a version of a candidate, by the hash of its file: an edited candidate starts again
in research while the version that trades stays where it is, until the new one takes its place at the same stage.
Promoting a version to the stage that it holds reaffirms it on new evidence.

Belongs here: the table, and stages derived from records. Doesn't: whether a transition is deserved (gates, decision).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from research_to_prod.promotion.record import Draft, Record, RecordType
from research_to_prod.values import Stage

TRADING = (Stage.PAPER, Stage.CANARY, Stage.LIVE)
"""The stages at which a strategy sends orders."""

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
    RecordType.DEMOTE: frozenset(
        {
            (Stage.LIVE, Stage.CANARY),
            (Stage.LIVE, Stage.PAPER),
            (Stage.CANARY, Stage.PAPER),
            # A halt ends in demotion: whoever re-enables does not skip the gates.
            (Stage.HALTED, Stage.DEMOTED),
        }
        | {(stage, Stage.DEMOTED) for stage in TRADING}
        | {(stage, Stage.HALTED) for stage in (*TRADING, Stage.DEMOTED)}
    ),
}

Version = tuple[str, str]
"""A candidate's name and the SHA-256 of its file."""


class IllegalTransitionError(ValueError):
    """A record asks for a move that the table does not have, or from a stage that the candidate is not at."""


def check_transition(record: Draft, current: Stage) -> None:
    """Raise unless ``record`` moves its candidate legally from ``current``.

    A rejection asks for the transition that it refuses, so it must be one that could have been promoted.
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


class Standing:
    """Where every version of every candidate stands, and the record that put it there, after a run of records."""

    def __init__(self) -> None:
        self._deciding: dict[Version, Record] = {}

    def stage(self, candidate: str, candidate_sha256: str) -> Stage:
        """Return the stage of one version; research where no record moved it."""
        deciding = self._deciding.get((candidate, candidate_sha256))
        return Stage.RESEARCH if deciding is None else deciding.to_stage

    def deciding(self) -> list[Record]:
        """Return, for each version that is not at research, the record that put it where it is."""
        return list(self._deciding.values())

    def advance(self, record: Record) -> None:
        """Apply one record.

        Raises
        ------
        IllegalTransitionError
            When the record does not follow from where its candidate stands.
        """
        check_transition(record, self.stage(record.candidate, record.candidate_sha256))
        if record.type is RecordType.REJECT:
            return
        if record.to_stage in TRADING:
            # Two versions of one candidate at one stage would double its positions.
            replaced = [
                version
                for version, other in self._deciding.items()
                if version[0] == record.candidate and other.to_stage is record.to_stage
            ]
            for version in replaced:
                del self._deciding[version]
        self._deciding[(record.candidate, record.candidate_sha256)] = record


def standing(records: Iterable[Record]) -> Standing:
    """Return where every candidate stands after ``records``, in their order."""
    result = Standing()
    for record in records:
        result.advance(record)
    return result


def stage_of(candidate: str, candidate_sha256: str, records: Iterable[Record]) -> Stage:
    """Return the stage of one version of a candidate, derived from the ledger's records."""
    return standing(records).stage(candidate, candidate_sha256)
