"""Ten thousand firings in a minute: one message a cause, every firing is found again, in seconds."""

from __future__ import annotations

import time
from pathlib import Path

from research_to_prod.operations.alerting.evaluation import Observation
from research_to_prod.operations.alerting.situation import Subject
from tests.operations.alerting.book import reading
from tests.operations.incidents.firings import Play, pages, refs_in

MARKETS = 165
SECONDS = 60
VENUES = ("sandbox", "kraken")


def second_of_the_storm() -> list[Observation]:
    """One venue is down and silent in every market, another one is merely silent; our account has lost an order."""
    down = [reading("venue_not_ok", 1, Subject("sandbox")), reading("unknown_orders", 1, Subject("sandbox", "main"))]
    silent = [
        reading("market_data_age", 500, Subject(VENUES[number % 2], instrument=f"C{number}/USDT"))
        for number in range(MARKETS)
    ]
    return down + silent


def test_ten_thousand_firings_in_a_minute_are_three_messages_and_none_is_lost(tmp_path: Path) -> None:
    play = Play(tmp_path)
    steps = []
    started = time.process_time()
    for _ in range(SECONDS):
        steps += play.see(*second_of_the_storm(), after=1)
    spent = time.process_time() - started
    assert sorted(pages(steps)) == [
        "P1 unknown_order to on-call",
        "P2 venue_status to on-call",
        "P3 md_stale to tickets",  # nothing is held at the other venue
    ]
    refs = refs_in(tmp_path / "incidents.jsonl")
    firings = SECONDS * (MARKETS + 2)
    assert firings > 10_000
    assert len(refs) == len(set(refs)) == firings
    assert sum(each.occurrences for each in play.store.read().all()) == firings
    # One alerter has a minute for it and other work to do; 2.3 s were measured with four busy processes beside it.
    assert spent < 30
