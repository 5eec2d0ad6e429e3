"""Replays: the quotes and fills around an order, thin enough for a page, and drawn."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from research_to_prod.execution.contracts import DECISIONS, FILLS, ORDERS, QUOTES
from research_to_prod.reports.month_lines import Replay
from research_to_prod.reports.replays import replay_svg, replays_of

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
PLACE = {"strategy": "momentum", "venue": "v", "symbol": "BTC/USDT", "side": 1}


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def quotes(count: int, **changes: Any) -> pa.Table:
    """Return a quote a second from 100 s before the decision on; the mid is 100 and its seconds since then."""
    rows = [
        {"venue": "v", "symbol": "BTC/USDT", "quoted_at": at(n - 100), "received_at": at(n - 100), "sequence": n}
        | {"bid": 99.5 + n, "ask": 100.5 + n, "bid_size": 1.0, "ask_size": 1.0}
        | changes
        for n in range(count)
    ]
    return pa.Table.from_pylist(rows, schema=QUOTES.arrow)


def replays(pieces: list[pa.Table], fills: int = 2, **changes: Any) -> tuple[Replay, ...]:
    order = PLACE | {"order_id": "o", "decision_id": "d", "sent_at": at(1), "acknowledged_at": at(2)}
    fill = PLACE | {"order_id": "o", "quantity": Decimal(1), "liquidity": "maker"}
    made = [fill | {"fill_id": str(n), "price": Decimal(190 + n), "filled_at": at(3 + n / 10)} for n in range(fills)]
    return replays_of(
        ["o", "nobody's"],
        pa.Table.from_pylist([PLACE | {"decision_id": "d", "decided_at": at(0)}], schema=DECISIONS.arrow),
        pa.Table.from_pylist([order | {"ended_at": at(100)} | changes], schema=ORDERS.arrow),
        pa.Table.from_pylist(made, schema=FILLS.arrow),
        pieces,
    )


def test_a_replay_shows_a_seventh_of_the_order_s_life_before_and_after_it() -> None:
    (replay,) = replays([quotes(400)])
    assert (replay.sent, replay.live, replay.ended) == (1, 2, 100)
    assert (replay.seconds[0], replay.seconds[-1], replay.quotes) == (-15, 114, 130)
    assert replay.bid[0] == 99.5 + 85
    assert [(fill.seconds, fill.price, fill.maker) for fill in replay.fills] == [(3, 190, True), (3.1, 191, True)]


def test_where_the_pieces_are_cut_and_other_markets_change_nothing() -> None:
    whole = quotes(400)
    pieces = [whole.slice(250), quotes(400, symbol="ETH/USDT"), QUOTES.empty(), whole.slice(0, 250)]
    assert replays(pieces) == replays([whole])


def test_many_quotes_and_fills_are_thinned_to_their_extremes_and_counted() -> None:
    (replay,) = replays([quotes(5_000)], fills=900, ended_at=at(4_000))
    assert len(replay.seconds) <= 122
    assert (replay.quotes, replay.all_fills) == (4_700, 900)
    assert len(replay.fills) <= 122
    assert max(fill.price for fill in replay.fills) == 190 + 899
    assert len(replay_svg(replay)) < 30_000


def test_an_order_without_quotes_or_fills_is_drawn_all_the_same() -> None:
    (replay,) = replays([], fills=0, acknowledged_at=None)
    assert (replay.quotes, replay.all_fills, replay.live) == (0, 0, None)
    assert "decided" in replay_svg(replay)


def test_the_picture_holds_numbers_and_its_own_words_only() -> None:
    (replay,) = replays([quotes(400)])
    svg = replay_svg(replay)
    assert set(re.findall(r">([a-z ]+)<", svg)) <= {"decided", "live", "end"}
    assert svg.count("<circle") == 2
    assert "nan" not in svg
    assert "inf" not in svg
