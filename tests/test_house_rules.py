"""The house rules that no reviewer should have to remember."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from research_to_prod.cli import app
from research_to_prod.defs.gates.assets import Move
from research_to_prod.settings import Settings

PACKAGE = Path(__file__).resolve().parents[1] / "research_to_prod"
# The order in which data flows: a room may import the rooms before it, never those after.
ROOMS = ("market_data", "research", "gates", "promotion", "execution", "attribution", "operations", "reports")
SHARED = ("declared", "lake", "values")
MAY_IMPORT_DAGSTER = ("defs/", "definitions.py", "lake/io_manager.py", "promotion/evidence.py")
SOURCES = sorted(PACKAGE.rglob("*.py"))


def imported(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_imported(source: Path) -> set[str]:
    names = (name.split(".") for name in imported(source) if name.startswith("research_to_prod."))
    return {parts[1] for parts in names}


def test_only_the_skin_and_two_doors_import_dagster() -> None:
    guilty = [
        str(source.relative_to(PACKAGE))
        for source in SOURCES
        if not str(source.relative_to(PACKAGE)).startswith(MAY_IMPORT_DAGSTER)
        and any(name.split(".")[0].startswith("dagster") for name in imported(source))
    ]
    assert guilty == []


def test_dagsters_private_parts_are_left_alone() -> None:
    guilty = [str(source) for source in SOURCES if any(name.startswith("dagster._") for name in imported(source))]
    assert guilty == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_before_it(room: str) -> None:
    allowed = {*ROOMS[: ROOMS.index(room) + 1], *SHARED}
    for source in (PACKAGE / room).rglob("*.py"):
        foreign = rooms_imported(source) - allowed
        assert not foreign, f"{source.relative_to(PACKAGE)} imports {foreign}"


def test_the_lake_and_the_values_know_no_room() -> None:
    for source in (PACKAGE / "lake").rglob("*.py"):
        assert rooms_imported(source) <= set(SHARED), source
    assert rooms_imported(PACKAGE / "values.py") == set()


def test_nobody_but_the_skin_opens_the_sandbox() -> None:
    for source in SOURCES:
        where = str(source.relative_to(PACKAGE))
        if not where.startswith(("sandbox/", "defs/")) and where != "cli.py":
            assert "sandbox" not in rooms_imported(source), where


def test_the_wall_clock_enters_at_the_edge_only() -> None:
    clock = re.compile(r"datetime\.now\(|time\.time\(|date\.today\(|utcnow\(")
    commands = {
        f"commands/{name}.py"
        for name in ("administrator", "incident", "ledger", "operator", "policy", "promotion", "taking_back")
    }
    edge = commands | {"cli.py", "defs/resources.py", "sandbox/server.py"}
    found = {str(source.relative_to(PACKAGE)) for source in SOURCES if clock.search(source.read_text())}
    assert found <= edge


def test_the_environment_enters_at_the_edge_only() -> None:
    edge = ("cli.py", "commands/", "definitions.py", "defs/")
    found = [str(s.relative_to(PACKAGE)) for s in SOURCES if re.search(r"os\.environ|os\.getenv", s.read_text())]
    assert [each for each in found if not each.startswith(edge)] == []


def test_no_code_knows_a_candidate_by_name() -> None:
    names = [file.stem for file in (PACKAGE / "desk" / "candidates").glob("*.yaml")]
    assert len(names) >= 4
    for source in SOURCES:
        # The simulated desk does trade them; nothing that decides can import it.
        if not source.is_relative_to(PACKAGE / "sandbox"):
            assert not [name for name in names if name in source.read_text()], source


def test_modules_stay_readable() -> None:
    # An auditor runs the verifier as one file, with nothing of the package beside it.
    longest = {"promotion/verifier.py": 820}
    long = {str(source.relative_to(PACKAGE)): len(source.read_text().splitlines()) for source in SOURCES}
    assert {name: lines for name, lines in long.items() if lines > longest.get(name, 420)} == {}


WAIVERS = re.compile(r"force|skip|bypass|override|waive|ignore|no.?verify|unsafe|allow|trust.?me|yes", re.IGNORECASE)


def switches(command: Any, path: str = "") -> Iterator[str]:
    """Yield every option and argument of a command and of those under it."""
    for parameter in command.params:
        yield from (f"{path} {name}" for name in (*parameter.opts, *parameter.secondary_opts))
    # Typer's groups are not click's: it ships its own.
    for name, each in getattr(command, "commands", {}).items():
        yield from switches(each, f"{path} {name}")


def test_nothing_that_people_can_set_waives_a_gate() -> None:
    """The command line, the settings, and what Dagster's launch form asks for."""
    given = list(switches(typer.main.get_command(app)))
    assert " incident resolve --note" in given
    found = [each for each in given if WAIVERS.search(each)]
    found += [name for name in Settings.model_fields if WAIVERS.search(name)]
    found += [name for name in Move.model_fields if WAIVERS.search(name)]
    assert found == []
