"""Break the code that decides, module by module, and write into docs/mutants.md what no test noticed.

``python -m benchmarks.mutants [MODULE...]`` asks mutmut about the modules named (``gates.gate``), or all of them, each
in a folder of its own under ``mutants/`` and with its own tests only: held to every test of the project it takes days.
A stopped run goes on where it ended; what survived is asked again; a killed mutant stays so until its function changes.
``mutants/`` deleted starts afresh. ``--sample 300`` asks about so many mutants drawn at random of the code that only
measures, which gives its figure with an interval in a fraction of the time.

Belongs here: which tests are to notice what, the run, the page. Doesn't: mutations (mutmut), why one is equivalent
(docs/mutants.md, by hand).
"""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
from collections import Counter
from collections.abc import Sequence
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

# Without promotion.manifest_reader: its tests load a copy of the file, as execution systems do, and mutmut sees no hit.
MEASURING: dict[str, tuple[str, ...]] = {
    "gates.capital": ("gates/test_capital.py", "promotion/test_limits.py"),
    "gates.data_quality": ("gates/test_gate_words.py", "gates/test_evaluation.py"),
    "gates.evidence": ("gates/test_evidence.py",),
    "gates.explanation": ("gates/test_explanation.py",),
    "gates.feed_evidence": ("gates/test_feed_evidence.py",),
    "gates.holdings": ("gates/test_gate_words.py", "gates/test_evidence.py", "gates/test_risk.py"),
    "gates.implementation": ("gates/test_gate_words.py", "gates/test_implementation.py"),
    "gates.latency": ("gates/test_gate_words.py", "gates/test_latency.py"),
    "gates.limits": ("gates/test_limits.py",),
    "gates.policy": ("gates/test_policy.py", "gates/test_evaluation.py"),
    "gates.readiness": ("gates/test_gate_words.py", "gates/test_implementation.py", "gates/test_evaluation.py"),
    "gates.readiness_evidence": ("gates/test_readiness_evidence.py",),
    "gates.risk": ("gates/test_gate_words.py", "gates/test_risk.py", "gates/test_evaluation.py"),
    "gates.robustness": ("gates/test_gate_words.py", "gates/test_evaluation.py"),
    "gates.significance": ("gates/test_gate_words.py", "gates/test_evaluation.py"),
    "gates.trading_evidence": ("gates/test_trading_evidence.py",),
    "gates.validation_statistics": ("gates/test_validation_statistics.py",),
    "promotion.blobs": ("promotion/test_ledger_attacks.py", "promotion/test_ledger.py"),
    "promotion.code_identity": ("promotion/test_code_identity.py",),
    "promotion.contracts": ("promotion/test_metrics.py",),
    "promotion.controls": ("promotion/test_manifest.py", "operations/test_ladder.py"),
    "promotion.export": ("promotion/test_export.py",),
    "promotion.files": ("promotion/test_files.py", "promotion/test_ledger.py"),
    "promotion.history": ("promotion/test_history.py",),
    "promotion.keys": ("promotion/test_keys.py", "promotion/test_approvals.py"),
    "promotion.ledger": ("promotion/test_ledger.py",),
    "promotion.limits": ("promotion/test_limits.py",),
    "promotion.manifest": ("promotion/test_manifest.py",),
    "promotion.metrics": ("promotion/test_metrics.py",),
    "promotion.openlineage": ("commands/test_trace.py",),
    "promotion.replay": ("commands/test_trace.py",),
    "promotion.taking_back": ("promotion/test_taking_back.py",),
    "promotion.trace": ("commands/test_trace.py",),
    "promotion.waiting": ("promotion/test_waiting.py",),
    "promotion.witness": ("promotion/test_witness.py",),
}
"""The rest of both rooms, where at least 85 % is to be noticed."""

TESTS = DECIDING | MEASURING
KILLED, TIMEOUT, SURVIVED, UNTOUCHED = "killed", "timeout", "survived", "no tests"
SAMPLE = ROOT / "mutants" / "sample.json"
_NAMES = """
import sys
from pathlib import Path
from mutmut.mutation.file_mutation import mutate_file_contents
from mutmut.utils.format_utils import get_mutant_name
found = mutate_file_contents(sys.argv[1], Path(sys.argv[1]).read_text()).mutant_names
print(*(get_mutant_name(Path(sys.argv[1]), each) for each in found))
"""
_STATUS = {0: SURVIVED, 1: KILLED, 3: KILLED, 5: UNTOUCHED, 33: UNTOUCHED} | dict.fromkeys((36, 24, -24, 152), TIMEOUT)
"""What mutmut's exit codes say; whatever else ended the tests is no answer."""


def source_of(module: str) -> Path:
    """Return the module's file, relative to the project."""
    return Path("research_to_prod", *module.split(".")).with_suffix(".py")


def results_of(module: str) -> dict[str, int | None]:
    """Return the exit code of the tests for each mutant of a module, None where they were not run."""
    try:
        return dict(json.loads(_meta(module).read_text())["exit_code_by_key"])
    except (FileNotFoundError, json.JSONDecodeError):  # the second when it was stopped in the middle of a line
        return {}


def _meta(module: str) -> Path:
    return ROOT / "mutants" / module / "mutants" / f"{source_of(module)}.meta"


def prepare(module: str) -> Path:
    """Return the folder in which mutmut is asked about a module, made or brought up to date."""
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
        # It collects garbage five times after every run: more time than the tests of most mutants.
        "pytest_add_cli_args": ["-p", "no:unraisableexception"],
        "use_git_change_detection": False,
        "use_setproctitle": False,
    }
    told = "\n".join(f"{name} = {json.dumps(value)}" for name, value in settings.items())
    (place / "pyproject.toml").write_text(f"{(ROOT / 'pyproject.toml').read_text()}\n[tool.mutmut]\n{told}\n")
    # Which test touches which function may have changed, and with it what survives.
    (place / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)
    # Made anew, as it may be half written; what is known of a function that did not change stays known.
    (place / "mutants" / source_of(module)).unlink(missing_ok=True)
    if not results_of(module):
        _meta(module).unlink(missing_ok=True)
    else:
        known = json.loads(_meta(module).read_text())
        known["exit_code_by_key"] = {
            name: code if _STATUS.get(code) == KILLED else None for name, code in known["exit_code_by_key"].items()
        }
        _meta(module).write_text(json.dumps(known))
    return place


def run(module: str, children: int, names: Sequence[str] = ()) -> None:
    """Ask about what was not killed yet, with the module's own tests; or about the mutants named only."""
    subprocess.run([MUTMUT, "run", f"--max-children={children}", *names], cwd=prepare(module), check=True)


def draw(count: int) -> dict[str, list[str]]:
    """Return mutants drawn at random, by module, of the code that only measures; noted in ``mutants/sample.json``."""
    names = []
    for module in MEASURING:
        command = [MUTMUT.with_name("python"), "-c", _NAMES, source_of(module)]
        names += subprocess.run(command, cwd=prepare(module), check=True, capture_output=True, text=True).stdout.split()
    drawn = sorted(random.Random(0).sample(names, count))  # noqa: S311 - a sample, and the same one every time
    SAMPLE.write_text(json.dumps({"of": len(names), "drawn": drawn}))
    return {module: found for module in MEASURING if (found := [name for name in drawn if f".{module}.x" in name])}


def sampled() -> str:
    """Return what was found of the mutants that were drawn, with the 95 % interval of Wilson."""
    if not SAMPLE.exists():
        return ""
    sample = json.loads(SAMPLE.read_text())
    known = {name: code for module in MEASURING for name, code in results_of(module).items()}
    found = Counter(_STATUS.get(known.get(name), "") for name in sample["drawn"])
    noticed, n, z = found[KILLED] + found[TIMEOUT], found.total() - found[""], 1.959964
    if not n:
        return ""
    middle = (noticed + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(noticed * (n - noticed) / n + z * z / 4)
    return (
        f"Of the {sample['of']} mutants of the code that only measures, {len(sample['drawn'])} were drawn at random "
        f"(seed 0) and {n} run: {noticed} were noticed, {noticed / n:.1%} (95 % interval {middle - half:.1%} to "
        f"{middle + half:.1%}).\n\n"
    )


def summary() -> str:
    """Return the table of what is known, a line a module, and the names of the mutants that nothing noticed."""
    lines = ["| module | mutants | killed | timeout | survived | not run | noticed |", "| --- " * 7 + "|"]
    survivors, silent = [], []
    for modules in (DECIDING, MEASURING):
        total: Counter[str] = Counter()
        for module in sorted(modules):
            if not (results := results_of(module)):
                silent.append(f"`{module}`")
                continue
            counts = Counter(_STATUS.get(code, "") if code is not None else "" for code in results.values())
            total += counts
            lines.append(_line(f"`{module}`", counts))
            survivors += [
                f"- `{name.removeprefix('research_to_prod.')}`"
                for name, code in results.items()
                if _STATUS.get(code) in {SURVIVED, UNTOUCHED}
            ]
        lines.append(_line("**sum**", total))
    lines += ["", f"Not asked about: {', '.join(silent)}."] if silent else []
    return "\n".join([*lines, "", *(survivors or ["Nothing that was run survived."])])


def _line(name: str, counts: Counter[str]) -> str:
    noticed, survived = counts[KILLED] + counts[TIMEOUT], counts[SURVIVED] + counts[UNTOUCHED]
    share = f"{noticed / (noticed + survived):.1%}" if noticed + survived else "-"
    cells = (name, counts.total(), counts[KILLED], counts[TIMEOUT], survived, counts[""], share)
    return f"| {' | '.join(map(str, cells))} |"


def write_page() -> None:
    """Write what is known now into the page."""
    before, rest = PAGE.read_text().split(BEGIN)
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    PAGE.write_text(f"{before}{BEGIN}\n\nRun of {day}.\n\n{sampled()}{summary()}\n\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="such as gates.gate; all of them by default")
    parser.add_argument("--sample", type=int, help="how many mutants to draw of the code that only measures")
    parser.add_argument("--children", type=int, default=1, help="how many processes")
    given = parser.parse_args()
    asked = draw(given.sample) if given.sample else {each: [] for each in given.modules or TESTS}
    for each, names in asked.items():
        run(each, given.children, names)
        write_page()
