"""What every benchmark shares: taking turns, ratios, and the table that says which targets hold."""

from __future__ import annotations

import gc
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

CLAIMS = "BENCHMARK_CLAIMS"
"""Variable that names the file in which a benchmark leaves its claims for the page."""

Seconds = dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Claim:
    """A measured number and the bound it is held to, if any.

    Parameters
    ----------
    what
        What was measured, with its unit.
    measured
        The number.
    at_least, at_most
        The target. A number without one is reported, and judged by nobody.
    """

    what: str
    measured: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the target is met; NaN meets none."""
        enough = self.at_least is None or self.measured >= self.at_least
        return enough and (self.at_most is None or self.measured <= self.at_most)

    @property
    def target(self) -> str:
        """The target as the table prints it."""
        bounds = [(">=", self.at_least), ("<=", self.at_most)]
        return " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)


def in_turns(
    contestants: Mapping[str, Callable[[], object]],
    rounds: int,
    check: Callable[[str, object], None] = lambda _name, _result: None,
) -> Seconds:
    """Time each contestant once a round, all in one process, after one round that isn't counted.

    Turns put each contestant under the same noise of a shared machine, and the first round pays for imports, compiled
    code and cold files.

    Parameters
    ----------
    check
        Is given each contestant's name and its result of the round that isn't counted; raises if it is wrong.

    Returns
    -------
    Seconds
        (rounds,) wall seconds of each contestant.
    """
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, run in contestants.items():
            gc.collect()
            began = time.perf_counter()
            result = run()
            if turn:
                taken[name].append(time.perf_counter() - began)
            else:
                check(name, result)
    return {name: np.array(seconds) for name, seconds in taken.items()}


def ratio(seconds: Seconds, slow: str, fast: str) -> float:
    """Return how many times longer ``slow`` took than ``fast``: the median of the ratios of each round."""
    return float(np.median(seconds[slow] / seconds[fast]))


def report(title: str, seconds: Seconds, claims: Sequence[Claim], units: Mapping[str, float] | None = None) -> int:
    """Print the medians and the claims; return the exit code, 1 when a claim doesn't hold.

    Parameters
    ----------
    units
        Work done in one turn (rows, bars, series) by contestant, for a column of units a second.
    """
    console = Console(width=118)
    if seconds:
        timed = Table("contestant", "median s", "fastest s", "turns", "units/s", title=title, title_justify="left")
        for name, each in seconds.items():
            rate = f"{units[name] / np.median(each):,.0f}" if units and name in units else ""
            timed.add_row(name, f"{np.median(each):.4f}", f"{each.min():.4f}", str(len(each)), rate)
        console.print(timed)
    judged = Table("claim", "measured", "target", "", title_justify="left")
    for claim in claims:
        verdict = "" if not claim.target else "holds" if claim.holds else "MISSED"
        judged.add_row(claim.what, f"{claim.measured:.2f}", claim.target, verdict)
    console.print(judged)
    if kept := os.environ.get(CLAIMS):
        with Path(kept).open("a") as stream:
            for each in claims:
                fields = {"what": each.what, "measured": each.measured, "target": each.target, "holds": each.holds}
                stream.write(json.dumps(fields) + "\n")
    return 0 if all(claim.holds for claim in claims) else 1


def peak_memory() -> float:
    """Return the most memory that this process ever held, in GB.

    Not ``getrusage``: Linux hands its maximum on through fork and exec, so a child would start with its parent's.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e9
    raise OSError("/proc/self/status names no VmHWM; peak memory is measured on Linux only")
