"""``python -m tests.crash``: the crash matrix, whole; writes its table into docs/reliability.md.

Fails when anything that must hold does not. It takes about twenty minutes on two cores, most of them the nights'.
"""

from __future__ import annotations

import errno
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from benchmarks._tables import table
from tests.crash.harness import CALLS, Outcome, faulted, killed
from tests.crash.nights import killed_nights
from tests.crash.writers import WRITERS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- crashes: begin -->\n", "<!-- crashes: end -->\n"
KILLS = 50
SEED = 20261129


def outcomes(folder: Path) -> Iterator[Outcome]:
    """Yield what became of each writer under each trouble."""
    for number, writer in enumerate(WRITERS):
        yield killed(writer, folder / f"{number}", KILLS, SEED)
        for call in CALLS:
            for error in (errno.EIO, errno.ENOSPC):
                yield faulted(writer, folder / f"{number}-{call}-{error}", call, error)
    yield killed_nights(folder / "nights", KILLS, SEED)


def main() -> int:
    """Run the matrix, write the page, and return 1 when something did not hold."""
    made = []
    with tempfile.TemporaryDirectory(prefix="r2p-crash-") as folder:
        for outcome in outcomes(Path(folder)):
            Console().print(outcome)
            made.append(outcome)
    rows = [
        (each.writer, each.trouble, *map(str, (each.troubles, each.acknowledged, each.refused, len(each.problems))))
        for each in made
        if each.troubles
    ]
    head = ("writer", "trouble", "times", "acknowledged", "refused", "did not hold")
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    told = f"Run of {datetime.now(UTC):%Y-%m-%d}, seed {SEED}.\n\n{table(head, rows)}\n"
    PAGE.write_text(before + BEGIN + told + END + after)
    return int(any(each.problems for each in made))


if __name__ == "__main__":
    sys.exit(main())
