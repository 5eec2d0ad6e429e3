"""The outbox: every page reaches every channel that takes it, at least once.

A message is a transition of an incident, so it is on disk before anybody tries to send it; the outbox keeps only what
became of each attempt. A crash between sending and writing that down sends again: never a loss, and a key by which the
other side knows the repeat. Belongs here: what is due, sending, marks. Doesn't: channels, and what is a page.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from research_to_prod.declared import Frozen
from research_to_prod.operations.append_only import AppendOnly
from research_to_prod.operations.delivery.message import Message
from research_to_prod.promotion.record import Text, UtcMillis

FIRST_RETRY = timedelta(seconds=5)
LONGEST_RETRY = timedelta(minutes=10)

logger = logging.getLogger(__name__)


class OutboxError(ValueError):
    """The outbox can't be read or written; the message says why."""


class DeliveryError(Exception):
    """A channel did not take a message; the message says what it answered."""


class Channel(Protocol):
    """Somewhere that messages go."""

    @property
    def name(self) -> str:
        """Its name, by which the outbox remembers what it took."""

    def takes(self, message: Message) -> bool:
        """Whether the message is for this channel."""

    def send(self, message: Message) -> str:
        """Send a message; return what the other side said.

        Raises
        ------
        DeliveryError
            When it was not taken, or may not have been.
        """


class Mark(Frozen):
    """What became of one attempt: ``next_at`` is when to try again, absent once it is delivered."""

    key: Text
    channel: Text
    attempt: int
    at: UtcMillis
    delivered: bool
    next_at: UtcMillis | None = None
    response: str


@dataclass(frozen=True)
class Pending:
    """A message that a channel has not taken yet."""

    message: Message
    channel: str
    attempts: int


class Outbox:
    """The marks in the file at ``path``, and the messages that were put in since this process began."""

    def __init__(self, path: Path, channels: Sequence[Channel]) -> None:
        self._file = AppendOnly(path)
        self._channels = {each.name: each for each in channels}
        if len(self._channels) != len(channels):
            raise OutboxError("two channels have one name")
        self._offset = 0
        self._last: dict[tuple[str, str], Mark] = {}
        self._waiting: dict[tuple[str, str], Message] = {}

    def put(self, messages: Iterable[Message]) -> None:
        """Take in messages; those that were delivered before are known by their keys."""
        self._refresh(*self._file.since(self._offset))
        for message in messages:
            for name, channel in self._channels.items():
                place = (message.key, name)
                if channel.takes(message) and not self._is_delivered(place):
                    self._waiting[place] = message

    def deliver(self, now: datetime) -> list[Mark]:
        """Send everything that is due, oldest first, and write down what became of it.

        Only one process sends at a time. A channel that fails is tried again after 5, 10, 20 ... seconds, at most ten
        minutes, for as long as it takes; the others go on.

        Raises
        ------
        OutboxError
            When marks can't be written: what was sent will be sent again.
        """
        made: list[Mark] = []
        try:
            with self._file.turn() as turn:
                self._refresh(*turn.since(self._offset))
                for place, message in list(self._due(now)):
                    mark = self._send(place, message, now)
                    turn.append([mark.model_dump_json(exclude_none=True).encode()])
                    self._keep(mark)
                    made.append(mark)
                _, self._offset = turn.since(self._offset)
        except OSError as error:
            raise OutboxError(f"{self._file.path} can't be written: {error.strerror}; check the disk") from error
        return made

    def pending(self) -> list[Pending]:
        """Return what no channel has taken yet, oldest first."""
        waiting = sorted(self._waiting.items(), key=lambda each: (each[1].at, each[0]))
        return [Pending(message, place[1], self._attempts(place)) for place, message in waiting]

    def oldest_age(self, now: datetime) -> float:
        """Return the age in seconds of the oldest message that waits; 0 when none does."""
        return max(((now - each.message.at).total_seconds() for each in self.pending()), default=0.0)

    def _due(self, now: datetime) -> Iterator[tuple[tuple[str, str], Message]]:
        for place, message in sorted(self._waiting.items(), key=lambda each: (each[1].at, each[0])):
            last = self._last.get(place)
            if last is None or last.next_at is None or last.next_at <= now:
                yield place, message

    def _send(self, place: tuple[str, str], message: Message, now: datetime) -> Mark:
        attempt = self._attempts(place) + 1
        wait = min(FIRST_RETRY * 2 ** min(attempt - 1, 16), LONGEST_RETRY)
        try:
            response, delivered = self._channels[place[1]].send(message), True
        except DeliveryError as error:
            response, delivered = str(error), False
            logger.warning("%s did not take %s: %s", place[1], message.key, error)
        except Exception as error:
            response, delivered = f"{type(error).__name__}: {error}", False
            logger.exception("channel %s failed on %s", place[1], message.key)
        return Mark(
            key=message.key,
            channel=place[1],
            attempt=attempt,
            at=now,
            delivered=delivered,
            next_at=None if delivered else now + wait,
            response=response[:500],
        )

    def _attempts(self, place: tuple[str, str]) -> int:
        last = self._last.get(place)
        return 0 if last is None else last.attempt

    def _is_delivered(self, place: tuple[str, str]) -> bool:
        last = self._last.get(place)
        return last is not None and last.delivered

    def _keep(self, mark: Mark) -> None:
        place = (mark.key, mark.channel)
        self._last[place] = mark
        if mark.delivered:
            self._waiting.pop(place, None)

    def _refresh(self, lines: list[bytes], end: int) -> None:
        try:
            for line in lines:
                self._keep(Mark.model_validate_json(line))
        except ValidationError as error:
            raise OutboxError(f"{self._file.path} can't be read: {error.errors()[0]['msg']}") from error
        self._offset = end
