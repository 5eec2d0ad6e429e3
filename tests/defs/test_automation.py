"""Candidate files become partitions once; jobs know their partitions."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from research_to_prod.defs.partitions import CANDIDATES
from research_to_prod.defs.research.automation import candidate_files
from research_to_prod.defs.runner import partition_keys
from research_to_prod.settings import Settings


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def tick(instance: dg.DagsterInstance, settings: Settings) -> dg.SensorResult | dg.SkipReason:
    context = dg.build_sensor_context(instance=instance, resources={"settings": settings})
    found = candidate_files(context)
    assert isinstance(found, dg.SensorResult | dg.SkipReason)
    return found


def test_a_new_file_becomes_a_partition_and_a_run_once(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    desk = tmp_path / "desk"
    shutil.copytree(Settings().desk, desk)
    settings = Settings(desk=desk)
    first = tick(instance, settings)
    assert isinstance(first, dg.SensorResult)
    assert first.dynamic_partitions_requests is not None
    (request,) = first.dynamic_partitions_requests
    assert list(request.partition_keys) == [each.partition_key for each in first.run_requests or []]
    instance.add_dynamic_partitions("candidate", list(request.partition_keys))
    assert isinstance(tick(instance, settings), dg.SkipReason)
    (desk / "candidates" / "another.yaml").write_text("not valid, which its own run will say")
    second = tick(instance, settings)
    assert isinstance(second, dg.SensorResult)
    assert [each.partition_key for each in second.run_requests or []] == ["another"]


def test_ranges_and_single_partitions_are_understood(instance: dg.DagsterInstance) -> None:
    assert partition_keys("market_data", ["2023-11..2024-02", "2025-01"], instance) == [
        "2023-11",
        "2023-12",
        "2024-01",
        "2024-02",
        "2025-01",
    ]
    assert partition_keys("publish_warehouse", [], instance) == [None]


def test_unknown_missing_and_superfluous_partitions_are_errors(instance: dg.DagsterInstance) -> None:
    assert CANDIDATES.name == "candidate"
    with pytest.raises(ValueError, match="has no partition 1999-01"):
        partition_keys("market_data", ["1999-01"], instance)
    with pytest.raises(ValueError, match="needs partitions"):
        partition_keys("market_data", [], instance)
    with pytest.raises(ValueError, match="has no partitions"):
        partition_keys("publish_warehouse", ["2024-01"], instance)
