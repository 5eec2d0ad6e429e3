"""Judgements of one partition: what passes, what doesn't, and which rows are shown as the worst."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.market_data.certificates import Certificate, covered_until, issue
from research_to_prod.market_data.contracts import CANDLE_QUARANTINE, CANDLES, FUNDING_RATES, RAW_CANDLES, TRADES
from research_to_prod.market_data.judgement import (
    WORST_ROWS,
    judge_bars,
    judge_bookkeeping,
    judge_coverage,
    judge_funding_times,
    judge_rates,
    judge_trades,
    judged,
)

START, END = datetime(2023, 6, 1, tzinfo=UTC), datetime(2023, 7, 1, tzinfo=UTC)
DAY = (START, START + timedelta(days=1))


def bars(count: int, **changes: Any) -> pa.Table:
    rows = [
        {
            "venue": "v",
            "symbol": "A/B",
            "timeframe": "1h",
            "ts": START + timedelta(hours=hour),
            "open": 10.0,
            "high": 12.0,
            "low": 9.0,
            "close": 11.0,
            "volume": 1.0,
            "repair": None,
        }
        for hour in range(count)
    ]
    rows[-1] |= changes
    return pa.Table.from_pylist(rows, schema=CANDLES.arrow)


def certificate(scope: str = "A/B:B", start: datetime = START, end: datetime = END, **given: Any) -> Certificate:
    return issue(
        **{"venue": "v", "endpoint": "e", "scope": scope, "interval": (start, end), "bodies": (), "rows": 0} | given,
        terminal="end_reached",
    )


def payments(hours: Sequence[float], rate: float = 0.0001) -> pa.Table:
    rows = [
        {"venue": "v", "symbol": "A/B:B", "ts": START + timedelta(hours=hour), "rate": rate, "fetch_id": "f"}
        for hour in hours
    ]
    return pa.Table.from_pylist(rows, schema=FUNDING_RATES.arrow)


def test_the_worst_rows_are_those_that_break_most_rules_then_the_largest() -> None:
    rows = pa.table({"name": ["fine", "small", "large", "nan", "both"]})
    one = np.array([False, True, True, True, True])
    found = judged(rows, {"one": one, "two": np.array([False] * 4 + [True])}, np.array([9, 1, -5, np.nan, 1]))
    assert found.worst["name"].to_pylist() == ["both", "nan", "large", "small"]
    assert found.worst["why"].to_pylist() == ["one, two", "one", "one", "one"]
    assert not found.passed
    assert found.numbers == {"rows": 5, "one": 4, "two": 1}


@given(broken=st.lists(st.booleans(), max_size=60))
def test_a_judgement_passes_exactly_when_no_row_breaks_a_rule(broken: list[bool]) -> None:
    found = judged(pa.table({"n": pa.array(range(len(broken)), pa.int64())}), {"rule": np.array(broken, bool)})
    assert found.passed == (not any(broken))
    assert found.worst.num_rows == min(WORST_ROWS, sum(broken))


def test_bars_are_judged_by_the_contract() -> None:
    assert judge_bars(bars(5)).passed
    found = judge_bars(bars(5, high=10.5))
    assert (found.passed, found.worst["why"].to_pylist()) == (False, ["high_is_highest"])
    repeated = judge_bars(pa.concat_tables([bars(2), bars(1)]))
    assert repeated.worst["why"].to_pylist() == ["unique_by_key", "unique_by_key"]


def test_a_contract_that_cannot_be_evaluated_is_a_crash_and_no_judgement() -> None:
    typed = bars(2)
    text = typed.set_column(4, "open", pa.array(["10", "11"]))
    with pytest.raises(TypeError, match="open is string, declared double"):
        judge_bars(text)


def raw(count: int) -> pa.Table:
    rows = bars(count)
    for name, values in (("fetch_id", ["f"] * count), ("page", [0] * count), ("row", list(range(count)))):
        rows = rows.append_column(name, pa.array(values))
    return rows.select(RAW_CANDLES.arrow.names).cast(RAW_CANDLES.arrow)


def quarantined(rows: pa.Table) -> pa.Table:
    rows = rows.append_column("repair", pa.nulls(rows.num_rows, pa.string()))
    return rows.append_column("rule", pa.array(["duplicate"] * rows.num_rows)).cast(CANDLE_QUARANTINE.arrow)


def test_a_row_that_is_neither_candle_nor_in_quarantine_is_shown() -> None:
    sent = raw(5)
    whole = judge_bookkeeping(sent, bars(4), quarantined(sent.slice(4)))
    assert whole.passed
    lost = judge_bookkeeping(sent, bars(3), quarantined(sent.slice(4)))
    assert (lost.passed, lost.worst["row"].to_pylist()) == (False, [3])
    # One lost and one invented add up; the books are still wrong.
    assert not judge_bookkeeping(sent, bars(3), quarantined(pa.concat_tables([sent.slice(4), sent.slice(0, 1)]))).passed


@pytest.mark.parametrize(
    ("rate", "why"),
    [(0.0300001, "beyond 3%"), (-0.5, "beyond 3%"), (float("nan"), "not finite"), (1e999, "not finite")],
)
def test_a_rate_that_no_venue_charges_is_shown(rate: float, why: str) -> None:
    assert judge_rates(payments([0, 8], 0.03)).passed
    found = judge_rates(payments([8], rate))
    assert not found.passed
    assert why in found.worst["why"].to_pylist()[0]


EIGHT_HOURLY = list(range(0, 720, 8))


@pytest.mark.parametrize(
    "hours",
    [
        EIGHT_HOURLY,
        range(720),
        [*range(0, 320, 8), *range(320, 720, 4)],
        [*range(0, 320, 4), *range(320, 720, 8)],
        [hour + 16e-3 / 3600 for hour in EIGHT_HOURLY],
    ],
    ids=["eight hours", "hourly", "8 to 4", "4 to 8", "16 ms late"],
)
def test_payments_at_the_venues_own_pace_pass(hours: Sequence[float]) -> None:
    assert judge_funding_times(payments(hours), [certificate()]).passed


@given(missing=st.sets(st.integers(0, 89), min_size=1, max_size=80))
def test_any_missing_eight_hourly_payments_are_found(missing: set[int]) -> None:
    left = [hour for hour in EIGHT_HOURLY if hour // 8 not in missing]
    found = judge_funding_times(payments(left), [certificate()])
    # Of a day's three payments the same two may be missing every day: that is a venue that pays daily.
    assert not found.passed or set(np.diff(left)) == {24}


@given(missing=st.integers(2, 717))
def test_a_missing_hourly_payment_is_found_and_shown(missing: int) -> None:
    found = judge_funding_times(payments([hour for hour in range(720) if hour != missing]), [certificate()])
    assert found.worst["ts"].to_pylist() == [START + timedelta(hours=missing + 1)]


def test_a_payment_off_the_hour_is_shown() -> None:
    found = judge_funding_times(payments([0, 8.02, 16]), [certificate(end=START + timedelta(hours=24))])
    assert "off the hour" in found.worst["why"].to_pylist()[0]


def test_a_certified_month_without_any_payment_does_not_pass() -> None:
    found = judge_funding_times(payments([]), [certificate()])
    assert (found.passed, found.numbers["markets_without_payments"]) == (False, "v A/B:B")
    assert judge_funding_times(payments([]), []).passed


FETCH = certificate("A/B", *DAY, clocks=(DAY[1], DAY[1] + timedelta(minutes=5)))


def trades(*changes: dict[str, Any]) -> pa.Table:
    rows = []
    for number, change in enumerate(changes):
        given = {"venue": "v", "symbol": "A/B", "trade_id": str(number), "ts": START + timedelta(seconds=number)}
        given |= {"price": 10.0, "amount": 1.0, "side": 1, "fetch_id": FETCH.fetch_id, "page": 0, "row": number}
        rows.append(given | change)
    return pa.Table.from_pylist(rows, schema=TRADES.arrow)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"price": 0.0}, "price not positive and finite"),
        ({"price": float("inf")}, "price not positive and finite"),
        ({"price": None}, "price not positive and finite"),
        ({"amount": -1.0}, "amount not positive and finite"),
        ({"amount": float("nan")}, "amount not positive and finite"),
        ({"side": None}, "side unknown"),
        ({"side": 2}, "side unknown"),
        ({"trade_id": "0"}, "id repeated"),
        ({"ts": START - timedelta(hours=1)}, "not on the day, id against time, without a complete certificate"),
        ({"ts": DAY[1]}, "not on the day, without a complete certificate"),
        ({"fetch_id": "another"}, "without a complete certificate"),
    ],
)
def test_a_trade_that_breaks_a_rule_is_shown_with_it(change: dict[str, Any], why: str) -> None:
    assert judge_trades(trades({}, {}, {}), DAY, [FETCH]).passed
    found = judge_trades(trades({}, {}, change), DAY, [FETCH])
    assert not found.passed
    assert why in found.worst["why"].to_pylist()[0]


def test_an_id_that_grows_against_time_is_shown() -> None:
    found = judge_trades(trades({}, {"trade_id": "7"}, {}), DAY, [FETCH])
    assert found.worst["why"].to_pylist() == ["id against time"]
    assert judge_trades(trades({"trade_id": "b-2"}, {"trade_id": "a-1"}), DAY, [FETCH]).passed


def test_trades_without_an_id_may_be_alike() -> None:
    alike = {"trade_id": None, "ts": START}
    assert judge_trades(trades(alike, alike, alike), DAY, [FETCH]).passed


def test_a_trade_later_than_the_fetch_that_brought_it_is_shown() -> None:
    early = certificate("A/B", *DAY, clocks=(START, START + timedelta(seconds=1)))
    rows = trades({"fetch_id": early.fetch_id}, {"fetch_id": early.fetch_id, "ts": START + timedelta(hours=1)})
    assert judge_trades(rows, DAY, [early]).worst["why"].to_pylist() == ["later than its fetch"]


def test_a_day_is_covered_when_certificates_reach_its_end_without_a_hole() -> None:
    noon = START + timedelta(hours=12)
    expected = {("v", "A/B"): DAY}
    halves = [certificate("A/B", START, noon), certificate("A/B", noon, DAY[1])]
    assert judge_coverage(expected, halves).passed
    assert judge_coverage(expected, halves[:1]).worst["certified_until"].to_pylist() == [noon]
    assert not judge_coverage(expected, halves[1:]).passed
    assert not judge_coverage(expected, []).passed
    assert covered_until(halves, "v", "A/B", START) == DAY[1]
    assert covered_until(halves, "v", "other", START) == START
