"""Run every benchmark, each in a process of its own, and write their claims as one table into docs/performance.md.

``python -m benchmarks lake ledger`` runs the named ones; the page keeps what it says of the others. The exit code says
whether all targets hold. The studies are not among them: they write pages of their own, and take a
quarter of an hour or data that isn't here; nor is the soak, which ``make soak`` runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks._harness import CLAIMS
from benchmarks._tables import table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- benchmarks: begin -->\n", "<!-- benchmarks: end -->\n"
STUDIES = {
    "alert_quality", "edge_verdicts", "failure_modes", "false_promotions", "ledger_attacks", "mutants", "outcomes",
    "real_data", "reconciliation", "rollback", "soak",
}  # fmt: skip


def run(subject: str, folder: Path) -> Iterator[tuple[str, ...]]:
    """Run one benchmark and yield the rows of its claims; one row that says so when it ended without any."""
    kept = folder / f"{subject}.json"
    ended = subprocess.run([sys.executable, "-m", f"benchmarks.{subject}"], env={**os.environ, CLAIMS: str(kept)})
    if not kept.exists():
        yield f"`{subject}`", f"ended with {ended.returncode} and no figures", "", "", "MISSED"
        return
    for claim in map(json.loads, kept.read_text().splitlines()):
        judged = "" if not claim["target"] else "holds" if claim["holds"] else "MISSED"
        yield f"`{subject}`", claim["what"], f"{claim['measured']:.3g}", claim["target"], judged


def kept_rows(page: str, but: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the rows that the page has of other benchmarks than those."""
    rows = [
        tuple(cell.strip() for cell in line.strip("|").split(" | "))
        for line in page.splitlines()
        if line.startswith("| `")
    ]
    return [row for row in rows if row[0].strip("`") not in but]


def main(named: Sequence[str]) -> int:
    """Run the benchmarks named, or all, write the page, and return 1 when a target is missed."""
    known = sorted({path.stem for path in Path(__file__).parent.glob("[a-z]*.py")} - STUDIES)
    if unknown := set(named) - set(known):
        raise SystemExit(f"no benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    subjects = named or known
    when = f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    with tempfile.TemporaryDirectory(prefix="r2p-bench-") as folder:
        made = [(*row, when) for subject in subjects for row in run(subject, Path(folder))]
    before, rest = PAGE.read_text().split(BEGIN)
    rows = sorted(kept_rows(rest.split(END)[0], subjects) + made, key=lambda row: row[0])
    head = ("benchmark", "claim", "measured", "target", "", "when")
    PAGE.write_text(f"{before}{BEGIN}\n{table(head, rows)}\n\n{END}{rest.split(END)[1]}")
    return int(any(row[-2] == "MISSED" for row in made))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
