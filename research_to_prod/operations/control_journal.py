"""The journal of the ladders: a line for each reading and release that changed something, and for each policy.

Where every ladder stands follows from the lines alone, each of which is gone through again when they are read and must
come out byte for byte: an edited, reordered or missing line is an error, never another state.

Belongs here: lines, the file, and the controls that the production manifest is told. Doesn't: what a reading leads to
(``ladder``).
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from research_to_prod.operations.ladder import (
    MODES,
    LadderError,
    LadderPolicy,
    Level,
    Reading,
    Release,
    State,
    release,
    step,
)
from research_to_prod.promotion.controls import Control, Scope
from research_to_prod.promotion.files import make_folder, sync_folder
from research_to_prod.values import canonical_json, sha256_hex


class ControlJournalError(ValueError):
    """A line does not follow from those before it; the message says which."""


@dataclass(frozen=True, order=True)
class Target:
    """What a ladder is on: everything, a venue or a candidate."""

    scope: Scope
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse a name where there is nothing to name, and none where there is."""
        if bool(self.name) is (self.scope is Scope.ALL):
            raise LadderError("a ladder on a candidate or a venue names it, one on all names none")


ALL = Target(Scope.ALL)


@dataclass(frozen=True)
class Ladders:
    """Where every ladder stands after some lines.

    Parameters
    ----------
    policy
        The one in force; None before the first line.
    head
        SHA-256 of the last line, which the next one repeats.
    """

    states: dict[Target, State]
    policy: LadderPolicy | None = None
    head: str = "0" * 64

    def controls(self) -> tuple[Control, ...]:
        """Return what the ladders hold back, as the production manifest is told."""
        return tuple(
            Control(
                scope=target.scope,
                name=target.name or None,
                mode=MODES[state.level],
                since=state.since,
                by=state.by,
                reason=f"level {state.level:d}, {state.level.name.lower().replace('_', ' ')}: {state.because}",
            )
            for target, state in sorted(self.states.items())
            if state.level is not Level.OBSERVE and state.since is not None
        )


def replayed(lines: Iterable[bytes]) -> Ladders:
    """Return where every ladder stands after all lines.

    Raises
    ------
    ControlJournalError
        At the first line that is not readable, or does not follow from those before it.
    """
    ladders = Ladders({})
    for number, written in enumerate(lines, start=1):
        try:
            content = json.loads(written)
            event = _adapter(content["kind"]).validate_python(content["event"])
            target = None if content["target"] is None else _target(content["target"])
            made, ladders = _line(ladders, target, event)
        except (KeyError, TypeError, ValueError, ValidationError) as error:
            raise ControlJournalError(f"line {number} of the controls' journal: {error}") from error
        if made != written:
            raise ControlJournalError(f"line {number} of the controls' journal does not follow from those before it")
    return ladders


class ControlJournal:
    """The journal in its file; one writer at a time, and a line that was written is on the disk.

    Parameters
    ----------
    path
        The file; one that does not exist holds nothing back.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def ladders(self) -> Ladders:
        """Return where every ladder stands; ControlJournalError where the file does not hold."""
        return replayed(self._lines())

    def read(self, policy: LadderPolicy, target: Target, reading: Reading) -> State:
        """Take a reading in, and return where its ladder stands; what changes nothing leaves no line."""
        with self._alone() as ladders:
            before = ladders.states.get(target, State())
            if step(policy, before, reading) == before:
                return before
            return self._append(ladders, policy, target, reading)

    def release(self, policy: LadderPolicy, target: Target, asked: Release) -> State:
        """Let a ladder down in the name of people, and return where it stands.

        Raises
        ------
        LadderError
            When it is not theirs to let down so.
        """
        with self._alone() as ladders:
            return self._append(ladders, policy, target, asked)

    def _append(self, ladders: Ladders, policy: LadderPolicy, target: Target, event: Reading | Release) -> State:
        lines = []
        if ladders.policy != policy:
            line, ladders = _line(ladders, None, policy)
            lines.append(line)
        line, ladders = _line(ladders, target, event)
        with self.path.open("ab") as file:
            file.write(b"".join(each + b"\n" for each in [*lines, line]))
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.path.parent)
        return ladders.states[target]

    def _lines(self) -> list[bytes]:
        if not self.path.exists():
            return []
        content = self.path.read_bytes()
        # A crash within a write leaves a line without its end, which nobody was told of.
        return content[: content.rfind(b"\n") + 1].splitlines()

    @contextmanager
    def _alone(self) -> Iterator[Ladders]:
        make_folder(self.path.parent)
        with self.path.with_name(f".{self.path.name}.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lines = self._lines()
            if self.path.exists():
                os.truncate(self.path, sum(len(each) + 1 for each in lines))
            yield replayed(lines)


def _line(ladders: Ladders, target: Target | None, event: LadderPolicy | Reading | Release) -> tuple[bytes, Ladders]:
    """Return an event's line, and where the ladders stand after it."""
    states, policy = dict(ladders.states), ladders.policy
    if isinstance(event, LadderPolicy):
        policy, state = event, None
    elif target is None or policy is None:
        raise LadderError("a reading or a release has a target, and comes after a policy")
    else:
        before = states.get(target, State())
        state = release(before, event) if isinstance(event, Release) else step(policy, before, event)
        states[target] = state
    made = canonical_json(
        {
            "prev": ladders.head,
            "kind": type(event).__name__,
            "target": None if target is None else asdict(target),
            "event": _dumped(event),
            "state": None if state is None else _dumped(state),
        }
    )
    return made, Ladders(states, policy, sha256_hex(made))


def _target(written: Mapping[str, str]) -> Target:
    return Target(Scope(written["scope"]), written["name"])


def _dumped(value: Any) -> Any:
    return TypeAdapter(type(value)).dump_python(value, mode="json")


@cache
def _adapter(kind: str) -> TypeAdapter[LadderPolicy | Reading | Release]:
    of: Any = {"LadderPolicy": LadderPolicy, "Reading": Reading, "Release": Release}[kind]
    return TypeAdapter(of)
