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
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from research_to_prod.operations.ladder import (
    Basis,
    LadderError,
    LadderPolicy,
    Level,
    Reading,
    Release,
    State,
    release,
    step,
)
from research_to_prod.promotion.controls import Control, Mode, Scope
from research_to_prod.promotion.files import make_folder, sync_folder
from research_to_prod.values import canonical_json, sha256_hex

MODES = {level: Mode.NONE if level is Level.OBSERVE else Mode.REDUCE_ONLY for level in Level} | {Level.KILL: Mode.HALT}
"""What the production manifest is told; below the kill, exits stay possible."""


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
class Move:
    """One change of a ladder's level: what the ladder is on, and where it stood before and from then on."""

    target: Target
    before: Level
    state: State


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


def replayed(lines: Iterable[bytes], after: Ladders | None = None, count: int = 0) -> Ladders:
    """Return where every ladder stands after all lines, those before ``after`` (so many as ``count``) not among them.

    Raises
    ------
    ControlJournalError
        At the first line that is not readable, or does not follow from those before it.
    """
    ladders = after or Ladders({})
    for number, written in enumerate(lines, start=count + 1):
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

    What this process has gone through already is compared byte for byte, and not gone through again.

    Parameters
    ----------
    path
        The file; one that does not exist holds nothing back.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known = (b"", Ladders({}))

    def ladders(self) -> Ladders:
        """Return where every ladder stands; ControlJournalError where the file does not hold."""
        return self._followed(self._whole())

    def moves(self) -> tuple[Move, ...]:
        """Return every change of a level, in order; ControlJournalError where the file does not hold."""
        content = self._whole()
        self._followed(content)
        levels, moves = dict[Target, Level](), []
        for line in content.splitlines():
            written = json.loads(line)
            if written["target"] is None:
                continue
            target, state = _target(written["target"]), TypeAdapter(State).validate_python(written["state"])
            before = levels.get(target, Level.OBSERVE)
            if state.level is not before:
                moves.append(Move(target, before, state))
            levels[target] = state.level
        return tuple(moves)

    def read(self, policy: LadderPolicy, target: Target, reading: Reading) -> State:
        """Take a reading in, and return where its ladder stands; what changes nothing leaves no line."""
        with self._alone() as ladders:
            before = ladders.states.get(target, State())
            if step(policy, before, reading) == before:
                return before
            return self._append(ladders, policy, [(target, reading)]).states[target]

    def follow(self, policy: LadderPolicy, read: Callable[[Ladders], Mapping[Target, Reading]]) -> Ladders:
        """Take in what rules read, given where the ladders stand, and return where they stand then.

        A reading leaves a line only where a level or a confirmation that still counts changes: a rule that fires for a
        night is read six hundred times. All lines of one call are written at once.
        """
        with self._alone() as ladders:
            events = [
                (target, reading)
                for target, reading in sorted(read(ladders).items())
                if _decides(policy, ladders.states.get(target, State()), reading)
            ]
            return self._append(ladders, policy, events) if events else ladders

    def release(self, policy: LadderPolicy, target: Target, asked: Release) -> State:
        """Let a ladder down in the name of people, and return where it stands.

        Raises
        ------
        LadderError
            When it is not theirs to let down so.
        """
        with self._alone() as ladders:
            return self._append(ladders, policy, [(target, asked)]).states[target]

    def _append(
        self, ladders: Ladders, policy: LadderPolicy, events: Iterable[tuple[Target, Reading | Release]]
    ) -> Ladders:
        lines = []
        if ladders.policy != policy:
            line, ladders = _line(ladders, None, policy)
            lines.append(line)
        for target, event in events:
            line, ladders = _line(ladders, target, event)
            lines.append(line)
        with self.path.open("ab") as file:
            file.write(b"".join(each + b"\n" for each in lines))
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.path.parent)
        return ladders

    def _whole(self) -> bytes:
        if not self.path.exists():
            return b""
        content = self.path.read_bytes()
        # A crash within a write leaves a line without its end, which nobody was told of.
        return content[: content.rfind(b"\n") + 1]

    def _followed(self, content: bytes) -> Ladders:
        known, ladders = self._known
        if not content.startswith(known):
            known, ladders = b"", Ladders({})
        ladders = replayed(content[len(known) :].splitlines(), ladders, known.count(b"\n"))
        self._known = (content, ladders)
        return ladders

    @contextmanager
    def _alone(self) -> Iterator[Ladders]:
        make_folder(self.path.parent)
        with self.path.with_name(f".{self.path.name}.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            content = self._whole()
            if self.path.exists():
                os.truncate(self.path, len(content))
            yield self._followed(content)


def _decides(policy: LadderPolicy, before: State, reading: Reading) -> bool:
    after = step(policy, before, reading)
    valued = [each.name for each in reading.signals if each.basis is Basis.VALUED]

    def confirmed(state: State) -> list[int]:
        return [min(state.reads.get(name, 0), policy.confirmations.value) for name in valued]

    return after.level != before.level or confirmed(after) != confirmed(before)


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
