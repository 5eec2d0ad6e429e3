"""The margin of an account, asked over HTTP by the real client: what the venue said, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from benchmarks.soak import Clocked, always
from research_to_prod.defs.operations.margin_watching import account_margin
from research_to_prod.defs.resources import SANDBOX_SEED
from research_to_prod.lake import Lake
from research_to_prod.market_data.contracts import LIQUIDITY_METRICS, LIQUIDITY_PROFILE
from research_to_prod.operations.alerting.evaluation import Observation
from research_to_prod.operations.alerting.rules import load_alert_policy
from research_to_prod.operations.readings import Readings
from research_to_prod.sandbox.account import Account
from research_to_prod.sandbox.faults import FaultKind, FaultPlan, FaultSwitch
from research_to_prod.sandbox.server import SandboxServer
from research_to_prod.settings import Settings
from tests.operations.alerting.test_day_measures import rows

NOW = datetime(2026, 1, 6, 13, 30, tzinfo=UTC)
HOUR_DEVIATION = 0.0067379  # the profile of the test has logarithms, and minus five for volatility


@pytest.fixture(scope="module")
def venues() -> Iterator[Clocked]:
    """The way to one sandbox; its client is kept from tick to tick, as a daemon's is."""
    with SandboxServer(SANDBOX_SEED, lambda: NOW) as server:
        yield Clocked(server, lambda: NOW)


def tick(data: Path, venues: Clocked) -> dict[str, Observation]:
    """One tick, and what the alerter would read of it."""
    settings = Settings(data=data)
    given = {"lake": Lake(settings.lake), "settings": settings, "venues": venues, "clock": lambda: NOW}
    with dg.build_sensor_context(resources=given) as context:
        assert isinstance(account_margin(context), dg.SkipReason)
    metrics = load_alert_policy(settings.desk / "alerts").metrics
    return {each.metric: each for each in Readings(settings.operations).since(None, metrics, NOW).observations}


def profile(data: Path) -> None:
    """The hour's usual deviation of every contract of the sandbox."""
    markets = ("BTC/USDT:USDT", "ETH/USDT:USDT", "SOL/USDT:USDT")
    of_all = {"venue": "sandbox", "timeframe": "15m", "week": "2026-01-05", "how": 37, "regime": "normal"}
    of_all |= {f"{name}_med": -5.0 for name in LIQUIDITY_METRICS}
    table = rows(LIQUIDITY_PROFILE, *(of_all | {"symbol": each} for each in markets))
    Lake(data / "lake").write("liquidity_profile", "2026-01-05", table, LIQUIDITY_PROFILE)


def test_the_reading_is_what_the_venue_says_of_its_margin_and_its_nearest_liquidation(
    tmp_path: Path, venues: Clocked
) -> None:
    profile(tmp_path)
    found = tick(tmp_path, venues)
    said = Account(venues.server.desk).futures_account({}, NOW)
    margin, distance = found["margin_ratio"], found["liquidation_distance"]
    assert margin.value == pytest.approx(float(said["totalMaintMargin"]) / float(said["totalMarginBalance"]), rel=1e-9)
    assert (str(margin.subject), margin.at) == ("sandbox", NOW)
    moves = [
        abs(float(each["markPrice"]) - float(each["liquidationPrice"])) / float(each["markPrice"])
        for each in said["positions"]
    ]
    assert moves
    assert distance.value == pytest.approx(min(1000, min(moves) / HOUR_DEVIATION), rel=1e-4)


@pytest.mark.parametrize(
    ("path", "fault"),
    [("/fapi/v3/account", FaultKind.SERVER_ERROR), ("/fapi/v3/positionRisk", FaultKind.WRONG_SHAPE)],
)
def test_an_answer_that_does_not_come_or_is_none_is_no_reading(
    tmp_path: Path, venues: Clocked, path: str, fault: FaultKind
) -> None:
    venues.server.switch = FaultSwitch(FaultPlan(rules=always(path, fault), seed=1))
    assert tick(tmp_path, venues) == {}
    venues.server.switch = FaultSwitch(FaultPlan())
    assert tick(tmp_path, venues)


def test_it_is_asked_once_people_start_it() -> None:
    assert account_margin.default_status is dg.DefaultSensorStatus.STOPPED
    assert account_margin.minimum_interval_seconds == timedelta(minutes=1).total_seconds()
