"""Each rule on a generated month: the defect it is for, the nearest thing that is none, and laws that hold for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import research_to_prod
from research_to_prod.market_data.certificates import Certificate, issue
from research_to_prod.market_data.contracts import FETCHED_KEY, RAW_CANDLES
from research_to_prod.market_data.examination import RULES, examine_history
from research_to_prod.market_data.findings import Finding, Level
from research_to_prod.market_data.quality_policy import load_quality_policy
from research_to_prod.market_data.universe import MarketSpec

POLICY = load_quality_policy(Path(research_to_prod.__file__).parent / "desk" / "policies" / "market_quality.yaml")
START, END = datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)
LATER = datetime(2024, 6, 1, tzinfo=UTC)
HOURS = 29 * 24
HOUR = pd.Timedelta(hours=1)
MIDDLE = 300
ALL, REST, THREE = slice(0, None), slice(MIDDLE, None), slice(MIDDLE, MIDDLE + 3)
PRICES = ["open", "high", "low", "close"]
ERROR, WARNING, INFO = Level.ERROR, Level.WARNING, Level.INFO
Change = Callable[[pd.DataFrame], pd.DataFrame | None]


@cache
def _walk(seed: int, noise: float, level: float) -> pd.DataFrame:
    """Return a clean month of hourly bars; with ``noise`` 0 the returns of all seeds under 100 are the same."""
    common, own = np.random.default_rng(seed // 100), np.random.default_rng(seed + 10**6)
    log = np.log(level) + np.concatenate(([0], np.cumsum(common.normal(0, 0.005, HOURS))))
    log[1:] += noise * own.normal(0, 1, HOURS)
    first, last = np.exp(log[:-1]), np.exp(log[1:])
    reach = np.exp(np.abs(own.normal(0, 0.003, (2, HOURS))))
    return pd.DataFrame(
        {
            "ts": pd.date_range(START, periods=HOURS, freq="h", unit="us"),
            "open": first,
            "high": np.maximum(first, last) * reach[0],
            "low": np.minimum(first, last) / reach[1],
            "close": last,
            "volume": np.exp(own.normal(3, 0.5, HOURS)),
        }
    )


def walk(seed: int = 1, noise: float = 0.0, level: float = 100.0) -> pd.DataFrame:
    return _walk(seed, noise, level).copy()


def market(symbol: str = "A/Q", venue: str = "v", timeframe: str = "1h") -> MarketSpec:
    return MarketSpec.model_validate(
        {"venue": venue, "symbol": symbol, "timeframe": timeframe, "since": START, "until": END}
    )


def examined(
    months: Sequence[tuple[MarketSpec, pd.DataFrame]], *, clock: datetime | None = None, seen: datetime = END
) -> tuple[Finding, ...]:
    """Examine rows as one fetch delivered them; ``clock`` is the venue's after it, ``seen`` how far it reached."""
    tables, certificates = [], []
    for spec, bars in months:
        proof = issue(
            venue=spec.venue, endpoint="e", scope=f"{spec.symbol} {spec.timeframe}", interval=(START, seen),
            bodies=["b"], rows=len(bars), terminal="end_reached", clocks=(clock, clock),
        )  # fmt: skip
        certificates.append(proof)
        rows = bars.assign(
            venue=spec.venue, symbol=spec.symbol, timeframe=spec.timeframe, fetch_id=proof.fetch_id, page=0,
            row=np.arange(len(bars)),
        )  # fmt: skip
        table = pa.Table.from_pandas(rows[RAW_CANDLES.arrow.names], preserve_index=False).cast(RAW_CANDLES.arrow)
        tables.append(table)
    raw = pa.concat_tables(tables).sort_by([(name, "ascending") for name in FETCHED_KEY])
    return examine_history(raw, [spec for spec, _ in months], LATER, certificates, POLICY)


def rules(findings: Sequence[Finding]) -> dict[str, Level]:
    return {each.rule: each.level for each in findings if each.level is not INFO}


def after(change: Change, *others: tuple[MarketSpec, pd.DataFrame]) -> tuple[Finding, ...]:
    """Return the findings on market A/Q after ``change``."""
    bars = walk()
    changed = change(bars)
    found = examined([(market(), bars if changed is None else changed), *others])
    return tuple(each for each in found if (each.venue, each.symbol) == ("v", "A/Q"))


def set_values(columns: str | list[str], at: int | slice, factor: float) -> Change:
    def change(bars: pd.DataFrame) -> None:
        bars.loc[bars.index[at], columns] *= factor

    return change


def without(start: int, count: int) -> Change:
    return lambda bars: bars.drop(bars.index[start : start + count])


def repeated(at: int, factor: float = 1.0) -> Change:
    return lambda bars: pd.concat([bars, bars.iloc[[at]].assign(close=bars["close"][at] * factor)])


def still(start: int, count: int, volume: float | None = 0.0) -> Change:
    def change(bars: pd.DataFrame) -> None:
        chosen = bars.index[start : start + count]
        bars.loc[chosen, PRICES] = bars["open"][start]
        if volume is not None:
            bars.loc[chosen, "volume"] = volume
        continue_from(bars, start + count)

    return change


def continue_from(bars: pd.DataFrame, at: int) -> None:
    """Scale the bars from ``at`` on so that they continue the close before."""
    rest = bars.index[at:]
    bars.loc[rest, PRICES] *= bars["close"][at - 1] / bars["open"][at]


def flat_volume(share: float) -> Change:
    def change(bars: pd.DataFrame) -> None:
        bars.loc[bars.index[:: round(1 / share)], "volume"] = 0.0

    return change


def spike(size: float, volume: float) -> Change:
    """Return a change of one close (the next open follows it, as on venues that set it so), at that many medians."""

    def change(bars: pd.DataFrame) -> None:
        bars.loc[MIDDLE, "close"] = bars.loc[MIDDLE + 1, "open"] = bars["open"][MIDDLE] * (1 + size)
        bars["high"], bars["low"] = bars[PRICES].max(axis=1), bars[PRICES].min(axis=1)
        bars.loc[MIDDLE, "volume"] = volume * bars["volume"].median()

    return change


def columns_equal(one: str, other: str, share: float) -> Change:
    def change(bars: pd.DataFrame) -> None:
        chosen = bars.index[: int(share * len(bars))]
        bars.loc[chosen, one] = bars.loc[chosen, other]

    return change


def late(bars: int) -> Change:
    """Return a change that stamps the series that many hours late."""
    return lambda month: month.assign(ts=month["ts"] + bars * HOUR).iloc[: HOURS - bars]


def spliced(factor: float) -> Change:
    return set_values(PRICES, REST, factor)


OTHER = (market("B/Q"), walk(201))
SIBLING_DOWN = (market("B/Q"), without(MIDDLE, 40)(walk(201)))
PEER = (market("A/Q", "w"), walk(2, 0.0003))
CASES: list[tuple[str, Level, Change, Change, tuple[tuple[MarketSpec, pd.DataFrame], ...]]] = [
    # rule, level, the defect, what is none, other markets
    ("newest_first", WARNING, lambda b: b[::-1], lambda b: pd.concat([b[:400], b[400:]]), ()),
    ("out_of_order", WARNING, lambda b: pd.concat([b[1:], b[:1]]), lambda b: b, ()),
    ("duplicate", WARNING, repeated(MIDDLE), without(MIDDLE, 1), ()),
    ("conflicting_duplicate", ERROR, repeated(MIDDLE, 1.0000001), repeated(MIDDLE), ()),
    ("off_grid", ERROR, lambda b: b.assign(ts=b["ts"] + pd.Timedelta("1s")), lambda b: b.assign(ts=b["ts"]), ()),
    ("ohlc_violation_high", ERROR, set_values("high", MIDDLE, 0.9), set_values("high", MIDDLE, 1.1), ()),
    ("ohlc_violation_low", ERROR, set_values("low", MIDDLE, 1.1), set_values("low", MIDDLE, 0.9), ()),
    ("non_positive_price", ERROR, set_values("low", MIDDLE, 0.0), set_values("low", MIDDLE, 0.95), ()),
    ("invalid_volume", ERROR, set_values("volume", MIDDLE, -1.0), set_values("volume", MIDDLE, 0.0), ()),
    ("repeated_column", ERROR, columns_equal("high", "close", 1.0), columns_equal("high", "close", 0.85), ()),
    ("repeated_column", ERROR, columns_equal("low", "open", 0.95), columns_equal("low", "open", 0.5), ()),
    ("wick", WARNING, set_values("low", MIDDLE, 0.45), set_values("low", MIDDLE, 0.55), ()),
    ("zero_volume", WARNING, flat_volume(0.02), flat_volume(0.005), ()),
    ("zero_volume", ERROR, flat_volume(1.0), flat_volume(0.005), ()),
    ("unexplained_gap", WARNING, without(MIDDLE, 1), without(HOURS, 1), ()),
    ("venue_outage", WARNING, without(MIDDLE, 30), without(HOURS, 1), (SIBLING_DOWN,)),
    ("market_gap", ERROR, without(MIDDLE, 6), without(HOURS, 1), (OTHER,)),
    ("market_gap", WARNING, without(MIDDLE, 5), without(HOURS, 1), (OTHER,)),
    ("longest_gap", ERROR, without(MIDDLE, 48), without(MIDDLE, 47), ()),
    ("incomplete", ERROR, without(MIDDLE, 70), without(MIDDLE, 69), ()),
    ("stale_run", WARNING, still(MIDDLE, 4), still(MIDDLE, 2), ()),
    ("stale_run", ERROR, still(MIDDLE, 48), still(MIDDLE, 2), ()),
    ("frozen_feed", ERROR, still(MIDDLE, 3, 5.0), still(MIDDLE, 2, 5.0), ()),
    ("frozen_feed", ERROR, still(MIDDLE, 5, 5.0), still(MIDDLE, 3, None), ()),
    ("reverting_spike", ERROR, spike(0.12, 1.0), spike(0.12, 9.0), ()),
    ("reverting_spike", ERROR, spike(-0.12, 2.5), spike(0.05, 1.0), ()),
    ("broken_print", ERROR, set_values(["open", "low"], MIDDLE, 0.8), set_values(["open", "low"], MIDDLE, 0.94), ()),
    ("broken_print", ERROR, set_values(["close", "high"], MIDDLE, 1.3), set_values(["high"], MIDDLE, 1.3), ()),
    ("peer_deviation", WARNING, set_values(PRICES, THREE, 1.03), set_values(PRICES, THREE, 1.01), (PEER,)),
    ("peer_deviation", ERROR, set_values(PRICES, slice(MIDDLE, MIDDLE + 10), 1.03), lambda b: b, (PEER,)),
    ("peer_deviation", ERROR, set_values(PRICES, ALL, 1.03), set_values(PRICES, ALL, 1.01), (PEER,)),
    ("time_shift", ERROR, late(3), lambda b: b, (PEER,)),
    ("time_shift", ERROR, late(14), lambda b: b, (PEER,)),
    ("copied_series", ERROR, lambda _: OTHER[1].copy(), lambda b: b.assign(close=OTHER[1]["close"]), (OTHER,)),
    ("symbol_reuse", ERROR, spliced(3.0), spliced(1.05), ()),
    ("symbol_reuse", ERROR, spliced(0.001), set_values(PRICES, ALL, 0.001), ()),
    ("volume_unit_change", ERROR, set_values("volume", REST, 200.0), set_values("volume", REST, 40.0), ()),
    ("volume_unit_change", ERROR, set_values("volume", REST, 0.005), set_values("volume", ALL, 0.005), ()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "level", "change", "harmless", "others"), CASES, ids=[f"{case[0]}-{n}" for n, case in enumerate(CASES)]
)
def test_a_rule_finds_its_defect_and_not_its_neighbour(
    rule: str, level: Level, change: Change, harmless: Change, others: tuple[tuple[MarketSpec, pd.DataFrame], ...]
) -> None:
    found = rules(after(change, *others))
    assert found.get(rule) is level
    assert rule not in rules(after(harmless, *others))


def test_every_rule_has_a_definition_and_a_case() -> None:
    named = {case[0].removesuffix("_high").removesuffix("_low") for case in CASES}
    tested_below = {"look_ahead", "no_trade", "unknown_bars", "lead_lag", "outlier_returns"}
    assert {rule.__name__ for rule in RULES} == named | tested_below
    assert all(rule.__doc__ and len(rule.__doc__) > 50 for rule in RULES)


def test_what_is_found_says_where() -> None:
    def at(change: Change, rule: str, *others: tuple[MarketSpec, pd.DataFrame]) -> tuple[datetime, datetime, int]:
        (one,) = [each for each in after(change, *others) if each.rule == rule]
        return one.first_at, one.last_at, one.rows

    hour = timedelta(hours=1)
    middle = START + MIDDLE * hour
    assert at(without(MIDDLE, 5), "unexplained_gap") == (middle, middle + 4 * hour, 5)
    assert at(still(MIDDLE, 4), "stale_run") == (middle, middle + 3 * hour, 4)
    assert at(spliced(3.0), "symbol_reuse") == (middle, middle, 1)
    assert at(spike(0.12, 1.0), "reverting_spike") == (middle, middle, 1)
    assert at(repeated(MIDDLE, 1.1), "conflicting_duplicate") == (middle, middle, 2)
    assert at(set_values("volume", REST, 5000.0), "volume_unit_change") == (middle, middle, 1)
    shifted = [each for each in after(late(3), PEER) if each.rule == "time_shift"]
    assert [each.value for each in shifted] == [3.0]
    assert shifted[0].against == "w A/Q 1h"


def test_a_row_that_ends_after_the_venues_clock_looks_ahead() -> None:
    last = END - timedelta(hours=1)
    (found,) = [
        each for each in examined([(market(), walk())], clock=END - timedelta(seconds=1)) if each.level is ERROR
    ]
    assert (found.rule, found.first_at, found.rows) == ("look_ahead", last, 1)
    assert rules(examined([(market(), walk())], clock=END)) == {}


def test_bars_that_no_fetch_covers_are_unknown_even_when_they_are_there() -> None:
    (found,) = examined([(market(), walk())], seen=END - timedelta(hours=5))
    assert (found.rule, found.level, found.rows) == ("unknown_bars", ERROR, 5)
    assert found.first_at == END - timedelta(hours=5)


def thin(seed: int, share: float) -> pd.DataFrame:
    """Return a month in which each bar is missing for want of trades with that probability."""
    bars = walk()
    kept = np.random.default_rng(seed).random(HOURS) >= share
    kept[[0, -1]] = True
    return bars[kept]


@pytest.mark.parametrize("share", [0.05, 0.3])
@pytest.mark.parametrize("seed", range(5))
def test_silences_that_the_habit_explains_are_no_gaps(seed: int, share: float) -> None:
    found = [each for each in examined([(market(), thin(seed, share))]) if each.rule != "outlier_returns"]
    assert [(each.rule, each.level) for each in found] == [("no_trade", INFO)]


@pytest.mark.parametrize("seed", range(5))
def test_an_outage_of_a_thin_market_is_longer_than_its_habit(seed: int) -> None:
    bars = thin(seed, 0.1)
    cut = bars.drop(bars.index[(bars.index >= MIDDLE) & (bars.index < MIDDLE + 12)])
    found = rules(examined([(market(), cut)]))
    assert found == {"unexplained_gap": WARNING}


def test_a_market_that_writes_bars_without_trades_has_no_habit_of_silence() -> None:
    bars = thin(1, 0.05)
    bars.loc[bars.index[5], "volume"] = 0.0
    assert rules(examined([(market(), bars)])) == {"unexplained_gap": WARNING}


def test_a_clock_that_is_off_by_part_of_a_bar_shows_as_a_lead() -> None:
    minutes = np.cumsum(np.random.default_rng(5).normal(0, 0.001, (HOURS + 2) * 60))

    def sampled(offset: int) -> pd.DataFrame:
        edge = 100 * np.exp(minutes[60 - offset :: 60][: HOURS + 1])
        bars = walk()
        bars["open"], bars["close"] = edge[:-1], edge[1:]
        return bars.assign(high=bars[["open", "close"]].max(axis=1), low=bars[["open", "close"]].min(axis=1))

    def found(offset: int) -> set[str]:
        pair = [(market(), sampled(0)), (market(venue="w"), sampled(offset))]
        return {each.rule for each in examined(pair) if each.level is not INFO} & {"lead_lag", "time_shift"}

    assert found(25) == {"lead_lag"}
    assert found(3) == set()


def test_the_one_that_disagrees_with_most_peers_is_named() -> None:
    shifted = late(5)(walk(3, 0.0003))
    assert shifted is not None
    months = [(market(), walk()), (market(venue="w"), walk(2, 0.0003)), (market(venue="x"), shifted)]
    found = [each for each in examined(months) if each.rule == "time_shift"]
    assert {each.venue for each in found} == {"x"}
    assert {each.value for each in found} == {5.0}


def test_a_perpetual_that_equals_its_spot_is_a_copy_even_with_another_volume() -> None:
    spot, perpetual = market("A/Q"), market("A/Q:Q")
    for volume in (1.0, 0.5):
        copy = walk().assign(volume=walk()["volume"] * volume)
        found = [each for each in examined([(spot, walk()), (perpetual, copy)]) if each.level is ERROR]
        assert {(each.rule, each.symbol) for each in found} == {("copied_series", "A/Q"), ("copied_series", "A/Q:Q")}


def test_a_stretch_filled_in_from_another_venue_is_a_copy() -> None:
    filled = pd.concat([walk(7, 0.0003)[:MIDDLE], PEER[1][MIDDLE : MIDDLE + 30], walk(7, 0.0003)[MIDDLE + 30 :]])
    found = [each for each in examined([(market(), filled), PEER]) if each.rule == "copied_series"]
    assert {each.rows for each in found} == {30}


@pytest.mark.parametrize("seed", range(0, 2000, 100))
def test_a_clean_walk_raises_nothing(seed: int) -> None:
    months = [(market(), walk(seed)), (market(venue="w"), walk(seed + 1, 0.0003)), (market("B/Q"), walk(seed + 77_700))]
    assert rules(examined(months)) == {}


@settings(deadline=None, max_examples=10)
@given(st.randoms(use_true_random=False))
def test_the_order_of_delivery_changes_findings_about_order_only(random: object) -> None:
    bars = still(100, 4)(walk())
    bars = walk() if bars is None else bars
    set_values("high", MIDDLE, 0.9)(bars)
    order = np.arange(len(bars))
    random.shuffle(order)  # type: ignore[attr-defined]
    about_order = {"newest_first", "out_of_order"}
    one, other = (
        [each for each in examined([(market(), rows)]) if each.rule not in about_order]
        for rows in (bars, bars.iloc[order])
    )
    assert one == other


@settings(deadline=None, max_examples=10)
@given(st.sampled_from([2.0**power for power in range(-20, 21, 5)]), st.sampled_from([2.0**-6, 2.0**9]))
def test_scaling_prices_or_volumes_changes_nothing(price: float, volume: float) -> None:
    bars = walk()
    still(100, 4)(bars)
    spliced(3.0)(bars)
    scaled = bars.copy()
    scaled[PRICES] *= price
    scaled["volume"] *= volume
    one, other = (
        [(each.rule, each.level, each.first_at, each.last_at, each.rows) for each in examined([(market(), rows)])]
        for rows in (bars, scaled)
    )
    assert one == other


@given(st.integers(2, HOURS - 60), st.integers(1, 47))
@settings(deadline=None, max_examples=12)
def test_a_gap_is_found_where_it_is(start: int, bars: int) -> None:
    (found,) = [
        each for each in examined([(market(), walk().drop(range(start, start + bars)))]) if each.level is WARNING
    ]
    assert (found.rule, found.rows) == ("unexplained_gap", bars)
    assert found.first_at == START + timedelta(hours=start)
    assert found.last_at == START + timedelta(hours=start + bars - 1)


def test_an_empty_month_is_incomplete_and_nothing_else_breaks() -> None:
    found = rules(examined([(market(), walk()[:0])]))
    assert found == {"unexplained_gap": WARNING, "incomplete": ERROR, "longest_gap": ERROR}


def test_without_any_certificate_the_whole_month_is_unknown() -> None:
    none: list[Certificate] = []
    found = examine_history(RAW_CANDLES.empty(), [market()], LATER, none, POLICY)
    assert found[0].level is ERROR
    assert next(each for each in found if each.rule == "unknown_bars").rows == HOURS
