"""One desk for the tests of alerting: 2,000,000 of capital, two markets at one venue, the shipped rules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import research_to_prod
from research_to_prod.market_data.liquidity import Regime
from research_to_prod.operations.alerting.evaluation import Evaluation, Key, Observation, Result, State, evaluate
from research_to_prod.operations.alerting.rules import AlertPolicy, load_alert_policy
from research_to_prod.operations.alerting.situation import Context, Holding, MarketNow, Subject

SHIPPED = Path(research_to_prod.__file__).parent / "desk" / "alerts"
POLICY: AlertPolicy = load_alert_policy(SHIPPED)
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)  # a Monday
BTC = Subject("sandbox", instrument="BTC/USDT:USDT")
ETH = Subject("sandbox", instrument="ETH/USDT:USDT")
ACCOUNT = Subject("sandbox", "main")
VENUE = Subject("sandbox")
DAY = 86_400**0.5


def market(regime: Regime = Regime.NORMAL, symbol: str = "BTC/USDT:USDT", **changes: object) -> MarketNow:
    """Three percent a day, half a basis point, 3.86 million within 10 bp: bitcoin at 11 UTC in summer 2025."""
    now = MarketNow("sandbox", symbol, regime, 0.03 / DAY, 0.5e-4, 3.86e6, 5e7, 1.0, "profile")
    return replace(now, **changes)  # type: ignore[arg-type]


def held(net: float | None = 200_000.0, **changes: object) -> Holding:
    holding = Holding("sandbox", "main", "BTC/USDT:USDT", "momentum", net)
    return replace(holding, **changes)  # type: ignore[arg-type]


def context(
    *holdings: Holding, regime: Regime = Regime.NORMAL, events: tuple[str, ...] = (), **changes: object
) -> Context:
    markets = (market(regime), market(regime, "ETH/USDT:USDT"))
    now = Context(2e6, holdings, markets, {}, NOON, events)
    return replace(now, **changes)  # type: ignore[arg-type]


def reading(
    metric: str, value: float | None, subject: Subject = BTC, at: datetime = NOON, **more: object
) -> Observation:
    return Observation(metric, subject, value, at, **more)  # type: ignore[arg-type]


def judged(
    readings: Iterable[Observation], now: Context, before: dict[Key, State] | None = None, at: datetime = NOON
) -> Result:
    return evaluate(POLICY, readings, now, before or {}, at)


def firing(result: Result, rule: str | None = None) -> list[Evaluation]:
    return [each for each in result.evaluations if each.fires and rule in {None, each.case.rule}]


def of(result: Result, rule: str, condition: int = 0) -> Evaluation:
    (found,) = [e for e in result.evaluations if (e.case.rule, e.case.condition) == (rule, condition)]
    return found
