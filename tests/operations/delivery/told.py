"""Messages of a small history, and channels that can be told to fail."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from research_to_prod.operations.delivery.message import Message, messages
from research_to_prod.operations.delivery.outbox import DeliveryError
from research_to_prod.operations.incidents.lifecycle import Status
from tests.operations.alerting.book import BTC, reading
from tests.operations.incidents.firings import Play


@dataclass
class Memory:
    """A channel that remembers what it was sent, and refuses so many times first."""

    name: str = "memory"
    refusals: int = 0
    keys: list[str] = field(default_factory=list)

    def takes(self, message: Message) -> bool:
        return bool(message.key)

    def send(self, message: Message) -> str:
        if self.refusals:
            self.refusals -= 1
            raise DeliveryError("503 busy")
        self.keys.append(message.key)
        return "200 thanks"


def history(folder: Path) -> list[Message]:
    """A page, its acknowledgement and its end."""
    play = Play(folder)
    play.see(reading("market_data_age", 100, BTC))
    play.now += timedelta(seconds=60)
    play.person(play.only, Status.ACKED)
    play.now += timedelta(seconds=60)
    play.person(play.only, Status.MITIGATED, Status.RESOLVED)
    return list(messages(play.store.read()))
