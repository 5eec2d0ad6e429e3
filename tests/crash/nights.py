"""The nightly run, killed again and again: what of it is stored is whole, and when it is let through it is the same.

A night writes a dozen tables and three files, each at once. Belongs here: killing the whole run in its own process.
Doesn't: one writer alone (``harness``).
"""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path

from research_to_prod.lake import LakeError
from tests.crash.harness import Outcome
from tests.defs.nights import DAYS, Desk


def killed_nights(folder: Path, kills: int, seed: int) -> Outcome:
    """Kill the night of one day so often, at random moments of its length, and let it through at last."""
    dice = random.Random(seed)  # noqa: S311
    outcome = Outcome("nightly run: a day's report with all its tables", "kill -9")
    whole, desk = Desk(folder / "whole"), Desk(folder / "killed")
    began = time.monotonic()
    if not _let_through(whole):
        raise RuntimeError("the night fails without being killed")
    length = time.monotonic() - began
    while outcome.troubles < kills:
        night, began = desk.start(DAYS[0]), time.monotonic()
        try:
            night.communicate(timeout=dice.uniform(0.2, 1) * length)
        except subprocess.TimeoutExpired:
            night.kill()
            night.communicate()
        if night.returncode == 0:
            # The machine was busier when the first night was timed: a kill is to fall into the night's length of now.
            length = time.monotonic() - began
            outcome.acknowledged += 1
            continue
        outcome.troubles += 1
        outcome.problems += [f"kill {outcome.troubles}: {each}" for each in _broken(desk, whole)]
    if not _let_through(desk):
        outcome.problems.append("the night that is let through fails")
    if (desk.contents(), desk.files()) != (whole.contents(), whole.files()):
        outcome.problems.append("the night that was let through has other bytes than the one that was never killed")
    return outcome


def _let_through(desk: Desk) -> bool:
    night = desk.start(DAYS[0])
    night.communicate()
    return night.returncode == 0


def _broken(desk: Desk, whole: Desk) -> list[str]:
    """Return what is there by half: every version of every table, and every file of the report."""
    problems = []
    for table in desk.lake.tables():
        for partition in desk.lake.versions(table):
            for version in desk.lake.history(table, partition):
                try:
                    desk.lake.read_version(version)
                except LakeError as error:
                    problems.append(str(error))
    if desk.settings.reports.exists():
        made = whole.files()
        problems += [f"{name} is not whole" for name, data in desk.files().items() if made.get(name) != data]
    return problems
