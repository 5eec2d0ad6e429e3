"""`r2p upgrade` gives the lake's tables what a release declares, all that it can or nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from research_to_prod.cli import app
from research_to_prod.defs import doctor, tables
from research_to_prod.lake import Column, Lake, Schema
from research_to_prod.settings import Settings

NOTE = Column("note", pa.string(), "what a later release adds", nullable=True)
NOW = datetime(2026, 11, 29, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Two tables as this release declares them."""
    lake = Lake(tmp_path / "lake")
    for table in ("drawdowns", "breaks"):
        lake.write(table, "2026-01-07", tables.TABLES[table].empty(), tables.TABLES[table])
    return lake


def declare(monkeypatch: pytest.MonkeyPatch, **changed: Schema) -> None:
    monkeypatch.setattr(tables, "TABLES", {**tables.TABLES, **changed})


def with_column(table: str, column: Column) -> Schema:
    schema = tables.TABLES[table]
    return replace(schema, columns=(*schema.columns, column))


def upgrade(lake: Lake) -> tuple[int, str]:
    done = CliRunner(env={"R2P_DATA": str(Path(lake.root).parent)}).invoke(app, ["upgrade"])
    return done.exit_code, " ".join(done.output.replace("│", " ").split())


def test_a_table_is_given_its_new_column_and_a_second_time_nothing(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    assert upgrade(lake) == (0, "every table is as declared")
    declare(monkeypatch, drawdowns=with_column("drawdowns", NOTE))
    assert upgrade(lake) == (0, "drawdowns: note 1 tables were upgraded")
    assert "note" in lake.read("drawdowns").rows.column_names
    assert upgrade(lake) == (0, "every table is as declared")


def test_one_table_that_cannot_be_upgraded_keeps_all_as_they_are_and_each_such_is_named(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(
        monkeypatch,
        drawdowns=with_column("drawdowns", NOTE),
        breaks=with_column("breaks", replace(NOTE, nullable=False)),
    )
    code, told = upgrade(lake)
    assert code == 2
    assert "table breaks is stored with no column note, which is not nullable" in told
    assert "note" not in lake.read("drawdowns").rows.column_names


def test_the_doctor_names_tables_that_lack_columns(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data=Path(lake.root).parent)
    assert {each.health for each in doctor._lake(settings, NOW)} == {doctor.Health.FINE, doctor.Health.ATTENTION}
    declare(monkeypatch, drawdowns=with_column("drawdowns", NOTE))
    found = next(doctor._lake(settings, NOW))
    assert (found.health, found.remedy) == (doctor.Health.FAILED, "`r2p upgrade`")
    assert "drawdowns: note" in found.told
