"""What the pictures of assets draw of their rows."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from research_to_prod.attribution.contracts import LATENCY_COSTS
from research_to_prod.defs.attribution.pictures import costs_picture, modes_picture, verdicts_picture
from research_to_prod.defs.operations.pictures import breaks_picture, evaluations_picture, limits_picture
from research_to_prod.reports.risk_posture import By, ExposureLine

LOOK = datetime(2026, 1, 8, 23, tzinfo=UTC)


def texts(metadata: dict[str, Any]) -> list[str]:
    (shown,) = metadata.values()
    found = re.search(r"data:image/svg\+xml;base64,([^)]*)\)", shown.value)
    assert found is not None
    root = ET.fromstring(base64.b64decode(found[1]))  # noqa: S314 - our own picture
    return [each.text or "" for each in root.iter() if each.tag.endswith("text")]


def order(strategy: str, symbol: str, before: float | None, excluded: str | None = None) -> dict[str, Any]:
    costs = {"before_sending": before, "on_the_way": 1.0}
    return {"strategy": strategy, "symbol": symbol, "excluded_reason": excluded, **costs}


COLOURS = {"before_sending": "#111111", "on_the_way": "#222222"}


def costs(*orders: dict[str, Any]) -> dict[str, Any]:
    names = ("strategy", "symbol", "excluded_reason", *COLOURS)
    schema = pa.schema([LATENCY_COSTS.arrow.field(name) for name in names])
    return costs_picture(pa.Table.from_pylist(list(orders), schema=schema), COLOURS, "costs")


def test_costs_in_two_currencies_are_two_bars_and_the_dearest_comes_first() -> None:
    shown = texts(costs(order("a", "BTC/USDT", 1.0), order("a", "BTC/USD:BTC", 7.0), order("b", "ETH/USDT", 3.0)))
    assert [each for each in shown if "," in each and "cost to" not in each] == ["a, USD", "b, USDT", "a, USDT"]


def test_excluded_orders_are_not_drawn_as_free() -> None:
    assert costs(order("a", "BTC/USDT", None, "no quote")) == {}


def evaluation(rule: str, severity: str | None = None, sight: str = "calm", hours: int = 0) -> dict[str, Any]:
    phase = "firing" if severity else "calm"
    return {"rule": rule, "as_of": LOOK + timedelta(hours=hours), "sight": sight, "phase": phase, "severity": severity}


def test_a_rule_shows_the_worst_of_its_subjects_and_the_worst_rules_come_first() -> None:
    rows = [
        evaluation("calm_one"),
        evaluation("loud_one"),
        evaluation("loud_one", "P2"),
        evaluation("loud_one", "P1"),
        evaluation("loud_one", "P2", hours=1),
        evaluation("unseen_one", sight="no_data"),
    ]
    shown = texts(evaluations_picture(pa.Table.from_pylist(rows), "minute"))
    assert [each for each in shown if each.endswith("_one")] == ["loud_one", "unseen_one", "calm_one"]
    assert [each for each in shown if each in {"1", "2", "?"}].count("1") == 2, "in the legend and in its cell"
    assert {"23:00", "00:00", "P1", "P2", "not seen", "calm"} <= set(shown)


def test_a_day_on_which_nothing_was_judged_has_no_picture() -> None:
    assert evaluations_picture(pa.Table.from_pylist([evaluation("a")]).slice(0, 0), "hour") == {}


@pytest.mark.parametrize("status", ["open", "resolved"])
def test_only_breaks_that_are_open_are_drawn_by_age(status: str) -> None:
    drawn = breaks_picture(pa.table({"status": [status], "age": [">1d"], "severity": ["p2"]}))
    assert drawn == {} if status == "resolved" else {"p2", "open >1d", "open <1h"} <= set(texts(drawn))


def test_the_modes_that_are_present_come_first_and_drawdowns_are_left_out() -> None:
    names = ("mode", "strategy", "symbol", "answer")
    rows = [("calm", "a", "BTC/USDT", "absent"), ("gap", "a", "BTC/USDT", "present"), ("gap", "a", "all", "present")]
    shown = texts(modes_picture(pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows])))
    assert [each for each in shown if each in {"gap", "calm"}] == ["gap", "calm"]
    assert "a all" not in shown


def test_an_effect_that_nobody_can_tell_yet_is_not_drawn() -> None:
    columns = {"strategy": ["a"], "question": ["edge"], "answer": ["UNKNOWN"], "unit": ["share"]}
    effects = {name: pa.array([None], pa.float64()) for name in ("effect", "lower", "upper")}
    assert verdicts_picture(pa.table(columns | effects)) == {}


def exposure(name: str, limited: float, limit: float) -> ExposureLine:
    money = {"gross": limited, "net": limited, "limited": limited, "limit": limit}
    use = limited / limit if limit else None
    return ExposureLine.model_validate(
        {"by": By.STRATEGY, "name": name, **money, "limit_use": use, "because": "", "proven_at": None}
    )


def test_limits_show_how_full_they_are_and_who_holds_what_nobody_allowed() -> None:
    shown = texts(limits_picture([exposure("half", 5, 10), exposure("far", 380, 10), exposure("barred", 5, 0)]))
    named = [each for each in shown if ": strategy" in each]
    assert named == ["3,800%: strategy far", "not allowed: strategy barred", "50%: strategy half"]
    assert limits_picture([exposure("nothing", 0, 0)]) == {}
