"""The desk report: the same numbers in HTML and JSON, nothing from outside, nothing unescaped."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from research_to_prod.attribution.contracts import MARKOUTS, SLIPPAGE
from research_to_prod.attribution.pnl_contracts import DRAWDOWNS, EDGE_VERDICTS, FAILURE_MODES, PNL_WATERFALL, SHADOW
from research_to_prod.attribution.slippage import COMPONENTS
from research_to_prod.attribution.verdict_policy import load_attribution_policy
from research_to_prod.attribution.waterfall_days import STEPS
from research_to_prod.defs.tables import TABLES
from research_to_prod.operations.contracts import BREAKS
from research_to_prod.reports.compile_desk_report import DayTables, compile_desk_report
from research_to_prod.reports.desk_report import CandidateLine, DeskReport, Exclusion, Status
from research_to_prod.reports.questions import desk_questions, unanswered
from research_to_prod.reports.rendering import render_html, render_json
from research_to_prod.settings import Settings
from research_to_prod.values import Verdict
from tests.reports.month_tables import month_tables

DAY = "2026-01-02"
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
POLICY = load_attribution_policy(Settings().desk / "policies" / "attribution.yaml")


def slippage_row(number: int, total: float = 10.0, **changes: Any) -> dict[str, Any]:
    """Return an order of 10,000 whose cost is half fees, half spread."""
    row: dict[str, Any] = dict.fromkeys(COMPONENTS, 0.0)
    row |= {"fees": total / 2, "spread": total / 2, "total": total, "residual": 0.0}
    row |= {"order_id": f"o{number:03d}", "strategy": "momentum", "venue": "sandbox", "symbol": "BTC/USDT", "side": 1}
    row |= {
        "sent_at": NOON + timedelta(seconds=number),
        "ended_at": NOON + timedelta(hours=1),
        "quantity": 2.0,
        "fills": 3,
        "filled_quantity": 1.5,
    }
    row |= {"decision_mid": 5000.0, "arrival_mid": 5000.0, "end_mid": 5000.0, "order_value": 10_000.0}
    row |= {"executed_value": 7_500.0, "total_bps_of_order_value": total, "total_bps_of_executed_value": total / 0.75}
    return row | {"excluded_reason": None} | changes


def excluded_row(number: int) -> dict[str, Any]:
    names = [*COMPONENTS, "total", "residual", "order_value", "executed_value"]
    names += ["total_bps_of_order_value", "total_bps_of_executed_value"]
    return slippage_row(number) | dict.fromkeys(names) | {"excluded_reason": "end: quote too old"}


def break_row(number: int, **changes: Any) -> dict[str, Any]:
    row = {"day": DAY, "break_id": f"b{number}", "class": "fee_mismatch", "venue": "sandbox", "symbol": "BTC/USDT"}
    row |= {"record_id": str(number), "internal_value": "0.1 USDT", "venue_value": "0.2 USDT", "money": Decimal("0.1")}
    row |= {"opened_at": NOON, "evidence": "both have the fill and differ", "evidence_ids": [], "verdict": "confirmed"}
    row |= {"account": None, "severity": "p3", "owner": "operations", "status": "open", "age": "<1d"}
    row |= {"first_seen_at": NOON, "last_seen_at": NOON, "resolved_at": None, "resolution": None}
    return row | changes


CANDIDATES = (
    CandidateLine(
        candidate="momentum_v2",
        strategy="momentum",
        verdict=Verdict.PASS,
        stage="paper",
        gates_passed=4,
        gates=4,
        reasons=(),
    ),
    CandidateLine(
        candidate="carry_v1",
        strategy="carry",
        verdict=Verdict.INCONCLUSIVE,
        stage="research",
        gates_passed=1,
        gates=4,
        reasons=("data completeness 91 %, 99 % needed",),
    ),
)


def markout_rows(parents: int) -> pa.Table:
    """Return maker fills of as many parents, each two basis points up after 5 s, and one that was not measured."""
    base = {"venue": "sandbox", "symbol": "BTC/USDT", "horizon_seconds": 5, "strategy": "momentum", "side": 1}
    base |= {
        "liquidity": "maker",
        "filled_at": NOON,
        "matured_at": NOON,
        "quantity": 2.0,
        "price": 50.0,
        "value": 100.0,
    }
    rows = [base | {"fill_id": str(n), "order_id": f"o{n}", "net_after_fee": 0.02} for n in range(parents)]
    rows.append(base | {"fill_id": "x", "order_id": "x", "excluded_reason": "at the fill: quote too old"})
    return pa.Table.from_pylist(rows, schema=MARKOUTS.arrow)


MARKET = {"day": DAY, "venue": "sandbox", "symbol": "BTC/USDT"}


def shadow_rows(*strategies: str, **changes: Any) -> pa.Table:
    """Return a market of each strategy that earned 90 instead of the model's 100; expected were 80."""
    row: dict[str, Any] = MARKET | {"position_known": True, "orders": 7, "signals": 24, "diverging": ["d"]}
    row |= {"expected": Decimal(80), "shadow": Decimal(100), "live": Decimal(90), "model_quantities": [0.5]}
    rows = [row | {"strategy": name} | changes for name in strategies]
    return pa.Table.from_pylist(rows, schema=SHADOW.arrow)


def waterfall_rows(*strategies: str, residual: Decimal | None = Decimal("-0.25")) -> pa.Table:
    """Return 80 expected, +21 edge, -1 missed, +3 modelled cost back, -10 spread, -3 fees: 90 live."""
    amounts: dict[str, Any] = dict.fromkeys(STEPS, Decimal(0))
    amounts |= {"expected": Decimal(80), "edge and regime": Decimal(21), "missed trades": Decimal(-1)}
    amounts |= {"modelled cost, taken back": Decimal(3), "spread": Decimal(-10), "fees": Decimal(-3)}
    amounts["residual"] = residual
    rows = [
        MARKET | {"strategy": name, "step": step, "cause": cause, "amount": amounts[cause]}
        for name in strategies
        for step, cause in enumerate(STEPS)
    ]
    return pa.Table.from_pylist(rows, schema=PNL_WATERFALL.arrow)


def verdict_rows(strategy: str, verdict: str = "INCONCLUSIVE", effect: float | None = 0.25) -> pa.Table:
    row: dict[str, Any] = {"day": DAY, "strategy": strategy, "verdict": verdict, "orders": 70, "reason": "too early"}
    row |= {"verdict_days": 28, "verdict_orders": 196, "policy_sha256": "0", "answer": "UNKNOWN", "days": 41}
    row |= {"effect": effect, "days_to_decide": 29, "orders_to_decide": 197, "unit": "bps a day"}
    row |= {"lower": None if effect is None else effect - 1.5, "upper": None if effect is None else effect + 1.75}
    rows = [row | {"question": each} for each in ("selection", "execution", "edge")]
    if effect is not None:
        # The evening before was less certain, and saw less.
        before = {"day": "2026-01-01", "effect": effect - 0.5, "lower": effect - 2.5, "upper": effect + 2.0}
        rows += [each | before | {"verdict": "NORMAL", "reason": "of the past"} for each in rows]
    return pa.Table.from_pylist(rows, schema=EDGE_VERDICTS.arrow)


def drawdown_rows(strategy: str) -> pa.Table:
    """Return a record with one open drawdown of 12.5, two fees to one gain."""
    head = {"day": DAY, "strategy": strategy}
    record = {"episode": 0, "dimension": "all", "value": "all", "loss": Decimal("12.5")}
    rows = [head | record | {"standing": "inconclusive", "reason": "2 live days are too few"}]
    below = {"2025-12-30": "0", "2025-12-31": "3.25", DAY: "12.5"}
    rows += [
        head | {"episode": 0, "dimension": "day", "value": day, "loss": Decimal(loss)} for day, loss in below.items()
    ]
    times = {"episode": 1, "peak_at": NOON - timedelta(days=3), "trough_at": NOON, "seconds": 259_200.0}
    parts = [("all", "all", "12.5", 1.0)]
    parts += [("component", "edge and regime", "-3", -0.24), ("component", "fees", "15.5", 1.24)]
    rows += [
        head | times | {"dimension": dimension, "value": value, "loss": Decimal(loss), "share": share}
        for dimension, value, loss, share in parts
    ]
    return pa.Table.from_pylist(rows, schema=DRAWDOWNS.arrow)


def mode_rows(strategy: str) -> pa.Table:
    """Return a shock on the day and in the drawdown, a vacuum that can't be excluded, and no outage."""
    head: dict[str, Any] = {"day": DAY, "strategy": strategy, "episode": 0, "policy_sha256": "0", "reason": ""}
    days = {"days": 1, "days_present": 0, "days_unknown": 0}
    market = head | days | {"venue": "sandbox", "symbol": "BTC/USDT"}
    shock = {"mode": "volatility_shock", "answer": "present", "days_present": 1}
    times = {"first_at": NOON, "last_at": NOON + timedelta(hours=1)}
    away = {"mode": "liquidity_vacuum", "answer": "unknown", "reason": "liquidity_vacuum needs depth"}
    whole = head | {"venue": "all", "symbol": "all", "days": 41, "days_unknown": 39} | shock | times
    rows = [
        market | shock | times | {"severity": 2.25},
        market | away,
        market | away | {"symbol": "ETH/USDT"},
        market | {"mode": "venue_outage", "answer": "absent"},
        whole | {"loss_share": 0.75, "time_share": 0.024, "p_value": 0.0625, "shifts": 41},
        whole | {"episode": 1, "days": 3, "loss_share": 0.9},
    ]
    return pa.Table.from_pylist(rows, schema=FAILURE_MODES.arrow)


def report(orders: list[dict[str, Any]], breaks: list[dict[str, Any]] | None = None, **changes: Any) -> DeskReport:
    tables: dict[str, Any] = {
        "slippage": pa.Table.from_pylist(orders, schema=SLIPPAGE.arrow),
        "breaks": pa.Table.from_pylist(breaks or [], schema=BREAKS.arrow),
        "quotes": (),
        "shadow": SHADOW.empty(),
        "waterfall": PNL_WATERFALL.empty(),
        "verdicts": EDGE_VERDICTS.empty(),
        "drawdowns": DRAWDOWNS.empty(),
        "failure_modes": FAILURE_MODES.empty(),
        "internal_fills": 120,
        "venue_fills": 121,
        "present": ("slippage", "breaks"),
    }
    others: dict[str, Any] = {"candidates": (), "exclusions": (), "prepared_at": NOON + timedelta(days=1)}
    others |= {"policy": POLICY, "month": month_tables(DAY)}
    return compile_desk_report(
        DayTables(day=DAY, **{name: changes.pop(name, each) for name, each in tables.items()}), **(others | changes)
    )


ORDERS = [slippage_row(n, total) for n, total in enumerate((-30.5, 12.25, 4.0, 1 / 3, 55.0, -1.0, 7.0, 8.0, 1e4 / 7))]
ORDERS += [slippage_row(20, 9.0, strategy="carry", symbol="ETH/USDT:USDT", side=-1)]
BREAK_ROWS = [
    break_row(1),
    break_row(2, **{"class": "missing_fill_venue", "money": Decimal("1234.500000000000000001"), "venue_value": None}),
    break_row(3, **{"class": "source_incomplete", "money": None, "record_id": None, "verdict": "unknown"}),
]


@pytest.fixture(scope="module")
def full() -> DeskReport:
    exclusions = (Exclusion(what="fills", reason="price is missing", n=2, of=122),)
    return report(
        [*ORDERS, excluded_row(40)],
        BREAK_ROWS,
        candidates=CANDIDATES,
        exclusions=exclusions,
        shadow=shadow_rows("momentum"),
        waterfall=waterfall_rows("momentum"),
        verdicts=verdict_rows("momentum"),
        drawdowns=drawdown_rows("momentum"),
        failure_modes=mode_rows("momentum"),
    )


class Page(HTMLParser):
    """What a page says: texts, ``<data>`` values, tags with their attributes."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.values: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "data":
            self.values.append(dict(attrs)["value"] or "")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


# Positions are exact text too; whatever else is a number in the JSON is one of its own.
EXACT = ("money", "money_at_stake", "_low", "_high", ".held", ".stated", ".by_fills")


CURVES = (".sequences.", ".underwater.")


def numbers(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from numbers(each, f"{path}.{name}")
    elif isinstance(value, list):
        for each in value:
            yield from numbers(each, path)
    elif isinstance(value, str) and path.endswith(EXACT):
        yield path, value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, json.dumps(value)


def test_the_page_and_the_json_have_the_same_numbers(full: DeskReport) -> None:
    shown = set(Page(render_html(full)).values)
    stored = dict.fromkeys(
        (path, number) for path, number in numbers(json.loads(render_json(full))) if not path.endswith(".side")
    )
    assert shown <= {number for _, number in stored}
    # Executed value is shown for the whole desk only; hours and curves are drawn.
    drawn = (".by_strategy.executed_value", ".by_venue.executed_value", ".month.hours.hour", *CURVES)
    hidden = {path for path, number in stored if number not in shown}
    assert {path for path in hidden if not path.startswith(drawn)} == set()
    assert len(shown) > 40


def test_the_report_is_json_all_the_way(full: DeskReport) -> None:
    assert DeskReport.model_validate_json(render_json(full)) == full
    assert "1234.500000000000000001" in render_json(full).decode()


def test_the_same_day_is_the_same_bytes(full: DeskReport) -> None:
    assert render_html(full) == render_html(full.model_copy(deep=True))
    assert render_json(full) == render_json(full.model_copy(deep=True))


def test_markouts_show_their_interval_only_with_enough_parents() -> None:
    (line,) = report(ORDERS, month=month_tables(DAY, markouts=markout_rows(8))).markouts
    assert (line.mean_bps, line.low_bps, line.high_bps) == (pytest.approx(2),) * 3
    assert (line.fills, line.parents, line.excluded) == (8, 8, 1)
    few = report(ORDERS, month=month_tables(DAY, markouts=markout_rows(7)))
    assert (few.markouts[0].low_bps, few.markouts[0].high_bps) == (None, None)
    assert "No fill has matured" not in render_html(few).decode()
    assert "No fill has matured" in render_html(report(ORDERS)).decode()


def test_sums_are_the_sums_of_the_orders(full: DeskReport) -> None:
    assert full.costs.orders == len(ORDERS)
    assert full.costs.total == pytest.approx(sum(row["total"] for row in ORDERS))
    assert full.costs.components["fees"] == pytest.approx(full.costs.total / 2)
    assert full.costs.total_bps == pytest.approx(1e4 * full.costs.total / 100_000)
    assert [line.name for line in full.by_strategy] == ["momentum", "carry"]
    assert sum(line.total for line in full.by_strategy) == pytest.approx(full.costs.total)
    # Equal order values: the ratio's error is the ordinary standard error of the mean.
    deviation = [row["total"] - full.costs.total / len(ORDERS) for row in ORDERS]
    variance = sum(each**2 for each in deviation) / (len(ORDERS) - 1)
    assert full.costs.bps_standard_error == pytest.approx((variance / len(ORDERS)) ** 0.5)
    assert full.by_strategy[1].bps_standard_error is None


def test_the_dearest_and_the_best_orders_are_ranked_by_money(full: DeskReport) -> None:
    assert [line.order_id for line in full.dearest] == ["o008", "o004", "o001", "o020", "o007"]
    assert [line.order_id for line in full.cheapest] == ["o000", "o005"]
    assert full.dearest[0].filled_share == 0.75


def test_what_to_do_is_ranked_by_money_with_the_unproven_after_the_proven(full: DeskReport) -> None:
    assert full.status is Status.ACT
    assert [action.owner for action in full.actions] == ["operations"] * 3 + ["trading", "data", "research"]
    assert [action.money for action in full.actions[:3]] == [Decimal("1234.500000000000000001"), Decimal("0.1"), None]
    assert full.reconciliation.money_at_stake == Decimal("1234.600000000000000001")
    assert (full.reconciliation.confirmed, full.reconciliation.unknown) == (2, 1)


@pytest.mark.parametrize(
    ("orders", "breaks", "status", "words"),
    [
        (ORDERS, [], Status.CLEAR, "agree"),
        ([], [], Status.CLEAR, "Nothing was traded"),
        (ORDERS, BREAK_ROWS[2:], Status.UNKNOWN, "unproven"),
        ([*ORDERS, excluded_row(40)], [], Status.UNKNOWN, "1 of 11 orders could not be measured"),
        (ORDERS, BREAK_ROWS[:1], Status.ACT, "1 confirmed break against"),
    ],
)
def test_the_headline_says_what_is_proven_and_no_more(
    orders: list[dict[str, Any]], breaks: list[dict[str, Any]], status: Status, words: str
) -> None:
    made = report(orders, breaks)
    assert made.status is status
    assert words in made.headline
    assert made.headline in " ".join(Page(render_html(made)).texts)


def test_an_order_in_another_currency_is_excluded_and_counted() -> None:
    made = report([slippage_row(1), slippage_row(2, symbol="BTC/USD")])
    assert made.costs.orders == 1
    assert [(line.reason, line.n, line.of) for line in made.exclusions if line.of] == [
        ("quoted in another currency than USDT", 1, 2)
    ]


def test_verdicts_come_first_with_effect_bounds_and_horizon(full: DeskReport) -> None:
    (line,) = full.verdicts
    assert (line.verdict, line.days_to_decide, line.orders_to_decide, line.orders) == ("INCONCLUSIVE", 28, 196, 70)
    assert (line.expected_money, line.shadow_money, line.live_money) == (80, 100, 90)
    assert full.earned_money == 90
    assert [each.question for each in line.findings] == ["edge", "execution", "selection"]
    page = render_html(full).decode()
    assert page.index("Is the edge alive?") < page.index("From expected to live") < page.index("To do today")
    assert {"0.25", "-1.25", "2.0", "28", "196", "29", "197", "41"} <= set(Page(page.encode()).values)


@pytest.mark.parametrize("verdict", ["EDGE", "EXECUTION", "BOTH", "SELECTION"])
def test_a_strategy_that_changed_is_the_headline_and_something_to_do(verdict: str) -> None:
    made = report(ORDERS, shadow=shadow_rows("momentum"), verdicts=verdict_rows("momentum", verdict))
    assert made.status is Status.ACT
    assert f"momentum ({verdict})" in made.headline
    assert "too early" in [action.why for action in made.actions]


def test_a_strategy_without_a_model_and_signals_that_differ_are_something_to_do() -> None:
    two = pa.concat_tables([shadow_rows("momentum"), shadow_rows("carry", shadow=None, signals=0, diverging=[])])
    both = pa.concat_tables([verdict_rows("momentum"), verdict_rows("carry", effect=None)])
    made = report(ORDERS, shadow=two, verdicts=both)
    assert [(action.why, action.n) for action in made.actions] == [("carry", 1), ("momentum", 1)]
    assert [line.shadow_money for line in made.verdicts] == [None, 100]
    assert made.earned_money == 180
    unknown = report(ORDERS, shadow=shadow_rows("momentum", live=None), verdicts=verdict_rows("momentum"))
    assert unknown.earned_money is None
    assert "not compared" in Page(render_html(made)).texts


def test_the_waterfall_adds_up_and_says_what_it_leaves_out() -> None:
    rows = pa.concat_tables(
        [waterfall_rows("momentum"), waterfall_rows("momentum"), waterfall_rows("carry", residual=None)]
    )
    short = waterfall_rows("short").to_pylist()[:1]
    short[0] |= {"amount": None, "excluded_reason": "no quote"}
    made = report(
        ORDERS,
        shadow=shadow_rows("momentum", "carry"),
        waterfall=pa.concat_tables([rows, pa.Table.from_pylist(short, schema=rows.schema)]),
    )
    momentum, carry = made.waterfalls
    assert momentum.live_money == sum(step.money or 0 for step in momentum.steps) == 180
    assert (momentum.residual_money, carry.residual_money) == (Decimal("-0.5"), None)
    assert [step.cause for step in carry.steps][:2] == ["expected", "edge and regime"]
    assert "timing" not in [step.cause for step in carry.steps]
    costs = made.model_costs[1]
    assert (costs.charged_money, costs.paid_money, costs.fees_beyond_money, costs.missed_money) == (3, 10, 3, 1)
    assert render_html(made) == render_html(made.model_copy(deep=True))


def test_failure_modes_stand_with_the_drawdown_that_they_were_present_in(full: DeskReport) -> None:
    text = "".join(Page(render_html(full)).texts)
    assert "volatility shock on 1 of 3 days (90% of the loss)" in text
    assert "liquidity vacuum in 2 of 2 markets: liquidity_vacuum needs depth" in text
    assert "venue outage" not in text


def test_strategies_that_wait_for_the_same_share_a_line_and_have_no_rows_of_their_own() -> None:
    rows = [each for name in ("carry", "momentum") for each in verdict_rows(name, effect=None).to_pylist()]
    refused = [row | {"strategy": "grid", "days_to_decide": None, "reason": "no edge is expected"} for row in rows[:3]]
    verdicts = pa.Table.from_pylist([*rows, *refused], schema=EDGE_VERDICTS.arrow)
    made = report(ORDERS, verdicts=verdicts)
    asked = ("edge", "execution", "selection")
    assert [(each.strategies, each.questions, each.days, each.reason) for each in made.waits] == [
        (("carry", "momentum"), asked, 29, ""),
        (("grid",), asked, None, "no edge is expected"),
    ]
    text = "".join(Page(render_html(made)).texts)
    assert "Edge, execution, selection of carry, momentum can be looked at in 29 more days of record." in text
    assert text.count("no edge is expected") == 1
    assert "Effects, positive when worse" not in text


def test_a_drawdown_shows_what_it_is_made_of_largest_loss_first(full: DeskReport) -> None:
    (line,) = full.drawdowns
    (episode,) = line.episodes
    assert (line.standing, line.deepest_money, episode.money, episode.days) == ("inconclusive", 12.5, 12.5, 3.0)
    assert [(part.component, part.money) for part in episode.parts] == [("fees", 15.5), ("edge and regime", -3)]
    assert "INCONCLUSIVE" in Page(render_html(full)).texts


def test_evidence_and_depth_are_drawn_in_the_sections_that_they_belong_to(full: DeskReport) -> None:
    page = Page(render_html(full))
    labels = [attributes.get("aria-label") or "" for tag, attributes in page.tags if tag == "figure"]
    sections = [attributes["aria-labelledby"] for tag, attributes in page.tags if tag == "section"]
    evidence = [label for label in labels if label.startswith("Evidence on ")]
    assert [label.split()[2] for label in evidence] == ["edge", "execution", "selection"]
    assert all("on 2 evenings from 2026-01-01 to 2026-01-02" in label for label in evidence)
    (below,) = (label for label in labels if label.startswith("How far momentum was below its high"))
    assert labels.index(below) > labels.index(evidence[-1])
    assert sections.index("drawdowns") > sections.index("verdicts")


def test_the_evenings_before_are_drawn_and_not_judged_again(full: DeskReport) -> None:
    assert [line.verdict for line in full.verdicts] == ["INCONCLUSIVE"]
    assert "of the past" not in render_html(full).decode()


def test_a_single_evening_is_no_sequence_and_a_record_at_its_high_is_not_drawn() -> None:
    verdicts, drawdowns = verdict_rows("momentum"), drawdown_rows("momentum")
    tonight = verdicts.filter(pc.equal(verdicts["day"], DAY))
    high = drawdowns.filter(pc.not_equal(drawdowns["dimension"], "day"))
    made = report(ORDERS, verdicts=tonight, drawdowns=high)
    assert (made.sequences, made.underwater) == ((), ())
    assert "How the evidence came about" not in render_html(made).decode()
    assert "Below the high" not in render_html(made).decode()


HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "\"><svg onload='alert(1)'>",
    "{{ 7 * 7 }} {% raw %}",
    "$\\frac{1}{0}$ & </style>",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text: str) -> None:
    candidate = CANDIDATES[1].model_copy(
        update={"candidate": text, "strategy": text, "stage": text, "reasons": (text,)}
    )
    made = report(
        [slippage_row(1, order_id=text, strategy=text)],
        [break_row(1, record_id=text, internal_value=text, venue_value=text, evidence=text, symbol=text)],
        candidates=(candidate,),
        exclusions=(Exclusion(what=text, reason=text, n=1, of=1),),
        shadow=shadow_rows(text),
        waterfall=waterfall_rows(text),
        verdicts=verdict_rows(text),
        drawdowns=drawdown_rows(text),
    )
    page = Page(render_html(made))
    names = {tag for tag, _ in page.tags}
    assert not names & {"img", "script", "iframe", "object"}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert page.texts.count(text) >= 10
    assert "49" not in page.texts


def test_the_page_asks_for_nothing_outside_itself(full: DeskReport) -> None:
    text = render_html(full).decode()
    page = Page(text.encode())
    policies = [a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    assert not re.search(r"https?:|//[a-z]|@import", text)
    addresses = [a[name] or "" for _, a in page.tags for name in ("src", "href", "xlink:href", "action") if name in a]
    beside = {address for address in addresses if not address.startswith(("#", "data:"))}
    assert beside == {"index.html"}
    assert all(address.startswith("#") for address in re.findall(r"url\(([^)]*)\)", text))
    assert len(text.encode()) < 2_000_000


def test_the_page_reads_without_seeing_it(full: DeskReport) -> None:
    page = Page(render_html(full))
    tags = [tag for tag, _ in page.tags]
    assert tags.count("h1") == 1
    ids = [a["id"] for _, a in page.tags if "id" in a and _ not in {"svg", "g", "path", "clipPath", "use", "text"}]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.tags:
        if tag == "section" or attributes.get("role") == "region":
            assert attributes["aria-labelledby"] in ids
        if tag == "th":
            assert attributes["scope"] in {"col", "row"}
    assert tags.count("caption") == tags.count("table")
    assert dict(page.tags)["html"]["lang"] == "en"
    figure = next(attributes for tag, attributes in page.tags if tag == "figure")
    assert figure["aria-label"]


def test_a_day_on_which_everything_breaks_is_still_a_small_page() -> None:
    breaks = [break_row(n, money=Decimal(n)) for n in range(3000)]
    made = report([slippage_row(n, float(n)) for n in range(3000)], breaks)
    page = render_html(made)
    assert len(page) < 500_000
    assert "the 100 largest are shown" in page.decode()
    assert len(made.reconciliation.breaks) == 3000
    assert "2999.000000000000000000" in Page(page).values


def test_each_open_question_names_each_input_that_it_lacks_and_who_brings_it() -> None:
    found = unanswered(["slippage", "breaks", "markouts"])
    assert [(each.missing_input, each.brought_by) for each in found if each.number in {6, 12}] == [
        ("latency_costs", "the pipeline"),
        ("order_events", "the desk's inbox"),
        ("fills", "the desk's inbox"),
        ("fee_schedules", "the desk's inbox"),
        ("shadow", "the pipeline"),
    ]
    assert not {3, 7, 14, 15} & {each.number for each in found}
    assert unanswered([each.missing_input for each in unanswered(())]) == ()


def test_every_question_that_the_tables_of_the_lake_answer_has_a_section() -> None:
    page = render_html(report([slippage_row(0)], present=tuple(TABLES))).decode()
    answered = [question for question in desk_questions(tuple(TABLES)) if question.answered]
    assert len(answered) >= 10
    for question in answered:
        assert f'id="{question.where}"' in page, question
        assert f'<a href="#{question.where}">' in page, question


def test_a_question_is_open_until_all_of_its_inputs_are_there() -> None:
    questions = desk_questions(["slippage", "breaks"])
    assert [question.number for question in questions] == list(range(1, 16))
    assert [question.number for question in questions if question.answered] == [3, 14, 15]
    assert questions[6].missing == ("markouts",)
    assert all(
        question.answered
        for question in desk_questions({name for q in questions for name in q.missing} | {"slippage", "breaks"})
    )
