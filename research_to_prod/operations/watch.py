"""One turn of the alerter: judge, hold back, take in, escalate, deliver, and give a sign of life.

What a turn needs of the one before is in files, so that an alerter that was killed goes on where it stopped, in another
process if need be. Belongs here: the order of a turn, and its files. Doesn't: measuring, and calling it every minute.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from research_to_prod.operations.alerting.evaluation import (
    Evaluation,
    Key,
    Observation,
    Result,
    State,
    evaluate,
)
from research_to_prod.operations.alerting.kept import keep
from research_to_prod.operations.alerting.situation import Context, Subject
from research_to_prod.operations.control_journal import ControlJournal, Ladders, Target
from research_to_prod.operations.delivery.heartbeat import FILE, Beat, beat, last_beat
from research_to_prod.operations.delivery.message import messages
from research_to_prod.operations.delivery.outbox import Channel, Mark, Outbox
from research_to_prod.operations.delivery.prometheus import gauges_of, write_textfile
from research_to_prod.operations.holding_back import readings_of, with_rules
from research_to_prod.operations.incidents.escalation import escalate
from research_to_prod.operations.incidents.intake import Desk, take_in
from research_to_prod.operations.incidents.store import Incidents, IncidentStore
from research_to_prod.operations.ladder import LadderPolicy, Reading
from research_to_prod.promotion.files import replace_file

INCIDENTS, OUTBOX, STATES, METRICS = "incidents.jsonl", "outbox.jsonl", "states.json", "alerting.prom"


class WatchError(ValueError):
    """What the last turn left can't be read; the message names the file and the remedy."""


@dataclass(frozen=True)
class TurnResult:
    """What one turn did."""

    evaluations: tuple[Evaluation, ...]
    delivered: tuple[Mark, ...]


class Watch:
    """The alerter of one installation.

    Parameters
    ----------
    folder
        Where its files are (`Settings.operations`).
    interval
        Time between turns; the heartbeat promises it.
    controls, ladder
        The journal of the mitigation ladders, and their policy without what the rules declare themselves.
    """

    def __init__(
        self,
        folder: Path,
        desk: Desk,
        channels: Sequence[Channel],
        interval: timedelta,
        controls: ControlJournal,
        ladder: LadderPolicy,
    ) -> None:
        self._folder = folder
        self._desk = desk
        self._interval = interval
        self.incidents = IncidentStore(folder / INCIDENTS)
        self._outbox = Outbox(folder / OUTBOX, channels)
        self._controls = controls
        self._ladder = with_rules(ladder, desk.policy)
        self._told = 0  # transitions that the outbox has been given

    def turn(self, observations: Iterable[Observation], context: Context, now: datetime) -> TurnResult:
        """Do one turn; what the alerter measures of itself is added to ``observations``.

        Raises
        ------
        WatchError, IncidentError, OutboxError, ControlJournalError
            When its files can't be read or written. No sign of life is given then.
        """
        before = last_beat(self._folder / FILE)
        self._put()
        own = self._of_itself(before, now)
        result = evaluate(self._desk.policy, [*observations, *own], context, self._states(), now)
        keep(self._folder, result.evaluations, self._desk.policy, now)
        try:
            # Before anybody is told: killed in between, the next turn finds the level held and tells what still fires.
            self._hold_back(result.evaluations, now)
        finally:
            # A controls' journal that doesn't hold keeps nobody from being told.
            incidents, marks = self._tell(result, now)
        pending = self._outbox.pending()
        write_textfile(self._folder / METRICS, gauges_of(result.evaluations, incidents.told(), pending, now))
        sign = Beat(
            at=now,
            interval_seconds=self._interval.total_seconds(),
            turn=0 if before is None else before.turn + 1,
            undelivered=len(pending),
            oldest_undelivered_seconds=self._outbox.oldest_age(now),
        )
        beat(self._folder / FILE, sign)
        return TurnResult(result.evaluations, tuple(marks))

    def _hold_back(self, evaluations: Sequence[Evaluation], now: datetime) -> None:
        incidents = self.incidents.read()

        def read(ladders: Ladders) -> dict[Target, Reading]:
            return readings_of(evaluations, self._desk.policy, incidents, ladders.states, self._desk.environment, now)

        self._controls.follow(self._ladder, read)

    def _tell(self, result: Result, now: datetime) -> tuple[Incidents, list[Mark]]:
        with self.incidents.work() as work:
            take_in(work, result.evaluations, self._desk, now)
            escalate(work, self._desk.policy.settings.paging, now)
        # After the incidents: killed in between, the next turn judges from the older states and finds them open.
        self._keep(result.states)
        incidents = self._put()
        return incidents, list(self._outbox.deliver(now))

    def _put(self) -> Incidents:
        incidents = self.incidents.read()
        self._outbox.put(messages(incidents, self._told))
        self._told = len(incidents.log)
        return incidents

    def _of_itself(self, before: Beat | None, now: datetime) -> list[Observation]:
        interval = self._interval.total_seconds()
        age = 0.0 if before is None else (now - before.at).total_seconds()
        waits = self._outbox.oldest_age(now)
        return [
            Observation("heartbeat_age", Subject(), age, now, usual=interval, evidence=FILE),
            Observation("oldest_undelivered", Subject(), waits, now, evidence=OUTBOX),
        ]

    def _states(self) -> Mapping[Key, State]:
        path = self._folder / STATES
        try:
            kept = _adapter().validate_json(path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValidationError) as error:
            raise WatchError(f"{path} can't be read: {error}; delete it, and every rule begins anew") from error
        # Under other rules a condition's number may be another's.
        same = kept.policy_sha256 == self._desk.policy.sha256
        return {(rule, condition, subject): state for rule, condition, subject, state in kept.rows if same}

    def _keep(self, states: Mapping[Key, State]) -> None:
        rows = [(rule, condition, subject, state) for (rule, condition, subject), state in sorted(states.items())]
        kept = _Kept(self._desk.policy.sha256, rows)
        replace_file(self._folder / STATES, _adapter().dump_json(kept))


@dataclass(frozen=True)
class _Kept:
    policy_sha256: str
    rows: list[tuple[str, int, Subject, State]]


@cache
def _adapter() -> TypeAdapter[_Kept]:
    return TypeAdapter(_Kept)
