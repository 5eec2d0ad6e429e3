"""Repairs change what they declare and nothing else, lose nothing, and leave no trace when they are taken away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from research_to_prod.lake.content import content_hash
from research_to_prod.market_data.certificates import issue
from research_to_prod.market_data.contracts import CANDLE_QUARANTINE, CANDLES, RAW_CANDLES, REPAIRS
from research_to_prod.market_data.examination import RULES
from research_to_prod.market_data.quality import profile
from research_to_prod.market_data.quality_policy import load_quality_policy
from research_to_prod.market_data.quarantine import split
from research_to_prod.market_data.repairs import Repair, RepairError, RepairKind, apply_repairs, load_repairs
from research_to_prod.market_data.series import read_series
from research_to_prod.market_data.universe import MarketSpec
from research_to_prod.settings import Settings
from research_to_prod.values import month_bounds, sha256_hex

POLICY = load_quality_policy(Settings().desk / "policies" / "market_quality.yaml")

MONTH = "2024-01"
START = datetime(2024, 1, 1, tzinfo=UTC)
LATER = datetime(2024, 6, 1, tzinfo=UTC)
MARKETS = tuple(
    MarketSpec(venue=venue, symbol="A/B", timeframe="1h", since=START, until=START + timedelta(hours=12))
    for venue in ("one", "two")
)


def bar(row: int, hour: float, venue: str = "one", **changes: Any) -> dict[str, Any]:
    close = 10.0 if venue == "one" else 20.0
    market = {"venue": venue, "symbol": "A/B", "timeframe": "1h", "ts": START + timedelta(hours=hour)}
    values = {"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 3.0}
    return market | values | {"fetch_id": venue, "page": 0, "row": row} | changes


def raw(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=RAW_CANDLES.arrow)


def fields(**changes: Any) -> dict[str, Any]:
    return {
        "id": "first",
        "author": "user:mara",
        "reason": "The venue was down and said so on its status page.",
        "declared_at": "2024-02-03T10:00Z",
        "kind": "mask",
        "venue": "one",
        "symbol": "A/B",
        "timeframe": "1h",
        "start": "2024-01-01T02:00Z",
        "end": "2024-01-01T04:00Z",
    } | changes


def repair(**changes: Any) -> Repair:
    return Repair.model_validate(fields(**changes) | {"text": yaml.safe_dump(fields(**changes))})


def fill(**changes: Any) -> Repair:
    return repair(**{"id": "filled", "kind": "fill_from", "source": {"venue": "two", "symbol": "A/B"}, **changes})


def hours(table: pa.Table, venue: str = "one", **having: Any) -> list[float]:
    rows = [row for row in table.to_pylist() if row["venue"] == venue]
    chosen = [row for row in rows if all(row[name] == value for name, value in having.items())]
    return [(row["ts"] - START) / timedelta(hours=1) for row in chosen]


BOTH = raw(*(bar(n, n) for n in range(6)), *(bar(n, n, "two") for n in range(6)))


def test_without_a_repair_nothing_changes() -> None:
    whole, judged = apply_repairs(BOTH, [], MONTH), split(BOTH)
    assert whole.accepted.equals(judged.accepted)
    assert whole.rejected.equals(judged.rejected)
    assert (whole.log.schema, whole.log.num_rows) == (REPAIRS.arrow, 0)
    assert whole.accepted["repair"].null_count == 12


def test_a_mask_takes_out_its_interval_of_its_market_whole_and_says_who() -> None:
    done = apply_repairs(BOTH, [repair()], MONTH)
    assert hours(done.accepted) == [0, 1, 4, 5]
    assert hours(done.accepted, "two") == [0, 1, 2, 3, 4, 5]
    assert hours(done.rejected, rule="masked", repair="first") == [2, 3]
    kept = [{name: row[name] for name in RAW_CANDLES.arrow.names} for row in done.rejected.to_pylist()]
    assert kept == [bar(2, 2), bar(3, 3)]


def test_a_mask_covers_every_copy_and_every_contradiction() -> None:
    rows = raw(bar(0, 2), bar(1, 2), bar(2, 3), bar(3, 3, close=10.5), bar(4, 4))
    done = apply_repairs(rows, [repair()], MONTH)
    assert hours(done.accepted) == [4]
    assert hours(done.rejected, rule="masked") == [2, 2, 3, 3]


def test_gaps_are_filled_from_the_source_and_bars_that_are_there_stay() -> None:
    rows = raw(bar(0, 2), bar(1, 5), *(bar(n, n, "two") for n in range(6)))
    done = apply_repairs(rows, [fill()], MONTH)
    assert hours(done.accepted) == [2, 3, 5], "3 is filled, 4 and earlier ones lie outside the interval"
    assert hours(done.accepted, repair="filled") == [3]
    (filled,) = [row for row in done.accepted.to_pylist() if row["repair"]]
    assert filled["close"] == 20.0
    assert done.accepted.select(["ts"]).filter(pc.equal(done.accepted["venue"], "two")).num_rows == 6


def test_bars_of_the_source_that_were_not_accepted_fill_nothing() -> None:
    rows = raw(
        bar(0, 0),
        bar(1, 2, "two", high=1.0),
        bar(2, 3, "two"),
        bar(3, 3, "two", close=20.5),
        bar(4, 3, "two", timeframe="2h"),
    )
    assert hours(apply_repairs(rows, [fill()], MONTH).accepted) == [0]
    masked = repair(id="source_masked", venue="two")
    assert hours(apply_repairs(BOTH.slice(6), [fill(), masked], MONTH).accepted) == []


def test_no_fill_is_made_of_a_fill() -> None:
    """A from B and B from A: each gets only what the other's venue sent."""
    rows = raw(bar(0, 2), bar(1, 3, "two"))
    back = fill(id="back", venue="two", source={"venue": "one", "symbol": "A/B"})
    done = apply_repairs(rows, [fill(), back], MONTH)
    assert (hours(done.accepted), hours(done.accepted, "two")) == ([2, 3], [2, 3])
    chain = fill(id="chain", venue="three", source={"venue": "one", "symbol": "A/B"})
    assert hours(apply_repairs(rows, [fill(), chain], MONTH).accepted, "three") == [2]


def test_a_masked_tick_is_replaced_by_the_second_venue() -> None:
    done = apply_repairs(BOTH, [repair(), fill()], MONTH)
    assert hours(done.accepted) == [0, 1, 2, 3, 4, 5]
    assert hours(done.accepted, repair="filled") == [2, 3]


def test_duplicates_and_order_are_handled_anyway_and_the_repair_says_that_someone_looked() -> None:
    rows = raw(bar(0, 3), bar(1, 2), bar(2, 2), bar(3, 1), bar(4, 5, high=1.0), bar(5, 3, close=10.5))
    plain = apply_repairs(rows, [], MONTH)
    looked = [repair(id="copies", kind="drop_exact_duplicates"), repair(id="order", kind="resort")]
    done = apply_repairs(rows, looked, MONTH)
    assert done.accepted.equals(plain.accepted)
    assert done.rejected.drop_columns("repair").equals(plain.rejected.drop_columns("repair"))
    assert [(row["row"], row["rule"]) for row in done.rejected.to_pylist() if row["repair"] == "copies"] == [
        (2, "duplicate")
    ]
    bars = {row["id"]: row["bars"] for row in done.log.to_pylist()}
    assert bars == {"copies": 1, "order": 3}, "hour 2 twice after hour 3, hour 3 after hour 5; hour 1 lies outside"


def test_the_log_tells_what_was_applied_to_its_last_letter() -> None:
    (row,) = apply_repairs(BOTH, [repair()], MONTH).log.to_pylist()
    text = yaml.safe_dump(fields())
    assert (row["file_text"], row["file_sha256"]) == (text, sha256_hex(text.encode()))
    assert (row["id"], row["kind"], row["author"], row["bars"]) == ("first", "mask", "user:mara", 2)
    assert (row["start"], row["end"]) == (START + timedelta(hours=2), START + timedelta(hours=4))
    assert row["rules"] == "broken_print,outlier_returns,reverting_spike,wick"


def test_a_repair_over_the_turn_of_a_month_is_applied_in_both() -> None:
    across = repair(start="2023-12-31T22:00Z", end="2024-01-01T01:00Z")
    assert [row["bars"] for row in apply_repairs(BOTH, [across], MONTH).log.to_pylist()] == [1]
    december = apply_repairs(raw(bar(0, -1), bar(1, -3)), [across], "2023-12")
    assert hours(december.accepted) == [-3]
    assert apply_repairs(raw(), [across], "2024-02").log.num_rows == 0


def test_a_repair_answers_rules_that_exist() -> None:
    named = {name for kind in RepairKind for name in repair(kind=kind.value, **source_of(kind)).rules}
    assert named <= {each.__name__ for each in RULES}


def source_of(kind: RepairKind) -> dict[str, Any]:
    return {"source": {"venue": "two", "symbol": "A/B"}} if kind is RepairKind.FILL_FROM else {}


def test_filled_bars_count_as_valid_and_are_counted() -> None:
    rows = raw(*(bar(n, n) for n in range(12) if n != 3), *(bar(n, n, "two") for n in range(12)))

    def measured(*repairs: Repair) -> dict[str, Any]:
        done = apply_repairs(rows, repairs, MONTH)
        series = read_series(done.accepted, MARKETS, MONTH, LATER)
        scope = f"{MARKETS[0].symbol} {MARKETS[0].timeframe}"
        seen = issue(
            venue=MARKETS[0].venue,
            endpoint="files",
            scope=scope,
            interval=month_bounds(MONTH),
            bodies=[],
            rows=12,
            terminal="end_of_file",
        )
        return profile(series, done.rejected, MONTH, [seen], POLICY).to_pylist()[0]  # type: ignore[no-any-return]

    plain, repaired = measured(), measured(fill())
    assert (plain["valid_bars"], plain["filled_bars"], plain["gap_runs"]) == (11, 0, 1)
    assert (repaired["valid_bars"], repaired["filled_bars"], repaired["completeness"]) == (12, 1, 1.0)


def rows_of(venue: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    values = st.sampled_from([{}, {}, {}, {"high": 1.0}, {"close": 10.5}])
    return st.lists(st.tuples(st.integers(0, 8), values), max_size=12).map(
        lambda found: [bar(row, hour, venue, **changes) for row, (hour, changes) in enumerate(found)]
    )


intervals = st.tuples(st.integers(0, 8), st.integers(1, 4)).map(
    lambda each: {"start": START + timedelta(hours=each[0]), "end": START + timedelta(hours=sum(each))}
)


@settings(max_examples=8)
@given(rows_of("one"), rows_of("two"), st.lists(intervals, min_size=4, max_size=4))
def test_every_row_is_accounted_for_and_taking_the_files_away_gives_the_unrepaired_bytes(
    one: list[dict[str, Any]], two: list[dict[str, Any]], spans: list[dict[str, Any]]
) -> None:
    rows = raw(*one, *two)
    made = [
        repair(id="one_masked", **spans[0]),
        repair(id="two_masked", venue="two", **spans[1]),
        fill(**spans[2]),
        repair(id="copies", kind="drop_exact_duplicates", **spans[3]),
    ]
    before = apply_repairs(rows, [], MONTH)
    done = apply_repairs(rows, made, MONTH)
    filled = done.accepted.num_rows - done.accepted["repair"].null_count
    assert rows.num_rows + filled == done.accepted.num_rows + done.rejected.num_rows
    CANDLES.conform(done.accepted, MONTH)
    CANDLE_QUARANTINE.conform(done.rejected, MONTH)
    outside = [each for each in done.accepted.to_pylist() if each["repair"] is None]
    assert all(each in before.accepted.to_pylist() or each in bars_of(rows) for each in outside)
    again = apply_repairs(rows, [], MONTH)
    assert content_hash(again.accepted) == content_hash(before.accepted)
    assert content_hash(again.rejected) == content_hash(before.rejected)
    shuffled = apply_repairs(raw(*reversed([*one, *two])), list(reversed(made)), MONTH)
    assert [content_hash(each) for each in (shuffled.accepted, shuffled.rejected, shuffled.log)] == [
        content_hash(each) for each in (done.accepted, done.rejected, done.log)
    ]


def bars_of(rows: pa.Table) -> list[dict[str, Any]]:
    names = [name for name in CANDLES.arrow.names if name != "repair"]
    return [row | {"repair": None} for row in rows.select(names).to_pylist()]


def write(folder: Path, name: str = "first", **changes: Any) -> None:
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(fields(**{"id": name, **changes})))


def test_a_file_is_read_whole_and_its_findings_follow_from_its_kind(tmp_path: Path) -> None:
    write(tmp_path)
    write(
        tmp_path,
        "second",
        kind="fill_from",
        source={"venue": "two", "symbol": "A/B"},
        rules=["venue_outage", "stale_run"],
    )
    first, second = load_repairs(tmp_path, MARKETS)
    assert (first.kind, first.rules, first.text) == (
        RepairKind.MASK,
        ("broken_print", "outlier_returns", "reverting_spike", "wick"),
        (tmp_path / "first.yaml").read_text(),
    )
    assert (second.source_market, second.rules) == (("two", "A/B", "1h"), ("venue_outage", "stale_run"))


def test_no_folder_and_no_file_declare_nothing(tmp_path: Path) -> None:
    assert load_repairs(tmp_path / "absent", MARKETS) == ()
    assert load_repairs(tmp_path, MARKETS) == ()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"id": "other"}, "id: must be the file's name 'first'"),
        ({"author": "team:data"}, "author"),
        ({"reason": "  broken            "}, "reason"),
        ({"kind": "delete"}, "kind"),
        ({"end": "2024-01-01T02:00Z"}, "is not after start"),
        ({"declared_at": "2024-01-01T03:59Z"}, "declared_at is before end"),
        ({"source": {"venue": "two", "symbol": "A/B"}}, "source belongs to kind fill_from"),
        ({"kind": "fill_from"}, "source belongs to kind fill_from"),
        ({"kind": "fill_from", "source": {"venue": "one", "symbol": "A/B"}}, "source is the market"),
        ({"kind": "fill_from", "source": {"venue": "two", "symbol": "A/C"}}, "another price"),
        ({"kind": "fill_from", "source": {"venue": "six", "symbol": "A/B"}}, "source six A/B 1h is not in universe"),
        ({"symbol": "A/X"}, "market one A/X 1h is not in universe"),
        ({"rules": []}, "rules"),
        ({"text": "x"}, "text: is the file itself"),
        ({"because": "x"}, "because: Extra inputs"),
    ],
)
def test_an_error_names_file_and_field(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    write(tmp_path, **changes)
    with pytest.raises(RepairError) as caught:
        load_repairs(tmp_path, MARKETS)
    assert problem in str(caught.value)
    assert "first.yaml" in str(caught.value)


def test_every_wrong_field_of_every_file_is_listed_at_once(tmp_path: Path) -> None:
    write(tmp_path, kind="delete", author="me")
    (tmp_path / "second.yaml").write_text("[")
    (tmp_path / "third.yml").write_text("")
    (tmp_path / "fourth.yaml").write_text("just text")
    with pytest.raises(RepairError) as caught:
        load_repairs(tmp_path, MARKETS)
    for part in ("first.yaml: kind", "first.yaml: author", "second.yaml: is not YAML", "third.yml", "fourth.yaml"):
        assert part in str(caught.value)


def test_two_repairs_of_one_kind_that_overlap_are_refused_and_neighbours_are_not(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, "second", start="2024-01-01T03:00Z", end="2024-01-01T05:00Z")
    with pytest.raises(RepairError, match=r"first.yaml and second.yaml: both mask one A/B 1h at one time"):
        load_repairs(tmp_path, MARKETS)
    write(tmp_path, "second", start="2024-01-01T04:00Z", end="2024-01-01T05:00Z")
    assert len(load_repairs(tmp_path, MARKETS)) == 2
