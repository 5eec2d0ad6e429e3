"""The outbox: every message reaches every channel at least once, whoever fails and whenever somebody is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest

from research_to_prod.operations.delivery.message import Action, Message
from research_to_prod.operations.delivery.outbox import Outbox, OutboxError
from tests.operations.alerting.book import NOON
from tests.operations.delivery.told import Memory, history


@pytest.fixture
def told(tmp_path: Path) -> list[Message]:
    return history(tmp_path)


def test_a_page_its_acknowledgement_and_its_end_are_messages_with_keys_of_their_own(told: list[Message]) -> None:
    assert [each.action for each in told] == [Action.TRIGGER, Action.ACKNOWLEDGE, Action.RESOLVE]
    assert [each.key.rpartition(":")[2] for each in told] == ["0", "1", "3"]
    assert len({each.incident_id for each in told}) == 1


def test_what_is_delivered_is_not_sent_again_by_this_process_or_the_next(tmp_path: Path, told: list[Message]) -> None:
    first, second = Memory(), Memory()
    for channel in (first, first, second):
        outbox = Outbox(tmp_path / "outbox.jsonl", [channel])
        outbox.put(told)
        outbox.put(told)
        outbox.deliver(NOON + timedelta(hours=1))
    assert first.keys == [each.key for each in told]
    assert second.keys == []


def test_a_channel_that_fails_is_tried_again_later_and_later(tmp_path: Path, told: list[Message]) -> None:
    channel = Memory(refusals=99)
    outbox = Outbox(tmp_path / "outbox.jsonl", [channel])
    outbox.put(told[:1])
    attempts = []
    for second in range(1_300):
        marks = outbox.deliver(NOON + timedelta(seconds=second))
        attempts += [second for _ in marks]
    assert attempts == [0, 5, 15, 35, 75, 155, 315, 635, 1235]


def test_the_wait_outlives_the_process(tmp_path: Path, told: list[Message]) -> None:
    failing = Outbox(tmp_path / "outbox.jsonl", [Memory(refusals=1)])
    failing.put(told[:1])
    failing.deliver(NOON)
    channel = Memory()
    again = Outbox(tmp_path / "outbox.jsonl", [channel])
    again.put(told[:1])
    assert again.deliver(NOON + timedelta(seconds=4)) == []
    (mark,) = again.deliver(NOON + timedelta(seconds=5))
    assert (mark.attempt, mark.delivered, channel.keys) == (2, True, [told[0].key])


def test_one_channel_s_failure_keeps_no_other_from_telling(tmp_path: Path, told: list[Message]) -> None:
    class Broken(Memory):
        def send(self, message: Message) -> str:
            raise KeyError(f"a fault of ours on {message.key}")

    works = Memory("works")
    outbox = Outbox(tmp_path / "outbox.jsonl", [Broken("broken"), works])
    outbox.put(told)
    outbox.deliver(NOON + timedelta(hours=1))
    assert len(works.keys) == 3
    assert {each.channel for each in outbox.pending()} == {"broken"}
    assert outbox.oldest_age(NOON + timedelta(hours=1)) == 3600


def test_a_disk_that_cannot_be_written_is_an_error_and_no_silence(tmp_path: Path, told: list[Message]) -> None:
    outbox = Outbox(tmp_path / "outbox.jsonl", [Memory()])
    outbox.put(told)
    (tmp_path / "outbox.jsonl").mkdir()
    with pytest.raises(OutboxError, match="can't be written: Is a directory"):
        outbox.deliver(NOON)


class Deadly(Memory):
    """Writes a message down where the test sees it; is killed before or after that, once."""

    def __init__(self, sent: Path, *, before: bool) -> None:
        super().__init__("deadly")
        self._sent = sent
        self._before = before

    def send(self, message: Message) -> str:
        first = not self._sent.with_suffix(".killed").exists()
        self._sent.with_suffix(".killed").touch()
        if first and self._before:
            os.kill(os.getpid(), signal.SIGKILL)
        with self._sent.open("a") as stream:
            stream.write(message.key + "\n")
        if first:
            os.kill(os.getpid(), signal.SIGKILL)
        return "sent"


def deliver_all(folder: Path, told: list[Message], *, before: bool) -> None:
    outbox = Outbox(folder / "outbox.jsonl", [Deadly(folder / "sent", before=before)])
    outbox.put(told)
    outbox.deliver(NOON + timedelta(hours=1))


@pytest.mark.parametrize(("before", "first_is_sent"), [(True, 1), (False, 2)])
def test_a_kill_around_sending_repeats_a_message_and_never_loses_one(
    before: bool, first_is_sent: int, tmp_path: Path, told: list[Message]
) -> None:
    fork = multiprocessing.get_context("fork")
    codes = []
    for _ in range(2):
        process = fork.Process(target=deliver_all, args=(tmp_path, told), kwargs={"before": before})
        process.start()
        process.join(60)
        codes.append(process.exitcode)
    assert codes == [-signal.SIGKILL, 0]
    keys = (tmp_path / "sent").read_text().split()
    assert [keys.count(each.key) for each in told] == [first_is_sent, 1, 1]
