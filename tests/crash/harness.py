"""Kills and disk faults for one writer, and what must hold after each.

What was acknowledged is stored; anything else is there whole or not at all; the next process can write. Kills are
SIGKILL at random moments of a write (seeded). Faults are made below Python, Rust and C++ alike, by a library that is
loaded before libc (``shim.c``). Belongs here: how a writer is broken, and the judgement. Doesn't: the writers
(``writers``), the table (``__main__``).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import multiprocessing
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.crash.writers import Writer, named

CALLS = ("fsync", "write", "rename")
"""The calls that can fail; links count as renames, both give a whole file its name."""

_PATIENCE = 60.0
_FOR_EVER = 2**31


@dataclass
class Outcome:
    """What became of one writer under one kind of trouble.

    Parameters
    ----------
    troubles
        Kills, or points at which a call failed.
    acknowledged
        Writes that returned.
    refused
        Writes that raised an error, of which the caller knows.
    problems
        What did not hold; empty when all did.
    """

    writer: str
    trouble: str
    troubles: int = 0
    acknowledged: int = 0
    refused: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass
class _Seen:
    """What a writer's process told before it ended."""

    begun: list[str] = field(default_factory=list)
    acked: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)

    def drain(self, pipe: Connection) -> None:
        """Take in all that was told."""
        with contextlib.suppress(EOFError, ConnectionError):
            while pipe.poll():
                self.take(pipe.recv())

    def take(self, told: tuple[str, object]) -> None:
        """Take in one message."""
        getattr(self, told[0]).append(told[1])


def killed(kind: type[Writer], folder: Path, kills: int, seed: int) -> Outcome:
    """Kill the writer so often, each time in the middle of a write, and look at what is stored after each."""
    dice = random.Random(seed)  # noqa: S311
    outcome = Outcome(kind.name, "kill -9")
    seen = _Seen()
    duration = 0.1
    for generation in range(kills):
        with _started(_write_on, kind, folder, generation) as (process, pipe):
            for _ in range(dice.randint(0, 2)):
                _wait(pipe, seen)
                began = time.monotonic()
                _wait(pipe, seen)
                duration = min(1.0, time.monotonic() - began)
            _wait(pipe, seen)
            time.sleep(dice.uniform(0, 1.2 * duration))
            process.kill()
            process.join(_PATIENCE)
            seen.drain(pipe)
        outcome.troubles += 1
        outcome.problems += [f"kill {generation + 1}: {each}" for each in _after(kind, folder, seen)]
    outcome.acknowledged = len(seen.acked) - kills
    return outcome


def faulted(kind: type[Writer], folder: Path, call: str, error: int, most: int = 500) -> Outcome:
    """Let the n-th call on the writer's files fail, for every n that one write reaches, on fresh files each time.

    An EIO passes; a full disk stays full until the process ends.
    """
    outcome = Outcome(kind.name, f"{errno.errorcode[error]} at {call}")
    for nth in range(1, most + 1):
        shutil.rmtree(folder, ignore_errors=True)
        seen = _Seen()
        with _started(_write_once_more, kind, folder, call, error, nth) as (process, pipe):
            process.join(_PATIENCE)
            seen.drain(pipe)
            hangs = process.is_alive()
        if seen.failed == [0]:
            return outcome
        outcome.troubles += 1
        outcome.acknowledged += len(seen.acked) - 1
        outcome.refused += len(seen.refused)
        problems = ["the writer hangs"] if hangs else []
        outcome.problems += [f"call {nth}: {each}" for each in (*problems, *_after(kind, folder, seen))]
    outcome.problems.append(f"more than {most} calls: the rest was not tried")
    return outcome


def _after(kind: type[Writer], folder: Path, seen: _Seen) -> list[str]:
    """Return what does not hold: of what is stored, and of a write by the next process."""
    found = _stored(kind, folder)
    if isinstance(found, str):
        return [found]
    problems = _judged(kind, seen, found)
    name = named(len(seen.begun), "next")
    seen.begun.append(name)
    told = _Seen()
    with _started(_write_one, kind, folder, name) as (process, pipe):
        process.join(_PATIENCE)
        told.drain(pipe)
    if told.acked != [name]:
        return [*problems, f"the next process can't write: {told.refused or 'it ended or hangs'}"]
    seen.acked.append(name)
    found = _stored(kind, folder)
    return [*problems, found] if isinstance(found, str) else problems + _judged(kind, seen, found)


def _judged(kind: type[Writer], seen: _Seen, stored: Sequence[str]) -> list[str]:
    problems = []
    if invented := set(stored) - set(seen.begun):
        problems.append(f"stored and never written: {sorted(invented)}")
    if doubled := [name for name, times in Counter(stored).items() if times > 1]:
        problems.append(f"stored twice: {doubled}")
    if kind.keeps_all:
        if lost := set(seen.acked) - set(stored):
            problems.append(f"acknowledged and lost: {sorted(lost)}")
    elif seen.acked and (not stored or seen.begun.index(stored[-1]) < seen.begun.index(seen.acked[-1])):
        problems.append(f"acknowledged was {seen.acked[-1]}, stored is {stored[-1:]}")
    return problems


def _stored(kind: type[Writer], folder: Path) -> list[str] | str:
    with _started(_tell_stored, kind, folder) as (_, pipe):
        if not pipe.poll(_PATIENCE):
            return "reading hangs"
        try:
            found: list[str] | str = pipe.recv()
        except EOFError:
            return "reading ends the process"
    return found


def _wait(pipe: Connection, seen: _Seen) -> None:
    if not pipe.poll(_PATIENCE):
        raise TimeoutError("the writer tells nothing")
    seen.take(pipe.recv())


@cache
def _fork() -> ForkServerContext:
    """Return the server that children are forked from: it has imported everything, and the shim is loaded."""
    library = Path(tempfile.mkdtemp(prefix="r2p-shim-")) / "shim.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", str(library), str(source), "-ldl"], check=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.crash.writers"])
    before = os.environ.get("LD_PRELOAD")
    os.environ["LD_PRELOAD"] = str(library)
    try:
        # The first child starts the server, which keeps the environment of that moment.
        first = context.Process(target=int)
        first.start()
        first.join()
    finally:
        if before is None:
            del os.environ["LD_PRELOAD"]
        else:
            os.environ["LD_PRELOAD"] = before
    return context


@contextmanager
def _started(target: Callable[..., None], *args: object) -> Iterator[tuple[BaseProcess, Connection]]:
    ours, theirs = _fork().Pipe()
    process = _fork().Process(target=target, args=(*args, theirs))
    process.start()
    theirs.close()
    try:
        yield process, ours
    finally:
        process.kill()
        process.join()
        ours.close()


def _write_on(kind: type[Writer], folder: Path, generation: int, pipe: Connection) -> None:
    writer = kind(folder)
    if generation == 0:
        folder.mkdir(parents=True)
        writer.prepare()
    for number in range(10**6):
        name = named(number, str(generation))
        pipe.send(("begun", name))
        writer.write(name)
        pipe.send(("acked", name))


def _write_once_more(kind: type[Writer], folder: Path, call: str, error: int, nth: int, pipe: Connection) -> None:
    folder.mkdir(parents=True)
    writer = kind(folder)
    writer.prepare()
    _try(writer, named(1, "first"), pipe)
    shim = ctypes.CDLL(None)
    last = nth if error == errno.EIO else _FOR_EVER
    shim.shim_plan(os.fsencode(folder), CALLS.index(call), error, ctypes.c_long(nth), ctypes.c_long(last))
    _try(writer, named(2, "second"), pipe)
    pipe.send(("failed", shim.shim_failed()))


def _write_one(kind: type[Writer], folder: Path, name: str, pipe: Connection) -> None:
    _try(kind(folder), name, pipe)


def _try(writer: Writer, name: str, pipe: Connection) -> None:
    pipe.send(("begun", name))
    try:
        writer.write(name)
    except Exception as error:  # noqa: BLE001 - whatever it is, the caller was told
        pipe.send(("refused", f"{type(error).__name__}: {error}"))
    else:
        pipe.send(("acked", name))


def _tell_stored(kind: type[Writer], folder: Path, pipe: Connection) -> None:
    try:
        pipe.send(list(kind(folder).stored()))
    except Exception as error:  # noqa: BLE001 - it is the finding
        pipe.send(f"what is stored can't be read: {type(error).__name__}: {error}")
