"""Break the code that decides, module by module, and write into docs/mutants.md what no test noticed.

``python -m benchmarks.mutants [MODULE...]`` asks mutmut about the modules named (``gates.gate``), or all of them, each
in a folder of its own under ``mutants/`` and with its own tests only: held to every test of the project it takes days.
A stopped run goes on where it ended; what survived is asked again; a killed mutant is until its function changes.
``mutants/`` deleted starts afresh.

Belongs here: which tests are to notice what, the run, the page. Doesn't: mutations (mutmut), why one is equivalent
(docs/mutants.md, by hand).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "mutants.md"
MUTMUT = ROOT / ".venv-mutants" / "bin" / "mutmut"
BEGIN, END = "<!-- mutants: begin -->", "<!-- mutants: end -->"
COPIED = ("research_to_prod", "tests", "benchmarks", "docs", "README.md", "requirements.lock")
"""What the tests read: the package, themselves, and pages and benchmarks beside it."""

DECIDING: dict[str, tuple[str, ...]] = {
    "gates.gate": ("gates/test_gate.py", "gates/test_evaluation.py"),
    "gates.evaluation": ("gates/test_gate.py", "gates/test_evaluation.py", "gates/test_implementation.py"),
    "promotion.decision": ("promotion/test_decision.py",),
    "promotion.stages": ("promotion/test_stages.py",),
    "promotion.evidence": ("promotion/test_evidence_walk.py", "promotion/test_evidence_checks.py"),
    "promotion.merkle": ("promotion/test_merkle.py",),
    "promotion.record": ("promotion/test_record.py", "promotion/test_decision.py"),
    "promotion.approvals": ("promotion/test_approvals.py", "promotion/test_waiting.py"),
    "promotion.verifier": (
        "promotion/test_verifier_forms.py",
        "promotion/test_verifier_log.py",
        "promotion/test_verifier_approvals.py",
        "promotion/test_verifier_report.py",
        "promotion/test_merkle.py",
    ),
}
"""Verdict, proof and verifier code, where nothing may survive, and the tests that are to notice."""

MEASURING: dict[str, tuple[str, ...]] = {
    "gates.approval": ("promotion/test_approvals.py", "promotion/test_waiting.py"),
    "gates.capital": ("gates/test_capital.py", "promotion/test_limits.py"),
    "gates.data_quality": ("gates/test_evaluation.py",),
    "gates.evidence": ("gates/test_evidence.py",),
    "gates.explanation": ("gates/test_explanation.py",),
    "gates.feed_evidence": ("gates/test_feed_evidence.py",),
    "gates.holdings": ("gates/test_evidence.py", "gates/test_risk.py"),
    "gates.implementation": ("gates/test_implementation.py",),
    "gates.latency": ("gates/test_latency.py",),
    "gates.limits": ("gates/test_limits.py",),
    "gates.policy": ("gates/test_policy.py", "gates/test_evaluation.py"),
    "gates.readiness": ("gates/test_implementation.py", "gates/test_evaluation.py"),
    "gates.readiness_evidence": ("gates/test_readiness_evidence.py",),
    "gates.risk": ("gates/test_risk.py", "gates/test_evaluation.py"),
    "gates.robustness": ("gates/test_evaluation.py", "gates/test_robustness.py"),
    "gates.significance": ("gates/test_evaluation.py",),
    "gates.thresholds": ("gates/test_capital.py", "gates/test_policy.py"),
    "gates.trading_evidence": ("gates/test_trading_evidence.py",),
    "gates.validation_statistics": ("gates/test_validation_statistics.py",),
    "promotion.blobs": ("promotion/test_ledger_attacks.py", "promotion/test_ledger.py"),
    "promotion.code_identity": ("promotion/test_code_identity.py",),
    "promotion.controls": ("promotion/test_manifest.py", "operations/test_ladder.py"),
    "promotion.export": ("promotion/test_export.py",),
    "promotion.files": ("promotion/test_files.py", "promotion/test_ledger.py"),
    "promotion.history": ("promotion/test_history.py",),
    "promotion.keys": ("promotion/test_keys.py",),
    "promotion.ledger": ("promotion/test_ledger.py",),
    "promotion.limits": ("promotion/test_limits.py",),
    "promotion.manifest": ("promotion/test_manifest.py",),
    "promotion.manifest_reader": ("promotion/test_manifest_reader.py",),
    "promotion.metrics": ("promotion/test_metrics.py",),
    "promotion.taking_back": ("promotion/test_taking_back.py",),
    "promotion.waiting": ("promotion/test_waiting.py",),
    "promotion.witness": ("promotion/test_witness.py",),
}
"""The rest of both rooms, where at least 85 % is to be noticed."""

TESTS = DECIDING | MEASURING
KILLED, TIMEOUT, SURVIVED, UNTOUCHED = "killed", "timeout", "survived", "no tests"
_STATUS = {0: SURVIVED, 1: KILLED, 3: KILLED, 5: UNTOUCHED, 33: UNTOUCHED} | dict.fromkeys((36, 24, -24, 152), TIMEOUT)
"""What mutmut's exit codes say; whatever else ended the tests is no answer."""


def source_of(module: str) -> Path:
    """Return the module's file, relative to the project."""
    return Path("research_to_prod", *module.split(".")).with_suffix(".py")


def results_of(module: str) -> dict[str, int | None]:
    """Return the exit code of the tests for each mutant of a module, None where they were not run."""
    found = _meta(module)
    return json.loads(found.read_text())["exit_code_by_key"] if found.exists() else {}


def _meta(module: str) -> Path:
    return ROOT / "mutants" / module / "mutants" / f"{source_of(module)}.meta"


def run(module: str, children: int) -> None:
    """Ask about what was not killed yet, with the module's own tests."""
    place = ROOT / "mutants" / module
    place.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        if not (place / name).exists():
            (place / name).symlink_to(ROOT / name)
    settings = {
        "source_paths": ["research_to_prod"],
        "only_mutate": [str(source_of(module))],
        "pytest_add_cli_args_test_selection": [f"tests/{name}" for name in TESTS[module]],
        "also_copy": list(COPIED[1:]),
        "use_git_change_detection": False,
        "use_setproctitle": False,
    }
    told = "\n".join(f"{name} = {json.dumps(value)}" for name, value in settings.items())
    (place / "pyproject.toml").write_text(f"{(ROOT / 'pyproject.toml').read_text()}\n[tool.mutmut]\n{told}\n")
    # Which test touches which function may have changed, and with it what survives.
    (place / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)
    if _meta(module).exists():
        known = json.loads(_meta(module).read_text())
        known["exit_code_by_key"] = {
            name: code if _STATUS.get(code) == KILLED else None for name, code in known["exit_code_by_key"].items()
        }
        _meta(module).write_text(json.dumps(known))
    subprocess.run([MUTMUT, "run", f"--max-children={children}"], cwd=place, check=True)


def summary() -> str:
    """Return the table of what is known, a line a module, and the names of the mutants that nothing noticed."""
    lines = ["| module | mutants | killed | timeout | survived | not run | noticed |", "| --- " * 7 + "|"]
    survivors = []
    for modules in (DECIDING, MEASURING):
        total: Counter[str] = Counter()
        for module in sorted(modules):
            results = results_of(module)
            counts = Counter(_STATUS.get(code, "") if code is not None else "" for code in results.values())
            total += counts
            lines.append(_line(f"`{module}`", counts))
            survivors += [
                f"- `{name.removeprefix('research_to_prod.')}`"
                for name, code in results.items()
                if _STATUS.get(code) in {SURVIVED, UNTOUCHED}
            ]
        lines.append(_line("**sum**", total))
    return "\n".join([*lines, "", *(survivors or ["Nothing that was run survived."])])


def _line(name: str, counts: Counter[str]) -> str:
    noticed, survived = counts[KILLED] + counts[TIMEOUT], counts[SURVIVED] + counts[UNTOUCHED]
    share = f"{noticed / (noticed + survived):.1%}" if noticed + survived else "-"
    cells = (name, counts.total(), counts[KILLED], counts[TIMEOUT], survived, counts[""], share)
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    for each in sys.argv[1:] or TESTS:
        run(each, children=1)
        before, rest = PAGE.read_text().split(BEGIN)
        day = f"{datetime.now(UTC):%Y-%m-%d}"
        PAGE.write_text(f"{before}{BEGIN}\n\nRun of {day}.\n\n{summary()}\n\n{END}{rest.split(END)[1]}")
