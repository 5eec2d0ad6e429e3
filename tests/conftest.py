"""Settings and fixtures that every test shares."""

from pathlib import Path

import pytest
from hypothesis import settings

# Two shared cores: a slow example says nothing about the code, so none has a deadline.
settings.register_profile("project", deadline=None, max_examples=60)
settings.load_profile("project")


@pytest.fixture(scope="session")
def generated_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a generated desk of two days, with the report of the second, made by its asset."""
    import dagster as dg

    from benchmarks._desk_month import write_month
    from research_to_prod.defs.reports.assets import desk_report
    from research_to_prod.defs.resources import build_resources
    from research_to_prod.lake import Lake

    data = tmp_path_factory.mktemp("generated")
    days = write_month(Lake(data / "lake"), days=2, orders_a_day=120)
    made = dg.materialize([desk_report], partition_key=days[-1], resources=build_resources({"R2P_DATA": str(data)}))
    assert made.success
    return data
