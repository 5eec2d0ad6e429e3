"""Where incidents are kept: one file of transitions and occurrences that only grows.

Every process reads what others have added since it last looked, so that an acknowledgement from a terminal reaches the
alerter at its next turn. Belongs here: reading, indexing, appending. Doesn't: what may follow (``lifecycle``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from research_to_prod.operations.alerting.settings import Severity
from research_to_prod.operations.append_only import AppendOnly, Turn
from research_to_prod.operations.incidents.lifecycle import (
    Event,
    IllegalTransitionError,
    Incident,
    Occurrence,
    Opened,
    Status,
    Transition,
    follow,
)
from research_to_prod.operations.incidents.page import Page
from research_to_prod.operations.incidents.review import Review
from research_to_prod.promotion.record import to_utc_millis

_Line: TypeAdapter[Transition | Occurrence] = TypeAdapter(
    Annotated[Transition | Occurrence, Field(discriminator="kind")]
)
Group = tuple[str, str, str]
"""Rule (or `BLIND`), venue and account: firings of one such group at one time have one cause."""


BLIND = "blind"


class IncidentError(ValueError):
    """The file of incidents can't be read, or there is no such incident; the message says which."""


class Incidents:
    """What the lines so far add up to; changed by `add` alone. ``log`` has the transitions in the file's order."""

    def __init__(self) -> None:
        self._by_id: dict[str, Incident] = {}
        self._latest: dict[str, str] = {}
        self._groups: dict[Group, list[str]] = {}
        self._history: dict[str, list[Transition]] = {}
        self._fired: dict[str, tuple[int, ...]] = {}
        self.log: list[Transition] = []

    def add(self, line: Transition | Occurrence) -> None:
        """Take in one line.

        Raises
        ------
        IllegalTransitionError, IncidentError
            When it can't follow; nothing has changed then.
        """
        if isinstance(line, Occurrence):
            fired = self._fired if line.of is None else line.of
            if not fired or fired.keys() - self._by_id.keys():
                raise IncidentError(f"the occurrence at {line.at.isoformat()} is of an incident that nobody opened")
            for incident_id, conditions in fired.items():
                before = self._by_id[incident_id]
                self._by_id[incident_id] = replace(before, occurrences=before.occurrences + len(conditions))
            self._fired = fired
            return
        if line.review is not None and line.review.scenario in self.scenarios:
            raise IllegalTransitionError(f"{line.incident_id}: scenario {line.review.scenario} is another review's")
        after = follow(self._by_id.get(line.incident_id), line)
        self._by_id[after.id] = after
        self._history.setdefault(after.id, []).append(line)
        self.log.append(line)
        if line.event is Event.OPENED:
            self._latest[after.opened.fingerprint] = after.id
        group = group_of(after.opened)
        members = self._groups.setdefault(group, [])
        if after.speaks and after.id not in members:
            members.append(after.id)
        elif not after.speaks and after.id in members:
            members.remove(after.id)

    def goes_on(self, fired: dict[str, tuple[int, ...]]) -> bool:
        """Whether what fires is what the last occurrence was of."""
        return fired == self._fired

    def get(self, incident_id: str) -> Incident:
        """Return an incident by its id, or by the beginning of it where only one begins so."""
        found = self._by_id.get(incident_id)
        if found is not None:
            return found
        named = [each for name, each in self._by_id.items() if name.startswith(incident_id)]
        if len(named) != 1:
            raise IncidentError(f"{incident_id!r} names {len(named)} incidents; `r2p incident list` shows them")
        return named[0]

    def latest(self, fingerprint: str) -> Incident | None:
        """Return the newest incident of a fingerprint."""
        incident_id = self._latest.get(fingerprint)
        return None if incident_id is None else self._by_id[incident_id]

    def speaking(self, group: Group) -> list[Incident]:
        """Return the incidents of a group that are told for themselves, oldest first."""
        return [self._by_id[each] for each in self._groups.get(group, ())]

    def told(self) -> list[Incident]:
        """Return every incident that is told for itself."""
        return [self._by_id[each] for members in self._groups.values() for each in members]

    def of_venue(self, rule: str, venue: str) -> list[Incident]:
        """Return the incidents of a rule at a venue that are told for themselves, whatever their account."""
        groups = [group for group in self._groups if group[:2] == (rule, venue)]
        return [incident for group in groups for incident in self.speaking(group)]

    def history(self, incident_id: str) -> tuple[Transition, ...]:
        """Return an incident's transitions, in order."""
        return tuple(self._history[self.get(incident_id).id])

    @property
    def scenarios(self) -> frozenset[str]:
        """The replay scenarios that reviews have brought."""
        return frozenset(step.review.scenario for step in self.log if step.review is not None)

    def all(self) -> list[Incident]:
        """Return every incident, in the order in which they were opened first."""
        return list(self._by_id.values())


class Work:
    """Incidents while no other process changes them; what is added becomes durable together, at the end."""

    def __init__(self, incidents: Incidents) -> None:
        self.incidents = incidents
        self.lines: list[Transition | Occurrence] = []
        self._fired: dict[str, tuple[int, ...]] = {}

    def open(
        self, incident_id: str, opened: Opened, severity: Severity, at: datetime, ref: str, page: Page | None
    ) -> Incident:
        """Open an incident."""
        return self._add(
            Transition(
                incident_id=incident_id,
                seq=0,
                event=Event.OPENED,
                to=Status.DETECTED,
                actor="system",
                at=at,
                severity=severity,
                evidence_ref=ref,
                opened=opened,
                page=page,
            )
        )

    def move(
        self,
        incident: Incident,
        to: Status,
        *,
        actor: str,
        at: datetime,
        ref: str,
        severity: Severity | None = None,
        note: str = "",
        page: Page | None = None,
        until: datetime | None = None,
        into: str | None = None,
        review: Review | None = None,
    ) -> Incident:
        """Move an incident to another status."""
        return self._next(
            incident, Event.MOVED, to, actor, at, ref, severity=severity or incident.severity, note=note, page=page,
            until=until, into=into, review=review,
        )  # fmt: skip

    def tell(
        self,
        incident: Incident,
        event: Event,
        *,
        severity: Severity,
        at: datetime,
        ref: str,
        note: str,
        page: Page | None,
    ) -> Incident:
        """Raise an incident's severity, or bring it to somebody else."""
        return self._next(incident, event, incident.status, "system", at, ref, severity=severity, note=note, page=page)

    def occurred(self, incident: Incident, conditions: Iterable[int]) -> None:
        """Take down firings that changed nothing; `count` writes those of one moment."""
        self._fired[incident.id] = (*self._fired.get(incident.id, ()), *sorted(conditions))

    def count(self, at: datetime) -> None:
        """Write down the firings of one moment that changed nothing."""
        if not self._fired:
            return
        line = Occurrence(at=at, of=None if self.incidents.goes_on(self._fired) else self._fired)
        self.incidents.add(line)
        self.lines.append(line)
        self._fired = {}

    def _next(
        self,
        incident: Incident,
        event: Event,
        to: Status,
        actor: str,
        at: datetime,
        ref: str,
        **more: object,
    ) -> Incident:
        # The alerter's turns and people's commands read different clocks.
        at = max(to_utc_millis(at), incident.at)
        place = {"incident_id": incident.id, "seq": incident.seq + 1, "event": event, "source": incident.status}
        said = {"to": to, "actor": actor, "at": at, "evidence_ref": ref, **more}
        return self._add(Transition.model_validate(place | said))

    def _add(self, line: Transition) -> Incident:
        self.incidents.add(line)
        self.lines.append(line)
        return self.incidents.get(line.incident_id)


class IncidentStore:
    """The file at ``path``."""

    def __init__(self, path: Path) -> None:
        self._file = AppendOnly(path)
        self._incidents = Incidents()
        self._offset = 0

    def read(self) -> Incidents:
        """Return all incidents as they are now.

        Raises
        ------
        IncidentError
            Naming the line that can't be read, or does not follow from those before it.
        """
        try:
            self._take(*self._file.since(self._offset))
        except (OSError, ValueError) as error:
            raise self._broken(error) from error
        return self._incidents

    @contextmanager
    def work(self) -> Iterator[Work]:
        """Give the incidents to work on; what was added is on disk when this ends, and nothing of it on an error.

        Raises
        ------
        IncidentError
            When the file can't be read or written.
        """
        with self._file.turn() as turn:
            try:
                self._take(*turn.since(self._offset))
            except (OSError, ValueError) as error:
                raise self._broken(error) from error
            work = Work(self._incidents)
            try:
                yield work
                self._write(turn, work)
            except BaseException:
                # What is in memory may be ahead of the file now: begin again from what is there.
                self._incidents, self._offset = Incidents(), 0
                raise

    def _write(self, turn: Turn, work: Work) -> None:
        try:
            turn.append(_bytes(line) for line in work.lines)
            _, self._offset = turn.since(self._offset)
        except OSError as error:
            told = f"{self._file.path} can't be written: {error.strerror}; nothing was changed, check the disk"
            raise IncidentError(told) from error

    def _take(self, lines: list[bytes], end: int) -> None:
        for line in lines:
            self._incidents.add(_Line.validate_json(line))
        self._offset = end

    def _broken(self, error: Exception) -> IncidentError:
        self._incidents, self._offset = Incidents(), 0
        told = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        return IncidentError(f"{self._file.path} can't be read: {told}; keep it, and find out who changed it")


def group_of(opened: Opened) -> Group:
    """Return the group of what an incident is about; whatever is not seen at one account is not seen for one cause."""
    return BLIND if opened.blind else opened.rule, opened.subject.venue, opened.subject.account


def _bytes(line: Transition | Occurrence) -> bytes:
    return line.model_dump_json(by_alias=True).encode()
