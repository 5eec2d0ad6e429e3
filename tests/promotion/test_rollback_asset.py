"""The rollback in the graph: it acts on the night that a rule fires, once, and the manifest says so at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from research_to_prod.attribution.pnl_contracts import SHADOW
from research_to_prod.defs.promotion.rollback import nothing_was_taken_back, rollback
from research_to_prod.defs.resources import build_resources
from research_to_prod.defs.tables import TABLES
from research_to_prod.lake import Lake
from research_to_prod.promotion.keys import open_keys
from research_to_prod.promotion.manifest import read_manifest
from research_to_prod.promotion.record import RecordType
from research_to_prod.research.candidate import load_candidate
from research_to_prod.research.candidate_table import candidate_to_table
from research_to_prod.research.strategy import load_strategy
from research_to_prod.settings import Settings
from research_to_prod.values import Stage
from tests.defs.test_live_against_model import write_backtest

DESK = Settings().desk
CANDIDATE = load_candidate(DESK / "candidates" / "btc_momentum.yaml", DESK / "strategies")
START = datetime(2026, 1, 2, tzinfo=UTC)
DAYS = [f"{START + timedelta(days=n):%Y-%m-%d}" for n in range(30)]


def row(day: str, earned: str) -> dict[str, Any]:
    """Return the shadow's row of one day on which live and model earned a share of the capital."""
    known = {"day": day, "strategy": CANDIDATE.name, "venue": "sandbox", "symbol": "BTC/USDT", "position_known": True}
    money = Decimal(earned) * CANDIDATE.capital
    return known | {"live": money, "shadow": money, "orders": 1, "signals": 0, "diverging": [], "model_quantities": []}


@pytest.fixture
def data(tmp_path: Path, ledger: Any, draft: Any) -> Path:
    """A version that came to live before 2026-01-02, and thirty days on which it lost three percent each."""
    lake = Lake(tmp_path / "lake")
    strategy = load_strategy(DESK / "strategies", CANDIDATE.strategy)
    lake.write("candidate", CANDIDATE.name, candidate_to_table(CANDIDATE, strategy), TABLES["candidate"])
    write_backtest(lake, tmp_path, CANDIDATE)
    for day in DAYS:
        lake.write("shadow", day, pa.Table.from_pylist([row(day, "-0.03")], schema=SHADOW.arrow), SHADOW)
    for number, (start, to) in enumerate((("research", "paper"), ("paper", "canary"), ("canary", "live"))):
        of = {"candidate": CANDIDATE.name, "candidate_sha256": CANDIDATE.sha256, "from_stage": start, "to_stage": to}
        ledger.append(draft(number, **of))
    return tmp_path


def night(data: Path, day: str) -> dict[str, Any]:
    """Run the night after ``day`` and return its row, and whether its check passed."""
    now = datetime.fromisoformat(f"{day}T00:00+00:00") + timedelta(days=1, hours=2)
    done = dg.materialize(
        [rollback, nothing_was_taken_back],
        partition_key=day,
        resources=build_resources({"R2P_DATA": str(data)}, clock=lambda: now),
        selection=[rollback],
    )
    (found,) = Lake(data / "lake").read("rollback", day).rows.to_pylist()
    return found | {"passed": done.get_asset_check_evaluations()[0].passed}


def test_the_night_on_which_a_rule_fires_takes_back_and_renews_the_manifest_and_no_other_does(
    data: Path, ledger: Any
) -> None:
    quiet = night(data, DAYS[0])
    assert (quiet["stage"], quiet["fired"], quiet["live_days"], quiet["passed"]) == ("live", "", 1, True)
    assert len(ledger.records()) == 3
    assert not (data / "production" / "manifest.json").exists()

    fired = night(data, DAYS[-1])
    record = ledger.records()[-1]
    assert (record.type, record.from_stage, record.to_stage) == (RecordType.ROLLBACK, Stage.LIVE, Stage.CANARY)
    assert (fired["fired"], fired["decision_id"], fired["passed"]) == ("edge", record.decision_id, False)
    assert record.trigger.began_at is not None
    assert START <= record.trigger.began_at < record.trigger.observed_at
    now = record.recorded_at + timedelta(minutes=1)
    manifest = read_manifest(data / "production" / "manifest.json", open_keys(data / "keys", now))
    assert [each.mode for each in manifest.withheld] == ["reduce_only"]

    again = night(data, DAYS[-1])
    assert again["decision_id"] == record.decision_id
    assert len(ledger.records()) == 4


def test_a_rollback_that_comes_too_late_says_why_and_records_nothing(data: Path, ledger: Any, draft: Any) -> None:
    of = {"candidate": CANDIDATE.name, "candidate_sha256": CANDIDATE.sha256, "reasons": ["by hand"]}
    later = datetime.fromisoformat(f"{DAYS[-1]}T00:00+00:00") + timedelta(days=1, hours=1)
    down = {"type": "demote", "from_stage": "live", "to_stage": "paper", "recorded_at": later}
    ledger.append(draft(9, **of, **down))
    found = night(data, DAYS[-1])
    assert "it was watched at live" in found["refused"]
    assert found["decision_id"] is None
    assert len(ledger.records()) == 4


def test_before_anything_trades_the_table_is_empty(tmp_path: Path) -> None:
    done = dg.materialize(
        [rollback], partition_key=DAYS[0], resources=build_resources({"R2P_DATA": str(tmp_path)}, clock=lambda: START)
    )
    assert done.success
    assert Lake(tmp_path / "lake").read("rollback", DAYS[0]).rows.num_rows == 0
