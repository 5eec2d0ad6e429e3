"""The I/O manager stores rows as versions and loads them as the input's annotation asks, many partitions at once."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from research_to_prod.lake import Column, Lake, Schema
from research_to_prod.lake.io_manager import LakeIOManager
from research_to_prod.lake.schema import MONTH_OF_TS, TIMESTAMP

MONTHS = dg.StaticPartitionsDefinition(["2024-01", "2024-02"])
BARS = Schema("bar", (Column("ts", TIMESTAMP, "t"), Column("close", pa.float64(), "c")), ("ts",), MONTH_OF_TS)
TOTAL = Schema("sum", (Column("kind", pa.string(), "k"), Column("total", pa.float64(), "t")), ("kind",))


@dg.asset(partitions_def=MONTHS)
def bars(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """One bar a month, whose close is the month's number."""
    start = datetime.strptime(context.partition_key, "%Y-%m").replace(tzinfo=UTC)
    return pd.DataFrame({"close": [float(start.month)], "ts": pd.to_datetime([start]).as_unit("us")})


@dg.asset
def from_frame(bars: pd.DataFrame) -> pa.Table:
    """Sum of all months, read as a data frame."""
    return pa.table({"kind": ["frame"], "total": [float(bars["close"].sum())]})


@dg.asset
def from_arrow(bars: pa.Table) -> pa.Table:
    """Sum of all months, read as Arrow."""
    return pa.table({"kind": ["arrow"], "total": [sum(bars["close"].to_pylist())]})


@dg.asset
def from_duckdb(bars: duckdb.DuckDBPyRelation) -> pa.Table:
    """Sum of all months, read lazily."""
    return bars.aggregate("'duckdb' AS kind, sum(close) AS total").to_arrow_table()


@dg.asset
def from_list(bars: list) -> pa.Table:  # type: ignore[type-arg]
    """Ask for a type that nobody offers."""
    return pa.table({"kind": [], "total": []})


@dg.asset(partitions_def=MONTHS)
def undeclared() -> pd.DataFrame:
    """Return rows without a declared schema."""
    return pd.DataFrame({"n": [1]})


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def run(
    lake: Lake, instance: dg.DagsterInstance, asset: dg.AssetsDefinition, partition: str | None = None
) -> dg.ExecuteInProcessResult:
    schemas = {"bars": BARS, **dict.fromkeys(("from_frame", "from_arrow", "from_duckdb", "from_list"), TOTAL)}
    return dg.materialize(
        [bars, asset] if asset is not bars else [bars],
        selection=[asset],
        instance=instance,
        partition_key=partition,
        resources={"io_manager": LakeIOManager(lake, schemas)},
        raise_on_error=False,
    )


@pytest.mark.parametrize("asset", [from_frame, from_arrow, from_duckdb])
def test_inputs_load_by_annotation_over_all_partitions(
    lake: Lake, instance: dg.DagsterInstance, asset: dg.AssetsDefinition
) -> None:
    for month in ("2024-01", "2024-02"):
        assert run(lake, instance, bars, month).success
    assert run(lake, instance, asset).success
    assert lake.read(asset.key.to_user_string()).rows["total"].to_pylist() == [3.0]


def test_a_materialization_names_its_version_and_content(lake: Lake, instance: dg.DagsterInstance) -> None:
    run(lake, instance, bars, "2024-01")
    version = lake.version("bars", "2024-01")
    (record,) = instance.fetch_materializations(dg.AssetKey("bars"), limit=5).records
    assert record.asset_materialization is not None
    metadata = record.asset_materialization.metadata
    assert metadata["lake_version"].value == version.version
    assert metadata["content_sha256"].value == version.content_sha256


def test_an_annotation_that_nobody_offers_fails_with_the_remedy(lake: Lake, instance: dg.DagsterInstance) -> None:
    run(lake, instance, bars, "2024-01")
    run(lake, instance, bars, "2024-02")
    assert not run(lake, instance, from_list).success
    assert "from_list" not in lake.tables()


def test_rows_without_a_declared_schema_are_not_stored(lake: Lake, instance: dg.DagsterInstance) -> None:
    assert not run(lake, instance, undeclared, "2024-01").success
    assert lake.tables() == []
