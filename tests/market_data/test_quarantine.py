"""The split of raw bars loses nothing, and each verdict holds by an independent reading of the rule."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_to_prod.lake.content import content_hash
from research_to_prod.market_data import quarantine
from research_to_prod.market_data.bar_contract import BarContract
from research_to_prod.market_data.bar_proof import Violations
from research_to_prod.market_data.contracts import CANDLE_QUARANTINE, CANDLES, RAW_CANDLES
from research_to_prod.market_data.quarantine import Split, split

START = datetime(2024, 1, 1, tzinfo=UTC)
VALUES = ("open", "high", "low", "close", "volume")
GOOD: dict[str, Any] = {"open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "volume": 3.0}


def bar(row: int, hour: float = 0, **changes: Any) -> dict[str, Any]:
    market = {"venue": "v", "symbol": "A/B", "timeframe": "1h", "ts": START + timedelta(hours=hour)}
    return market | GOOD | {"fetch_id": "f", "page": 0, "row": row} | changes


def raw(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=RAW_CANDLES.arrow)


def rules(rows: list[dict[str, Any]]) -> dict[int, str]:
    return {row["row"]: row["rule"] for row in split(raw(rows)).rejected.to_pylist()}


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"venue": ""}, "market_is_named"),
        ({"symbol": ""}, "market_is_named"),
        ({"timeframe": "1x"}, "ts_is_on_grid"),
        ({"timeframe": "9" * 20 + "d"}, "ts_is_on_grid"),
        ({"ts": START + timedelta(microseconds=1)}, "ts_is_on_grid"),
        ({"open": None}, "high_is_highest,low_is_lowest,prices_are_finite_positive"),
        ({"close": math.nan}, "high_is_highest,low_is_lowest,prices_are_finite_positive"),
        ({"high": math.inf}, "prices_are_finite_positive"),
        ({"low": 0.0}, "prices_are_finite_positive"),
        ({"low": -1.0}, "prices_are_finite_positive"),
        ({"volume": -0.1}, "volume_is_finite_not_negative"),
        ({"volume": None}, "volume_is_finite_not_negative"),
        ({"volume": math.inf}, "volume_is_finite_not_negative"),
        ({"high": 10.9}, "high_is_highest"),
        ({"low": 10.1}, "low_is_lowest"),
    ],
)
def test_each_defect_is_named(change: dict[str, Any], rule: str) -> None:
    assert rules([bar(0, 0), bar(1, 1, **change)]) == {1: rule}


@pytest.mark.parametrize("change", [{"volume": 0.0}, {"high": 11.0}, {"low": 10.0}, {"timeframe": "1d"}])
def test_the_edge_of_a_rule_is_valid(change: dict[str, Any]) -> None:
    assert rules([bar(0, 0, **change)]) == {}


def test_of_identical_bars_the_first_by_page_and_row_stays() -> None:
    rows = [bar(5, page=1), bar(9), bar(2), bar(7, 1)]
    result = split(raw(rows))
    assert {(row["page"], row["row"]): row["rule"] for row in result.rejected.to_pylist()} == {
        (0, 9): "duplicate",
        (1, 5): "duplicate",
    }
    assert result.accepted.num_rows == 2


def test_bars_that_contradict_each_other_are_all_rejected() -> None:
    assert rules([bar(0), bar(1), bar(2, close=11.5), bar(3, 1)]) == dict.fromkeys(range(3), "conflicting_duplicate")


def test_a_broken_bar_and_a_good_one_of_the_same_time_contradict_each_other() -> None:
    assert rules([bar(0), bar(1, volume=-1.0)]) == {
        0: "conflicting_duplicate",
        1: "volume_is_finite_not_negative,conflicting_duplicate",
    }


def test_identical_nulls_are_duplicates_not_conflicts() -> None:
    broken = "high_is_highest,low_is_lowest,prices_are_finite_positive"
    assert rules([bar(0, open=None), bar(1, open=None)]) == {0: broken, 1: f"{broken},duplicate"}


def test_rejected_rows_keep_their_bytes() -> None:
    row = split(raw([bar(3, open=None, high=math.inf)])).rejected.to_pylist()[0]
    assert {name: row[name] for name in RAW_CANDLES.arrow.names} == bar(3, open=None, high=math.inf)


def test_no_rows_split_into_no_rows() -> None:
    result = split(RAW_CANDLES.empty())
    assert (result.accepted.schema, result.accepted.num_rows) == (CANDLES.arrow, 0)
    assert (result.rejected.schema, result.rejected.num_rows) == (CANDLE_QUARANTINE.arrow, 0)


def test_a_contract_that_cannot_be_evaluated_accepts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(_: str) -> float:
        raise ZeroDivisionError

    monkeypatch.setattr("research_to_prod.market_data.bar_contract.length_us", crash)
    with pytest.raises(RuntimeError, match="could not be evaluated"):
        split(raw([bar(0), bar(1, 1, volume=-1.0)]))


def test_a_count_that_the_contract_contradicts_accepts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    other = Violations(0, 0, 0, 0, 0, 0, 1)
    monkeypatch.setattr("research_to_prod.market_data.quarantine.count_violations", lambda _: other)
    with pytest.raises(RuntimeError, match="finds nothing in rows"):
        split(raw([bar(0)]))


def test_bars_that_are_proven_valid_never_wait_for_pandera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BarContract, "validate", None)
    assert split(raw([bar(0), bar(1, 1)])).accepted.num_rows == 2
    with pytest.raises(TypeError, match="not callable"):
        split(raw([bar(0), bar(1)]))


def unsplit(table: pa.Table, monkeypatch: pytest.MonkeyPatch) -> Split:
    """The split with the fast path closed, as it was before there was one."""
    explain = quarantine.broken_rules

    def explained(rows: pa.Table) -> dict[str, np.ndarray]:
        try:
            return explain(rows)
        except RuntimeError:  # pandera finds nothing, which a count of 1 contradicts
            return {"": np.empty(0, np.int64)}

    with monkeypatch.context() as patch:
        patch.setattr(quarantine, "count_violations", lambda _: Violations(*[1] * 7))
        patch.setattr(quarantine, "broken_rules", explained)
        return split(table)


@pytest.mark.parametrize(
    "rows",
    [[], [bar(0), bar(1, 1), bar(2, 2)], [bar(2, 0), bar(1, 1), bar(0, 2)], [bar(0, 1, symbol="C/D"), bar(1, 0)]],
)
def test_the_fast_path_accepts_byte_for_byte_what_pandera_accepts(
    rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    fast, slow = split(raw(rows)), unsplit(raw(rows), monkeypatch)
    for one, other in ((fast.accepted, slow.accepted), (fast.rejected, slow.rejected)):
        assert one.schema == other.schema
        assert content_hash(one) == content_hash(other)


numbers = st.sampled_from([8.0, 9.0, 10.0, 11.0, 12.0, 0.0, -1.0, math.nan, math.inf, None])
raw_rows = st.lists(
    st.tuples(st.sampled_from([0, 1, 2, 2.5]), st.sampled_from(["1h", "2h", "bad"]), st.sampled_from(["A/B", ""]))
    .flatmap(lambda key: st.tuples(st.just(key), st.one_of(st.just(tuple(GOOD.values())), st.tuples(*[numbers] * 5))))
    .map(
        lambda each: (
            dict(zip(("hour", "timeframe", "symbol"), each[0], strict=True)) | dict(zip(VALUES, each[1], strict=True))
        )
    ),
    min_size=4,
    max_size=30,
).map(lambda rows: [bar(index, **row) for index, row in enumerate(rows)])


def same(one: Any, other: Any) -> bool:
    missing = [value is None or (isinstance(value, float) and math.isnan(value)) for value in (one, other)]
    return all(missing) or one == other


def breaks(row: dict[str, Any], rows: list[dict[str, Any]]) -> set[str]:
    """The rules read from the brief, one row at a time in plain Python."""
    broken = set()
    o, h, low, c, v = (math.nan if row[name] is None else row[name] for name in VALUES)
    hours = {"1h": 1, "2h": 2}.get(row["timeframe"])
    if not row["symbol"]:
        broken.add("market_is_named")
    if hours is None or (row["ts"] - datetime(1970, 1, 1, tzinfo=UTC)) % timedelta(hours=hours):
        broken.add("ts_is_on_grid")
    if not all(math.isfinite(price) and price > 0 for price in (o, h, low, c)):
        broken.add("prices_are_finite_positive")
    if not (math.isfinite(v) and v >= 0):
        broken.add("volume_is_finite_not_negative")
    if not (h >= o and h >= low and h >= c):
        broken.add("high_is_highest")
    if not (low <= o and low <= h and low <= c):
        broken.add("low_is_lowest")
    key = ("symbol", "timeframe", "ts")
    twins = [other for other in rows if all(other[name] == row[name] for name in key)]
    if any(not same(row[name], other[name]) for other in twins for name in VALUES):
        broken.add("conflicting_duplicate")
    elif any(other["row"] < row["row"] for other in twins):
        broken.add("duplicate")
    return broken


# Few but large examples: pandera needs a tenth of a second for each that breaks rules.
@settings(max_examples=20)
@given(raw_rows)
def test_nothing_is_lost_and_every_verdict_is_right(rows: list[dict[str, Any]]) -> None:
    result = split(raw(rows))
    assert result.accepted.num_rows + result.rejected.num_rows == len(rows)
    expected = {row["row"]: breaks(row, rows) for row in rows}
    assert {row["row"]: set(row["rule"].split(",")) for row in result.rejected.to_pylist()} == {
        number: broken for number, broken in expected.items() if broken
    }
    kept = [row for row in rows if not expected[row["row"]]]
    accepted = [tuple(row.values()) for row in result.accepted.to_pylist()]
    assert Counter(accepted) == Counter(tuple(row.get(name) for name in CANDLES.arrow.names) for row in kept)
    BarContract.validate(result.accepted.to_pandas(), lazy=True)
    CANDLES.conform(result.accepted, "2024-01")
    CANDLE_QUARANTINE.conform(result.rejected, "2024-01")


@settings(max_examples=10)
@given(raw_rows, st.randoms(use_true_random=False))
def test_the_order_of_raw_rows_does_not_matter(rows: list[dict[str, Any]], random: Any) -> None:
    first = split(raw(rows))
    random.shuffle(rows)
    second = split(raw(rows))
    assert str(first.accepted.to_pylist()) == str(second.accepted.to_pylist())
    assert str(first.rejected.to_pylist()) == str(second.rejected.to_pylist())
