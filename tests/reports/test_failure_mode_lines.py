"""The failure modes that the desk report lists: today's, a drawdown's, and those that nothing excludes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from research_to_prod.attribution.pnl_contracts import FAILURE_MODES
from research_to_prod.reports.failure_mode_lines import failure_mode_lines

AT = datetime(2026, 1, 8, 12, tzinfo=UTC)


def row(mode: str, answer: str, symbol: str = "BTC/USDT", **changes: Any) -> dict[str, Any]:
    base = {"day": "2026-01-08", "strategy": "momentum", "episode": 0, "venue": "sandbox", "symbol": symbol}
    base |= {"mode": mode, "answer": answer, "days": 1, "days_present": 0, "days_unknown": 0, "reason": ""}
    return base | {"first_at": AT, "last_at": AT + timedelta(hours=1), "policy_sha256": "0"} | changes


def lines(*rows: dict[str, Any]) -> Any:
    return failure_mode_lines(pa.Table.from_pylist(list(rows), schema=FAILURE_MODES.arrow))


def test_a_mode_is_listed_for_the_day_for_its_drawdown_and_for_how_losses_gather():
    found = lines(
        row("volatility_shock", "present", severity=2.25),
        row("volatility_shock", "present", "all", episode=1, days=3, days_present=1, loss_share=0.9),
        row("volatility_shock", "present", "all", loss_share=0.7, time_share=0.1, p_value=0.02, shifts=41),
        row("fat_finger", "absent", "all", episode=1),
    )
    assert [(each.mode, each.severity) for each in found.today] == [("volatility_shock", 2.25)]
    assert [(each.days_present, each.days, each.loss_share) for each in found.of("momentum", 1)] == [(1, 3, 0.9)]
    assert found.of("momentum", 2) == found.of("carry", 1) == ()
    assert [(each.p_value, each.shifts) for each in found.gathered] == [(0.02, 41)]
    assert found.open == ()


def test_what_keeps_a_mode_open_is_said_once_for_all_its_markets():
    away = {"reason": "liquidity_vacuum needs depth"}
    found = lines(
        row("venue_outage", "unknown", reason="7 orders, 10 are needed; venue_silence needs updates"),
        row("venue_outage", "unknown", "ETH/USDT", reason="venue_silence needs updates; 9 orders, 10 are needed"),
        row("liquidity_vacuum", "unknown", **away),
        row("liquidity_vacuum", "unknown", "all", episode=1, **away),
        row("volatility_shock", "absent"),
    )
    assert found.markets == 2
    assert [(each.mode, each.markets, each.reasons) for each in found.open] == [
        ("liquidity_vacuum", 1, ("liquidity_vacuum needs depth",)),
        ("venue_outage", 2, ("7 to 9 orders, 10 are needed", "venue_silence needs updates")),
    ]


def test_a_day_without_markets_has_no_modes():
    found = lines()
    assert (found.markets, found.today, found.open) == (0, (), ())
