"""Fill ratios: the last five minutes against the same hour of four weeks, told only where there is enough of both."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest

from research_to_prod.execution.contracts import FILLS, ORDERS
from research_to_prod.operations.alerting.fill_ratio import fill_ratio, filled_shares
from tests.operations.alerting.book import POLICY, context, firing, held, judged
from tests.operations.alerting.test_day_measures import BTC, END, rows

MINUTE = timedelta(minutes=1)


def shares(*windows: tuple[int, list[float]]) -> pa.Table:
    listed = [{"strategy": "momentum", "back": at, "share": share} for at, each in windows for share in each]
    return pa.Table.from_pylist(listed)


def usual(days: int = 24, ratios: tuple[float, ...] = (0.8, 0.9, 1.0)) -> list[tuple[int, list[float]]]:
    """A window of ten orders on each of so many days before."""
    return [(288 * (day + 1), [ratios[day % len(ratios)]] * 10) for day in range(days)]


def z(*windows: tuple[int, list[float]]) -> tuple[float | None, int | None]:
    (found,) = fill_ratio(shares(*windows), END)
    return found.value, found.count


def test_the_newest_window_is_held_against_the_median_of_this_hour_in_robust_deviations() -> None:
    assert z((0, [0.9] * 10), *usual()) == (pytest.approx(0), 10)
    assert z((0, [0.1] * 10), *usual()) == (pytest.approx(-0.8 / (1.4826 * 0.1)), 10)


def test_where_everything_always_fills_the_deviation_is_one_order() -> None:
    assert z((0, [0.0] * 5 + [1.0] * 5), *usual(ratios=(1.0,))) == (pytest.approx(-5), 10)


def test_too_few_days_tell_nothing_and_neither_do_windows_of_few_orders_or_the_hour_itself() -> None:
    assert z((0, [0.1] * 10), *usual(23)) == (None, 10)
    assert z((0, [0.1] * 10), *[(at, each[:9]) for at, each in usual()]) == (None, 10)
    assert z(*[(at, [0.9] * 10) for at in range(12)], *usual(20)) == (None, 10)


def test_where_nothing_ended_in_five_minutes_nothing_is_told() -> None:
    assert z((1, [0.1] * 10), *usual()) == (None, 0)


def day(
    minutes_before: float, filled: int, number: int, **order: object
) -> tuple[dict[str, object], dict[str, object]]:
    ended, name = END - minutes_before * MINUTE, f"{minutes_before} {number}"
    order = (
        BTC | {"order_id": name, "quantity": Decimal(4), "side": 1, "end_reason": "filled", "ended_at": ended} | order
    )
    fill = BTC | {"fill_id": name, "order_id": name, "quantity": Decimal(filled), "filled_at": ended - MINUTE}
    return order, fill


def lake(*pairs: tuple[dict[str, object], dict[str, object]]) -> pa.Table:
    with duckdb.connect() as connection:
        connection.register("orders", rows(ORDERS, *(order for order, _ in pairs)))
        connection.register("fills", rows(FILLS, *(fill for _, fill in pairs)))
        return filled_shares(connection, END)


def test_orders_are_counted_by_when_they_ended_and_by_what_was_filled_before_the_moment() -> None:
    late, fill = day(1, 4, 2)
    found = lake(
        day(1, 3, 1), (late, fill | {"filled_at": END}), day(5, 4, 3), day(5.1, 4, 4),
        day(1440 + 59, 1, 5), day(1440 + 61, 1, 6), day(0, 4, 7), day(2, 0, 8, end_reason="rejected"),
        day(29 * 1440 + 1, 4, 9),
    )  # fmt: skip
    told = [(row["back"], row["share"]) for row in found.to_pylist()]
    assert told == [(0, 0.75), (0, 0.0), (0, 1.0), (1, 1.0), (299, 0.25)]


@pytest.mark.parametrize(("filled", "told"), [(4, set()), (1, {"fill_ratio"})])
def test_orders_that_no_longer_fill_make_their_rule_fire_and_no_other(filled: int, told: set[str]) -> None:
    before = [day(1440 * back + 2, 4 if each else 3, each) for back in range(1, 26) for each in range(10)]
    found = list(fill_ratio(lake(*before, *(day(2, filled, each) for each in range(10))), END))
    one = judged(found, context(held()), at=END)
    later = END + 15 * MINUTE
    again = judged(
        [type(each)(**{**vars(each), "at": later}) for each in found], context(held()), dict(one.states), later
    )
    assert {each.case.rule for each in firing(again) if each.known} == told
    assert "fill_ratio" in {rule.id for rule in POLICY.rules}
