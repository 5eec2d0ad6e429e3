"""A repair goes through the graph: from its file into rows, lineage and what a proof finds, and out again."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from research_to_prod.defs.market_data.assets import examined_markets, raw_candles, validated_candles
from research_to_prod.defs.resources import build_resources
from research_to_prod.lake import Lake
from research_to_prod.lake.io_manager import read_versions
from research_to_prod.market_data.certificates import Certificate, certificates_table, issue
from research_to_prod.market_data.contracts import FETCH_CERTIFICATES, RAW_CANDLES
from research_to_prod.settings import Settings
from research_to_prod.values import month_bounds

MONTH = "2023-01"
START = datetime(2023, 1, 1, tzinfo=UTC)
FILE = """
id: btc_outage
author: user:mara
reason: The spot market was down for two hours; the perpetual of the same venue traded on.
declared_at: 2023-02-01
kind: fill_from
venue: sandbox
symbol: BTC/USDT
timeframe: 1h
start: 2023-01-02T03:00Z
end: 2023-01-02T05:00Z
source: {venue: sandbox, symbol: "BTC/USDT:USDT"}
"""


def bar(row: int, symbol: str, hour: int, price: float) -> dict[str, Any]:
    market = {"venue": "sandbox", "symbol": symbol, "timeframe": "1h", "ts": START + timedelta(hours=hour)}
    values = dict.fromkeys(("open", "high", "low", "close"), price) | {"volume": 1.0}
    return market | values | {"fetch_id": "f", "page": 0, "row": row}


@pytest.fixture
def resources(tmp_path: Path) -> dict[str, object]:
    """A desk of its own, and a lake that holds a month in which the spot market misses two hours."""
    shutil.copytree(Settings().desk, tmp_path / "desk")
    resources = build_resources({"R2P_DATA": str(tmp_path / "data"), "R2P_DESK": str(tmp_path / "desk")})
    rows = [bar(n, "BTC/USDT", n, 10.0) for n in range(744) if n not in {27, 28}]
    rows += [bar(1000 + n, "BTC/USDT:USDT", n, 11.0) for n in range(744)]
    lake = Lake(tmp_path / "data" / "lake")
    lake.write("raw_candles", MONTH, pa.Table.from_pylist(rows, schema=RAW_CANDLES.arrow), RAW_CANDLES)
    proofs = certificates_table([seen(each["symbol"]) for each in rows], f"raw_candles-{MONTH}")
    lake.write("fetch_certificates", f"raw_candles-{MONTH}", proofs, FETCH_CERTIFICATES)
    return resources


def seen(symbol: str) -> Certificate:
    return issue(
        venue="sandbox",
        endpoint="klines",
        scope=f"{symbol} 1h",
        interval=month_bounds(MONTH),
        bodies=[],
        rows=744,
        terminal="end_reached",
    )


def materialize(resources: dict[str, object]) -> dg.ExecuteInProcessResult:
    chosen = [validated_candles, examined_markets]
    result = dg.materialize(
        [raw_candles, *chosen], selection=dg.AssetSelection.assets(*chosen), partition_key=MONTH, resources=resources
    )
    assert all(each.passed for each in result.get_asset_check_evaluations() if each.blocking)
    return result


def test_a_repair_is_applied_seen_and_taken_back_byte_for_byte(resources: dict[str, object], tmp_path: Path) -> None:
    lake = Lake(tmp_path / "data" / "lake")
    tables = ("candles", "candle_quarantine", "repairs")
    materialize(resources)
    plain = {name: lake.version(name, MONTH).content_sha256 for name in tables}

    file = tmp_path / "desk" / "repairs" / "btc_outage.yaml"
    file.write_text(FILE)
    result = materialize(resources)
    (logged,) = lake.read("repairs", MONTH).rows.to_pylist()
    assert (logged["bars"], logged["file_text"]) == (2, FILE)
    filled = [row for row in lake.read("candles", MONTH).rows.to_pylist() if row["repair"]]
    assert [(row["symbol"], row["close"], row["repair"]) for row in filled] == [("BTC/USDT", 11.0, "btc_outage")] * 2
    quality = {row["symbol"]: row for row in lake.read("market_quality", MONTH).rows.to_pylist()}["BTC/USDT"]
    assert (quality["filled_bars"], quality["completeness"]) == (2, 1.0)
    for name in ("candles", "candle_quarantine"):
        (event,) = [each for each in result.get_asset_materialization_events() if each.asset_key == dg.AssetKey(name)]
        read = {each.table: each for each in read_versions(event.materialization.metadata)}
        assert read["repairs"] == lake.version("repairs", MONTH), name
        assert set(read) == {"raw_candles", "repairs"}

    file.unlink()
    materialize(resources)
    assert {name: lake.version(name, MONTH).content_sha256 for name in tables} == plain


def test_a_wrong_repair_file_fails_the_step_and_changes_nothing(resources: dict[str, object], tmp_path: Path) -> None:
    lake = Lake(tmp_path / "data" / "lake")
    materialize(resources)
    before = lake.version("candles", MONTH)
    (tmp_path / "desk" / "repairs" / "btc_outage.yaml").write_text(FILE.replace("user:mara", "somebody"))
    with pytest.raises(ValueError, match=r"btc_outage.yaml: author"):
        materialize(resources)
    assert lake.version("candles", MONTH) == before
