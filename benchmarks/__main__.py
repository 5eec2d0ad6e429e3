"""Run every benchmark, each in a process of its own; the exit code says whether all targets hold.

The studies are not among them: they write pages of ``docs/``, and take a quarter of an hour or data that isn't here;
nor is the soak, which ``make soak`` runs.
"""

import subprocess
import sys
from pathlib import Path

STUDIES = {
    "alert_quality", "edge_verdicts", "failure_modes", "false_promotions", "ledger_attacks", "outcomes", "real_data",
    "reconciliation", "rollback", "soak",
}  # fmt: skip
subjects = sorted({path.stem for path in Path(__file__).parent.glob("[a-z]*.py")} - STUDIES)
missed = [name for name in subjects if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"]).returncode]
sys.exit(f"targets missed in {', '.join(missed)}" if missed else 0)
