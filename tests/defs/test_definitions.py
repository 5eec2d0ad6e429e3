"""The graph as a whole: it loads cheaply, is described, pickles nothing, and has the checks that a proof requires."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from research_to_prod.definitions import defs
from research_to_prod.defs.code_references import with_code_references
from research_to_prod.defs.promotion.assets import promotion
from research_to_prod.defs.tables import TABLES
from research_to_prod.lake import Lake
from research_to_prod.lake.io_manager import LakeIOManager
from research_to_prod.promotion.evidence import (
    MAY_READ,
    POLICY_BOUND,
    READS,
    REQUIRED_CHECKS,
    TRADING_CHECKS,
    TRADING_READS,
)

GRAPH = defs.resolve_asset_graph()
SPECS = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
CHECKS = {key.to_user_string(): GRAPH.get_check_spec(key) for key in GRAPH.asset_check_keys}
STAGES = (
    "market_data", "liquidity", "research", "controls", "execution", "attribution", "gates", "promotion", "operations",
    "reports",
)  # fmt: skip
"""The groups, in the order in which data flows."""
CHECKOUT = Path(__file__).resolve().parents[2]
HEAVY = ("ccxt", "pandera", "numba", "matplotlib", "scipy", "jinja2", "cryptography")


def test_the_definitions_can_be_loaded() -> None:
    dg.Definitions.validate_loadable(defs)


def test_the_graph_has_the_assets_of_the_design() -> None:
    assert set(SPECS) == {*TABLES, "promotion", "approvals_pending", "production_manifest", "desk_report", "warehouse"}


@pytest.mark.parametrize("name", sorted(SPECS))
def test_every_asset_says_what_it_is_and_who_owns_it(name: str) -> None:
    spec = SPECS[name]
    assert spec.description, "no description"
    summary, *rest = spec.description.split("\n\n")
    assert 20 < len(summary) < 250, "the catalog shows the first lines"
    told = {lead.lower(): said for lead, said in re.findall(r"^- \*\*(.+?)\*\* (.+)", "\n".join(rest), re.MULTILINE)}
    row = "a row" if name in TABLES else "a materialization"
    assert told.keys() == {row, "it is for", "it breaks"}
    assert min(map(len, told.values())) > 20
    assert spec.owners
    assert spec.group_name in STAGES
    assert spec.kinds
    assert spec.code_version


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_column_says_what_it_is_and_every_number_its_unit(name: str) -> None:
    schema = SPECS[name].metadata["dagster/column_schema"]
    assert [column.name for column in schema.columns] == TABLES[name].arrow.names
    for shown, column in zip(schema.columns, TABLES[name].columns, strict=True):
        assert shown.description
        assert len(shown.description) >= 5, column.name
        assert column.description in shown.description
        if is_number(column.type):
            assert column.unit, f"{column.name} has no unit"
            assert column.unit in shown.type


def is_number(type_: pa.DataType) -> bool:
    if pa.types.is_list(type_):
        return is_number(type_.value_type)
    return bool(pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_))


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_every_check_says_what_it_demands_and_what_follows_when_it_fails(name: str) -> None:
    demanded, lead, follows = (CHECKS[name].description or "").partition("If it fails,")
    assert len(demanded) > 20
    assert lead
    assert len(follows) > 20


@pytest.mark.parametrize("name", sorted(SPECS))
def test_every_asset_refers_to_its_function_by_its_place_in_the_checkout(name: str) -> None:
    (reference,) = SPECS[name].metadata["dagster/code_references"].code_references
    place, line = reference.label.split(":")
    assert CHECKOUT / place == Path(reference.file_path)
    functions = [
        node for node in ast.walk(ast.parse((CHECKOUT / place).read_text())) if isinstance(node, ast.FunctionDef)
    ]
    (found,) = [each for each in functions if int(line) in {each.lineno, *(one.lineno for one in each.decorator_list)}]
    assert found.name == GRAPH.get(dg.AssetKey(name)).assets_def.op.compute_fn.decorated_fn.__name__


def test_where_the_code_is_at_a_forge_assets_refer_to_it_there() -> None:
    found = with_code_references(dg.Definitions(assets=[promotion]), "https://forge.example/desk/r2p/blob/1a2b/")
    (asset,) = found.assets or ()
    (spec,) = asset.specs
    (reference,) = spec.metadata["dagster/code_references"].code_references
    place = "https://forge.example/desk/r2p/blob/1a2b/research_to_prod/defs/promotion/assets.py#L"
    assert re.fullmatch(re.escape(place) + r"\d+", reference.url)


def test_the_groups_read_from_left_to_right_in_the_order_of_the_stages() -> None:
    """One edge back, and the collapsed lineage puts what comes first behind what comes last."""
    assert {spec.group_name for spec in SPECS.values()} == set(STAGES)
    back = [
        f"{parent.to_user_string()} -> {node.key.to_user_string()}"
        for node in GRAPH.asset_nodes
        for parent in node.parent_keys
        if STAGES.index(GRAPH.get(parent).group_name or "") > STAGES.index(node.group_name or "")
    ]
    assert back == []


def fields(form: dg.Field | None, place: str) -> Iterator[tuple[str, dg.Field, bool]]:
    """Yield every field of a form, and of those under it, with whether something stands there already."""
    if form is None:
        return
    given = form.default_value if form.default_provided and isinstance(form.default_value, dict) else {}
    for name, field in getattr(form.config_type, "fields", {}).items():
        yield f"{place}.{name}", field, field.default_provided or name in given
        yield from fields(field, f"{place}.{name}")


def test_every_field_of_a_launch_form_has_a_help_text_and_a_default() -> None:
    repository = defs.get_repository_def()
    forms = {op.name: op.config_field for job in repository.get_all_jobs() for op in job.all_node_defs}
    forms |= {name: each.config_field for name, each in repository.get_top_level_resources().items()}
    found = [each for name, form in forms.items() for each in fields(form, name)]
    assert "gate_report.to_stage" in {place for place, _, _ in found}
    assert [place for place, field, filled in found if not (field.description and filled)] == []


def test_no_asset_resolves_to_a_pickle() -> None:
    managers = {name: defs.get_repository_def().get_top_level_resources().get(name) for name in ("io_manager",)}
    assert managers["io_manager"] is not None
    context = dg.build_init_resource_context(resources={"lake": Lake("unused")})
    for name in SPECS:
        node = GRAPH.get(dg.AssetKey(name))
        key = node.assets_def.get_io_manager_key_for_asset_key(node.key)
        assert key == "io_manager", name
        resource = node.assets_def.resource_defs.get(key, managers[key])
        assert isinstance(resource(context), LakeIOManager), name


def test_every_check_that_a_proof_requires_exists_blocks_and_is_judged_by_partition() -> None:
    for asset, names in TRADING_CHECKS.items():
        partitions = SPECS[asset].partitions_def
        assert partitions is not None
        for name in names:
            check = GRAPH.get_check_spec(dg.AssetCheckKey(dg.AssetKey(asset), name))
            assert check.blocking, f"{asset} {name}"
            assert check.partitions_def == partitions, f"{asset} {name}"
    assert {asset for asset, _ in POLICY_BOUND} <= REQUIRED_CHECKS.keys()


def test_what_a_proof_expects_to_be_read_is_what_the_graph_says() -> None:
    assert TRADING_READS.keys() == TRADING_CHECKS.keys()
    for asset, reads in TRADING_READS.items():
        parents = {key.to_user_string() for key in GRAPH.get(dg.AssetKey(asset)).parent_keys}
        assert parents == reads | MAY_READ.get(asset, frozenset()), asset


def test_the_way_to_money_asks_for_all_that_the_way_to_paper_does_and_for_the_desk_s_records() -> None:
    assert READS.keys() == REQUIRED_CHECKS.keys()
    assert {asset: TRADING_CHECKS[asset] for asset in REQUIRED_CHECKS} == dict(REQUIRED_CHECKS)
    own = frozenset({"decisions", "orders", "order_events", "quotes", "slippage", "readiness"})
    assert {asset: TRADING_READS[asset] for asset in READS} == {**READS, "gate_report": READS["gate_report"] | own}


def test_consumers_come_before_producers_in_the_walk() -> None:
    order = list(TRADING_READS)
    for asset, reads in TRADING_READS.items():
        assert all(order.index(each) > order.index(asset) for each in reads), asset


def test_promotion_rests_on_the_gate_report_alone() -> None:
    parents = GRAPH.get(dg.AssetKey("promotion")).parent_keys
    assert {key.to_user_string() for key in parents} == {"gate_report"}


def test_loading_the_definitions_imports_nothing_heavy() -> None:
    code = "import json, sys, research_to_prod.definitions; print(json.dumps(sorted(sys.modules)))"
    command = [sys.executable, "-W", "ignore", "-c", code]
    modules = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert "dagster" in modules
    assert [name for name in HEAVY if name in modules] == []


@pytest.mark.slow
def test_loading_costs_no_more_than_dagster_and_pandas_and_half_a_second() -> None:
    """Best of three, each in its own process: the machine's other work must not decide."""
    code = (
        "import time, dagster, pandas; start = time.process_time();"
        "import research_to_prod.definitions; print(time.process_time() - start)"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    costs = [
        float(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)
        for _ in range(3)
    ]
    assert min(costs) <= 0.5


def test_the_nightly_run_covers_the_day_after_the_trade() -> None:
    job = defs.resolve_job_def("nightly")
    names = {key.to_user_string() for key in job.asset_layer.executable_asset_keys}
    assert {
        "decisions",
        "orders",
        "fills",
        "quotes",
        "order_events",
        "positions",
        "ledger_entries",
        "shadow_pnl",
        "fee_schedules",
        "venue_fills",
        "venue_orders",
        "venue_balances",
        "venue_positions",
        "venue_income",
        "venue_fees",
        "trades",
        "slippage",
        "latency_costs",
        "markouts",
        "shadow",
        "pnl_waterfall",
        "edge_verdicts",
        "drawdowns",
        "failure_modes",
        "rollback",
        "breaks",
        "postings",
        "alert_evaluations",
        "live_evaluations",
        "incidents",
        "desk_report",
    } == names
    schedule = defs.resolve_schedule_def("nightly_schedule")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


def test_the_manifest_is_renewed_and_the_kill_switch_drilled_every_day() -> None:
    for name, cron in (("production_schedule", "40 2 * * *"), ("drill_schedule", "5 2 * * *")):
        schedule = defs.resolve_schedule_def(name)
        assert schedule.cron_schedule == cron
        assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    names = {key.to_user_string() for key in defs.resolve_job_def("production").asset_layer.executable_asset_keys}
    assert names == {"control_state", "production_manifest"}
