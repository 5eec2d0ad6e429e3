"""The trial ledger: counts honestly, loses nothing, notices tampering."""

from __future__ import annotations

import json
import multiprocessing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from research_to_prod.research.trial_ledger import TrialLedger, TrialLedgerError, TrialRecord


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
        "returns_sha256": "c" * 64,
        "candidate": "some_candidate",
        "run_id": "run",
        "recorded_at": datetime(2026, 1, 1, 12, tzinfo=UTC),
    }
    return TrialRecord.model_validate({**fields, **changes})


@pytest.fixture
def ledger(tmp_path: Path) -> TrialLedger:
    return TrialLedger(tmp_path / "ledger" / "trials.jsonl")


def test_an_absent_ledger_holds_no_trials(ledger: TrialLedger) -> None:
    assert ledger.records() == []
    assert ledger.count("momentum", ["BTC/USDT"]) == 0


def test_what_was_appended_is_read_back_in_order(ledger: TrialLedger) -> None:
    first, second, third = record(24), record(48, sharpe_daily=None), record(72)
    ledger.append([first, second])
    ledger.append([third])
    assert TrialLedger(ledger.path).records() == [first, second, third]


def test_running_the_same_trial_again_or_under_another_name_adds_no_trial(ledger: TrialLedger) -> None:
    ledger.append([record(24), record(48)])
    ledger.append([record(24, candidate="renamed", run_id="later", data_sha256="d" * 64)])
    assert len(ledger.records()) == 3
    assert ledger.count("momentum", ["BTC/USDT"]) == 2


def test_trials_are_counted_by_strategy_and_universe_in_any_order(ledger: TrialLedger) -> None:
    ledger.append(
        [
            record(1, universe=("BTC/USDT", "ETH/USDT")),
            record(2, universe=("ETH/USDT", "BTC/USDT")),
            record(3, universe=("BTC/USDT",)),
            record(4, universe=("BTC/USDT",), strategy="breakout"),
        ]
    )
    assert ledger.count("momentum", ["ETH/USDT", "BTC/USDT"]) == 2
    assert ledger.count("momentum", ["BTC/USDT"]) == 1
    assert ledger.count("breakout", ["BTC/USDT"]) == 1
    assert ledger.count("breakout", ["ETH/USDT"]) == 0


def test_a_line_torn_by_a_crash_is_cut_off_and_the_chain_goes_on(ledger: TrialLedger) -> None:
    ledger.append([record(24), record(48)])
    whole = ledger.path.read_bytes()
    for torn in (1, 40, len(whole.splitlines(keepends=True)[1]) - 1):
        ledger.path.write_bytes(whole + whole.splitlines(keepends=True)[1][:torn])
        assert len(ledger.records()) == 2
        ledger.append([record(72)])
        assert [each.trial_id for each in ledger.records()] == ["id-24", "id-48", "id-72"]
        ledger.path.write_bytes(whole)


def test_a_ledger_whose_only_line_is_torn_starts_afresh(ledger: TrialLedger) -> None:
    ledger.append([record(24)])
    ledger.path.write_bytes(ledger.path.read_bytes()[:-1])
    ledger.append([record(48)])
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
    ledger.append([record(24), record(48), record(72)])
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    ledger.path.write_bytes(b"".join(tamper(lines)))  # type: ignore[operator]
    with pytest.raises(TrialLedgerError, match=message):
        ledger.count("momentum", ["BTC/USDT"])


def test_nothing_is_appended_after_a_last_line_that_was_changed(ledger: TrialLedger) -> None:
    ledger.append([record(24)])
    changed = ledger.path.read_bytes().replace(b"id-24", b"id-25")
    ledger.path.write_bytes(changed)
    with pytest.raises(TrialLedgerError, match="was changed"):
        ledger.append([record(48)])
    assert ledger.path.read_bytes() == changed


def test_the_head_names_the_state_of_the_whole_ledger(ledger: TrialLedger) -> None:
    heads = [ledger.head]
    for lookback in (24, 48):
        ledger.append([record(lookback)])
        heads.append(ledger.head)
    assert len(set(heads)) == 3
    assert TrialLedger(ledger.path).head == heads[-1]
    ledger.path.write_bytes(ledger.path.read_bytes().replace(b"id-24", b"id-25"))
    with pytest.raises(TrialLedgerError):
        _ = ledger.head


def _append_many(path: Path, writer: int) -> None:
    ledger = TrialLedger(path)
    for number in range(15):
        ledger.append([record(1000 * writer + number), record(1000 * writer + 500 + number)])


def test_three_processes_appending_at_once_lose_nothing(ledger: TrialLedger) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append_many, args=(ledger.path, writer)) for writer in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert ledger.count("momentum", ["BTC/USDT"]) == len(ledger.records()) == 90
