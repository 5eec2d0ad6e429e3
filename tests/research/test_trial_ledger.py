"""The trial ledger: counts honestly, loses nothing, notices tampering."""

from __future__ import annotations

import json
import multiprocessing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from research_to_prod.research.trial_ledger import TrialLedger, TrialLedgerError, TrialRecord, series_bytes
from research_to_prod.values import canonical_json, sha256_hex

RETURNS = np.array([0.01, -0.02, 0.0])


def record(lookback: int = 24, **changes: object) -> TrialRecord:
    fields: dict[str, object] = {
        "trial_id": f"id-{lookback}",
        "strategy": "momentum",
        "source_sha256": "a" * 64,
        "venue": "sandbox",
        "universe": ("BTC/USDT",),
        "timeframe": "1h",
        "parameters": json.dumps({"lookback_hours": lookback}),
        "window_start": datetime(2023, 1, 1, tzinfo=UTC),
        "window_end": datetime(2024, 1, 1, tzinfo=UTC),
        "data_sha256": "b" * 64,
        "sharpe_daily": 0.05,
        "returns_sha256": sha256_hex(series_bytes(RETURNS)),
        "candidate": "some_candidate",
        "run_id": "run",
        "recorded_at": datetime(2026, 1, 1, 12, tzinfo=UTC),
    }
    return TrialRecord.model_validate({**fields, **changes})


def append(ledger: TrialLedger, records: list[TrialRecord]) -> None:
    ledger.append(records, [RETURNS] * len(records))


@pytest.fixture
def ledger(tmp_path: Path) -> TrialLedger:
    return TrialLedger(tmp_path / "ledger" / "trials.jsonl")


def test_an_absent_ledger_holds_no_trials(ledger: TrialLedger) -> None:
    assert ledger.records() == []
    assert ledger.count("momentum", ["BTC/USDT"]) == 0


def test_what_was_appended_is_read_back_in_order(ledger: TrialLedger) -> None:
    first, second, third = record(24), record(48, sharpe_daily=None), record(72)
    append(ledger, [first, second])
    append(ledger, [third])
    read = TrialLedger(ledger.path).records()
    assert [each.model_copy(update={"n_days": None, "returns_at": None}) for each in read] == [first, second, third]
    assert [(each.n_days, each.returns_at) for each in read] == [(3, 0), (3, 24), (3, 48)]


def test_running_the_same_trial_again_or_under_another_name_adds_no_trial(ledger: TrialLedger) -> None:
    append(ledger, [record(24), record(48)])
    append(ledger, [record(24, candidate="renamed", run_id="later", data_sha256="d" * 64)])
    assert len(ledger.records()) == 3
    assert ledger.count("momentum", ["BTC/USDT"]) == 2


def test_trials_are_counted_by_strategy_and_universe_in_any_order(ledger: TrialLedger) -> None:
    append(
        ledger,
        [
            record(1, universe=("BTC/USDT", "ETH/USDT")),
            record(2, universe=("ETH/USDT", "BTC/USDT")),
            record(3, universe=("BTC/USDT",)),
            record(4, universe=("BTC/USDT",), strategy="breakout"),
        ],
    )
    assert ledger.count("momentum", ["ETH/USDT", "BTC/USDT"]) == 2
    assert ledger.count("momentum", ["BTC/USDT"]) == 1
    assert ledger.count("breakout", ["BTC/USDT"]) == 1
    assert ledger.count("breakout", ["ETH/USDT"]) == 0


def test_a_line_torn_by_a_crash_is_cut_off_and_the_chain_goes_on(ledger: TrialLedger) -> None:
    append(ledger, [record(24), record(48)])
    whole = ledger.path.read_bytes()
    for torn in (1, 40, len(whole.splitlines(keepends=True)[1]) - 1):
        ledger.path.write_bytes(whole + whole.splitlines(keepends=True)[1][:torn])
        assert len(ledger.records()) == 2
        append(ledger, [record(72)])
        assert [each.trial_id for each in ledger.records()] == ["id-24", "id-48", "id-72"]
        ledger.path.write_bytes(whole)


def test_a_ledger_whose_only_line_is_torn_starts_afresh(ledger: TrialLedger) -> None:
    append(ledger, [record(24)])
    ledger.path.write_bytes(ledger.path.read_bytes()[:-1])
    append(ledger, [record(48)])
    assert [each.trial_id for each in ledger.records()] == ["id-48"]


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (lambda lines: [lines[0].replace(b"id-24", b"id-99"), *lines[1:]], "line 1 was changed"),
        (lambda lines: lines[1:], "line 1: a line before it was removed"),
        (lambda lines: [lines[0], lines[2]], "line 2: a line before it was removed"),
        (lambda lines: [lines[1], lines[0], lines[2]], "removed or changed"),
        (lambda lines: [b"{}\n", *lines[1:]], "line 1 is unreadable"),
        (lambda lines: [b"garbage\n", *lines], "line 1 is unreadable"),
        (lambda lines: [b"[1]\n", *lines], "line 1 is unreadable"),
    ],
)
def test_a_changed_removed_or_reordered_line_is_noticed(ledger: TrialLedger, tamper: object, message: str) -> None:
    append(ledger, [record(24), record(48), record(72)])
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    ledger.path.write_bytes(b"".join(tamper(lines)))  # type: ignore[operator]
    with pytest.raises(TrialLedgerError, match=message):
        ledger.count("momentum", ["BTC/USDT"])


def test_nothing_is_appended_after_a_last_line_that_was_changed(ledger: TrialLedger) -> None:
    append(ledger, [record(24)])
    changed = ledger.path.read_bytes().replace(b"id-24", b"id-25")
    ledger.path.write_bytes(changed)
    with pytest.raises(TrialLedgerError, match="was changed"):
        append(ledger, [record(48)])
    assert ledger.path.read_bytes() == changed


def test_the_head_names_the_state_of_the_whole_ledger(ledger: TrialLedger) -> None:
    heads = [ledger.head]
    for lookback in (24, 48):
        append(ledger, [record(lookback)])
        heads.append(ledger.head)
    assert len(set(heads)) == 3
    assert TrialLedger(ledger.path).head == heads[-1]
    ledger.path.write_bytes(ledger.path.read_bytes().replace(b"id-24", b"id-25"))
    with pytest.raises(TrialLedgerError):
        _ = ledger.head


def _append_many(path: Path, writer: int) -> None:
    ledger = TrialLedger(path)
    for number in range(15):
        append(ledger, [record(1000 * writer + number), record(1000 * writer + 500 + number)])


def test_three_processes_appending_at_once_lose_nothing(ledger: TrialLedger) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append_many, args=(ledger.path, writer)) for writer in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert ledger.count("momentum", ["BTC/USDT"]) == len(ledger.records()) == 90


def test_each_record_gives_its_own_series_back(ledger: TrialLedger) -> None:
    series = [np.array([0.1, np.nan]), np.empty(0), np.array([-0.0, 1e-300, 5.0])]
    records = [record(n, returns_sha256=sha256_hex(series_bytes(each))) for n, each in enumerate(series)]
    ledger.append(records[:1], series[:1])
    ledger.append(records[1:], series[1:])
    for kept, wanted in zip(ledger.records(), series, strict=True):
        np.testing.assert_array_equal(ledger.returns(kept), wanted)


def test_a_series_that_is_not_its_records_is_refused_before_anything_is_written(ledger: TrialLedger) -> None:
    with pytest.raises(ValueError, match="not the one that its record names"):
        ledger.append([record(24)], [RETURNS * 2])
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        ledger.append([record(24), record(48)], [RETURNS])
    assert not ledger.path.exists()
    assert not ledger.series_path.exists()


def test_bytes_that_a_crash_left_between_series_and_line_hurt_no_other_trial(ledger: TrialLedger) -> None:
    append(ledger, [record(24)])
    with ledger.series_path.open("ab") as file:
        file.write(b"torn!")
    append(ledger, [record(48)])
    for kept in ledger.records():
        np.testing.assert_array_equal(ledger.returns(kept), RETURNS)


@pytest.mark.parametrize("tamper", [lambda content: content[:-1], lambda content: b"\0" * len(content), lambda _: None])
def test_a_series_that_was_cut_changed_or_removed_is_noticed(ledger: TrialLedger, tamper: object) -> None:
    append(ledger, [record(24)])
    content = tamper(ledger.series_path.read_bytes())  # type: ignore[operator]
    ledger.series_path.unlink()
    if content is not None:
        ledger.series_path.write_bytes(content)
    with pytest.raises(TrialLedgerError, match="removed or changed"):
        ledger.returns(ledger.records()[0])


def test_a_line_from_before_series_were_kept_still_counts_and_says_what_it_lacks(ledger: TrialLedger) -> None:
    old = {name: value for name, value in record(24).model_dump(mode="json").items() if name != "returns_at"}
    del old["n_days"]
    line = {"sequence": 0, "previous": "0" * 64, "trial": old}
    line["sha256"] = sha256_hex(canonical_json(line))
    ledger.path.parent.mkdir()
    ledger.path.write_bytes(canonical_json(line) + b"\n")
    append(ledger, [record(48)])
    first, second = ledger.records()
    assert ledger.count("momentum", ["BTC/USDT"]) == 2
    np.testing.assert_array_equal(ledger.returns(second), RETURNS)
    with pytest.raises(TrialLedgerError, match="recorded without its series"):
        ledger.returns(first)
