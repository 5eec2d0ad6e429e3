"""The pages say what the code does."""

import re
from pathlib import Path

import pytest
import typer

from research_to_prod.attribution.failure_modes import MODES, needs
from research_to_prod.cli import app
from research_to_prod.definitions import defs
from research_to_prod.defs.market_data import checks
from research_to_prod.market_data.examination import RULES
from research_to_prod.operations.alerting.rules import load_alert_policy
from research_to_prod.operations.contracts import BreakClass
from research_to_prod.reports.questions import desk_questions
from research_to_prod.sandbox.record_faults import RecordFault
from tests.end_to_end.audit_page import answers

DOCS = Path(__file__).resolve().parents[1] / "docs"


def section(page: str, title: str) -> str:
    text = (DOCS / page).read_text()
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def named(text: str) -> list[str]:
    return re.findall(r"`([a-z_]+)`", text)


def test_the_page_on_market_data_lists_every_rule_and_no_other() -> None:
    table = "\n".join(line for line in section("market_data.md", "The rules").splitlines() if line.startswith("|"))
    assert named(table) == [rule.__name__ for rule in RULES]


def test_the_page_on_market_data_lists_the_checks_of_each_asset() -> None:
    page = section("market_data.md", "Checks that block")
    for specs in (checks.CANDLES_CHECKS, checks.FUNDING_CHECKS, checks.TRADES_CHECKS, checks.QUALITY_CHECKS):
        for spec in specs:
            (row,) = [line for line in page.splitlines() if line.startswith(f"| `{spec.asset_key.to_user_string()}` |")]
            _, _, blocks, warns, _ = row.split("|")
            if spec.name != "every_market_was_fetched":
                assert spec.name in named(blocks if spec.blocking else warns), spec.name


def test_the_page_on_failure_modes_lists_every_mode_and_its_inputs() -> None:
    rows = [line.split("|")[1:] for line in section("failure_modes.md", "The modes").splitlines() if "|" in line][2:]
    assert [name for mode, *_ in rows for name in named(mode)] == [mode.name for mode in MODES]
    assert [inputs.strip() for _, _, inputs, *_ in rows] == [", ".join(needs(r)) for mode in MODES for r in mode.rules]


def test_the_page_on_the_desk_report_lists_every_question_and_its_inputs() -> None:
    rows = [line.split("|")[1:-1] for line in (DOCS / "desk_report.md").read_text().splitlines() if "|" in line]
    asked = {cells[0].strip(): (cells[1].strip(), tuple(named(cells[3]))) for cells in rows if len(cells) == 4}
    for question in desk_questions(()):
        assert asked[str(question.number)] == (question.text, question.missing)


def test_the_page_on_reconciliation_lists_every_class_and_every_injected_fault() -> None:
    rows = [line.split("|")[1] for line in section("reconciliation.md", "Classes").splitlines() if "|" in line][2:]
    assert [name for row in rows for name in named(row)] == [kind.value for kind in BreakClass]
    faults = [
        line.split("|")[1].strip()
        for line in section("reconciliation.md", "Against the sandbox's journal").splitlines()
        if "|" in line
    ]
    assert faults[2:-1] == [fault.value.replace("_", " ") for fault in RecordFault]


def test_the_page_on_alerts_lists_every_rule_with_its_levels() -> None:
    policy = load_alert_policy(DOCS.parent / "research_to_prod" / "desk" / "alerts")
    rows = [line.split("|")[1:-1] for line in section("alerts.md", "The rules").splitlines() if "|" in line][2:]
    assert len(rows) == len(policy.rules)
    for rule, (number, name, per, severity, fires, unseen) in zip(policy.rules, rows, strict=True):
        assert (number.strip(), named(name), name.count("†")) == (str(rule.number), [rule.id], rule.never_muted)
        assert (per.strip(), severity.strip(), unseen.strip()) == (rule.per, rule.severity, rule.no_data)
        conditions = fires.split("; ")
        for condition, text in zip(rule.any, conditions, strict=True):
            levels = [f"{level:g}" for bound in condition.all for level in bound.levels.given]
            assert [bound.metric for bound in condition.all] == re.findall(r"`([a-z0-9_]+)`", text), rule.id
            assert set(levels) <= set(re.findall(r"-?[0-9.]+", text)), rule.id
            assert (condition.severity or rule.severity) in text or condition.severity is None, rule.id
            assert (f"for {condition.lasting:g} s" in text) is (condition.lasting > 0), rule.id


def test_the_page_on_deployment_lists_all_that_runs_by_itself_and_whether_it_runs_from_the_start() -> None:
    rows = [
        line.split("|")[1:-1] for line in section("deployment.md", "What runs by itself").splitlines() if "`" in line
    ]
    listed = {named(row[0])[0]: row[3].strip().startswith("yes") for row in rows if len(row) == 4}
    assert listed == {
        each.name: each.default_status.value == "RUNNING" for each in (*(defs.schedules or ()), *(defs.sensors or ()))
    }


def test_every_case_that_never_promotes_names_a_test_that_exists() -> None:
    rows = [
        line.split("|")[1:-1] for line in section("promotion.md", "What never promotes").splitlines() if "`" in line
    ]
    cases = [row for row in rows if len(row) == 3]
    assert len(cases) == 14
    for _, where, name in cases:
        text = (DOCS.parent / where.strip(" `")).read_text()
        assert f"def {name.strip(' `')}(" in text, name


def test_every_rule_of_security_names_tests_that_exist() -> None:
    rows = [line.split("|")[1:-1] for line in section("security.md", "The rules").splitlines() if line.startswith("|")]
    assert [row[0].strip() for row in rows[2:]] == [str(number) for number in range(1, 14)]
    named_tests = re.findall(r"`(tests/\S+\.py)::(\w+)`", (DOCS / "security.md").read_text())
    assert all("::" in row[3] for row in rows[2:])
    for path, name in named_tests:
        assert re.search(rf"^ *def {name}\(", (DOCS.parent / path).read_text(), re.MULTILINE), f"{path}::{name}"


def test_each_of_the_auditor_s_ten_questions_has_one_command_whose_output_a_test_holds() -> None:
    asked = re.findall(r"^### (\d+)\. .+\?$", section("audit.md", "Ten questions"), re.MULTILINE)
    assert asked == [str(number) for number in range(1, 11)]
    commands = [command for command, shown in answers() if shown]
    assert len(commands) == 10
    # `auditor` of the test holds each to the page.
    held = set(re.findall(r'r2p\("(\w+)", "?(\w+)', (DOCS.parent / "tests/end_to_end/test_demo.py").read_text()))
    held |= {("controls", "")}
    for command in commands:
        word, second = [*command.split()[1:], ""][:2]
        assert {(word, second), (word, "GOOD")} & held, command


def test_every_link_between_pages_leads_somewhere() -> None:
    for page in (*DOCS.glob("*.md"), DOCS.parent / "README.md"):
        for target in re.findall(r"\]\((?!https:)([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_notebook_page_runs_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / "notebook.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/notebook.md", "exec"), names)  # noqa: S102 - a page of our own
    assert "probability that it is positive" in capsys.readouterr().out


def test_every_command_that_a_page_shows_is_one_that_exists() -> None:
    shown = 0
    for page in (*DOCS.glob("*.md"), DOCS.parent / "README.md"):
        for words in re.findall(r"(?:^|[`/ ])r2p ((?:[a-z][a-z-]+ ?)+)", page.read_text(), re.MULTILINE):
            command = typer.main.get_command(app)
            for word in words.split():
                if not (inner := getattr(command, "commands", None)):
                    break
                assert word in inner, f"{page.name}: r2p {words}"
                command = inner[word]
                shown += 1
    assert shown > 20


def test_the_page_on_the_command_line_lists_every_command() -> None:
    listed = re.findall(r"^\| `r2p ([a-z-]+)` \|", (DOCS / "command_line.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
