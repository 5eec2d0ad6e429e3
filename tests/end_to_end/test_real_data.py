"""The same graph on real hourly bars, with real defects, through the source of vendor files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from research_to_prod.gates.policy import TRANSITIONS
from research_to_prod.lake import Lake
from research_to_prod.promotion.keys import read_keys
from research_to_prod.promotion.ledger import Ledger
from research_to_prod.settings import Settings
from research_to_prod.values import Stage

pytestmark = [pytest.mark.real_data, pytest.mark.slow]

NAME = "btc_momentum_real"
UNIVERSE = """
markets:
  - {venue: binance, symbol: BTC/USDT, timeframe: 1h, since: 2017-08-17T04:00Z, until: 2024-04-21T15:00Z,
     source: {files: candles/binance__BTC-USDT__1h.parquet}}
  - {venue: binance, symbol: ETH/USDT, timeframe: 1h, since: 2023-01-01, until: 2024-01-10T23:00Z,
     source: {files: candles/binance__ETH-USDT__1h__2023.parquet}}
  - {venue: binance, symbol: "BTC/USDT:USDT", timeframe: 5m, since: 2023-01-01, until: 2024-04-01,
     source: {files: candles/binance__BTC-USDT_USDT__5m__2023-01_2024-05.parquet},
     funding: {files: funding/binance__BTC-USDT_USDT__2023-01_2024-05.parquet}}
"""
CANDIDATE = f"""
name: {NAME}
owner: team:research
hypothesis: Trends in bitcoin's hourly price last for days, because large positions are built slowly.
strategy: momentum
type: swing
venue: binance
universe: [BTC/USDT]
timeframe: 1h
window: {{start: 2018-01-01, end: 2024-04-01}}
parameters: {{lookback_hours: 72}}
search_space: {{lookback_hours: [48, 72, 96]}}
capital: "250000"
"""


def real_data() -> Path:
    given = os.environ.get("R2P_REAL_DATA")
    return Path(given) if given else Path(__file__).resolve().parents[3] / "shared" / "market_data"


def r2p(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-m", "research_to_prod.cli", *words]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Materialize six and a half years of real bars and one candidate, as a researcher would from the shell."""
    if not (real_data() / "candles").is_dir():
        pytest.skip("no real market data: set R2P_REAL_DATA to its folder")
    desk = tmp_path_factory.mktemp("real data") / "desk"
    (desk / "candidates").mkdir(parents=True)
    for folder in ("strategies", "policies", "capital"):
        (desk / folder).symlink_to(Settings().desk / folder)
    (desk / "candidates" / f"{NAME}.yaml").write_text(CANDIDATE)
    (desk / "universe.yaml").write_text(UNIVERSE)
    environment = {"R2P_DATA": str(desk.parent / "data"), "R2P_DESK": str(desk), "R2P_VENDOR": str(real_data())}
    fetched = r2p(environment, "run", "market_data", "2017-08..2024-04")
    assert fetched.returncode == 0, fetched.stdout + fetched.stderr
    r2p(environment, "run", "research", NAME)
    r2p(environment, "run", "promote", NAME)
    return Settings.from_environment(environment)


def test_the_28_outages_of_bitcoin_are_found_and_named(settings: Settings) -> None:
    quality = (
        Lake(settings.lake).sql("SELECT * FROM market_quality WHERE symbol = 'BTC/USDT' ORDER BY month").to_pylist()
    )
    assert len(quality) == 81
    assert sum(row["gap_runs"] for row in quality) == 28
    assert sum(row["missing_bars"] for row in quality) == 128
    longest = max(quality, key=lambda row: row["longest_gap_bars"])
    assert (longest["month"], longest["longest_gap_bars"]) == ("2018-02", 33)
    assert "2018-02-08T01:00Z +33" in longest["gaps"]
    named = [gap for row in quality for gap in row["gaps"].split("; ") if gap]
    assert len(named) == 28


def test_the_missing_hour_of_ether_is_found(settings: Settings) -> None:
    quality = Lake(settings.lake).sql("SELECT * FROM market_quality WHERE symbol = 'ETH/USDT'").to_pylist()
    assert sum(row["missing_bars"] or 0 for row in quality) == 1


def test_real_funding_is_booked_three_times_a_day(settings: Settings) -> None:
    rates = Lake(settings.lake).read("funding_rates", "2023-05").rows
    assert rates.num_rows == 93


def test_a_momentum_candidate_gets_its_gate_report_and_its_signed_answer(settings: Settings) -> None:
    report = Lake(settings.lake).read("gate_report", NAME).rows.to_pylist()
    verdicts = {row["gate"]: row["verdict"] for row in report if row["gating"]}
    assert {row["family"] for row in report if row["gating"]} == TRANSITIONS[Stage.RESEARCH, Stage.PAPER]
    assert set(verdicts.values()) <= {"pass", "fail", "inconclusive"}
    ledger = Ledger(settings.ledger, read_keys(settings.keys / "keys.json"))
    (record,) = ledger.records()
    evidence = ledger.evidence(record)
    assert record.candidate == NAME
    assert {gate.gate: gate.verdict.value for gate in evidence.gates if gate.gating} == verdicts
    assert len([each for each in evidence.inputs if each.asset == "candles"]) == 75
