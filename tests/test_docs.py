"""The pages say what the code does."""

import re
from pathlib import Path

import pytest
import typer

from research_to_prod.attribution.failure_modes import MODES, needs
from research_to_prod.cli import app
from research_to_prod.defs.market_data import checks
from research_to_prod.market_data.examination import RULES

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


def test_every_case_that_never_promotes_names_a_test_that_exists() -> None:
    rows = [
        line.split("|")[1:-1] for line in section("promotion.md", "What never promotes").splitlines() if "`" in line
    ]
    cases = [row for row in rows if len(row) == 3]
    assert len(cases) == 14
    for _, where, name in cases:
        text = (DOCS.parent / where.strip(" `")).read_text()
        assert f"def {name.strip(' `')}(" in text, name


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
