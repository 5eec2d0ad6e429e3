"""Write into docs/mutants.md what `mutmut results --all true`, read from standard input, says of each module."""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "mutants.md"
BEGIN, END = "<!-- mutants: begin -->", "<!-- mutants: end -->"
NOTICED = ("killed", "timeout", "segfault", "caught by type check")
SURVIVED = ("survived", "no tests")


def summary(results: str, day: str) -> str:
    """Return the table of the results, a line a module, and the names of the mutants that nothing noticed."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    survivors = []
    for line in results.splitlines():
        found = re.fullmatch(r"\s*(research_to_prod\.\S+)\.(x\S+): (.+)", line)
        if found is not None:
            module, mutant, status = found.groups()
            counts[module][status] += 1
            if status in SURVIVED:
                survivors.append(f"- `{module}.{mutant}`: {status}")
    lines = [
        f"Run of {day}.",
        "",
        "| module | mutants | noticed | survived | not run |",
        "| --- | --- | --- | --- | --- |",
    ]
    for module, found_in in sorted(counts.items()):
        noticed = sum(found_in[status] for status in NOTICED)
        survived = sum(found_in[status] for status in SURVIVED)
        total = found_in.total()
        lines.append(f"| `{module}` | {total} | {noticed} | {survived} | {total - noticed - survived} |")
    return "\n".join([*lines, "", *(survivors or ["Nothing that was run survived."])])


if __name__ == "__main__":
    text = PAGE.read_text()
    start, rest = text.split(BEGIN)
    table = summary(sys.stdin.read(), f"{datetime.now(UTC):%Y-%m-%d}")
    PAGE.write_text(f"{start}{BEGIN}\n\n{table}\n\n{END}{rest.split(END)[1]}")
