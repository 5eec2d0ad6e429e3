"""The simulated desk's book: which strategies it trades, with how much, and what is true of each.

Belongs here: the entries and what the desk starts with. Doesn't: any arithmetic on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from research_to_prod.sandbox.ledger import Holder


class Truth(StrEnum):
    """What is true of a strategy of the book, whatever its record looks like."""

    REAL_EDGE = "real_edge"
    OVERFITTED = "overfitted"
    DECAYED = "decayed"
    WORSE_EXECUTION = "worse_execution"


@dataclass(frozen=True)
class BookEntry:
    """One strategy that the desk trades.

    Parameters
    ----------
    strategy_id
        Its name in every record.
    strategy, parameters
        File name in the strategies folder, and what it is run with.
    capital
        In USDT; a weight of 1 holds this much.
    truth
        The verdict that the pipeline should reach.
    """

    strategy_id: str
    strategy: str
    parameters: Mapping[str, Any]
    symbols: tuple[str, ...]
    capital: Decimal
    truth: Truth


# Each as its candidate file asks, whatever the gates said: a desk that trades by informal agreement.
BOOK = (
    BookEntry(
        "btc_momentum",
        "momentum",
        {"lookback_hours": 72, "rebalance_hours": 24, "leverage": 0.7},
        ("BTC/USDT",),
        Decimal(250_000),
        Truth.REAL_EDGE,
    ),
    BookEntry(
        "sol_breakout",
        "breakout",
        {
            "entry_hours": 96, "exit_hours": 72, "fade": True, "sides": "short", "session": "europe", "leverage": 0.4,
        },
        ("SOL/USDT:USDT",),
        Decimal(100_000),
        Truth.OVERFITTED,
    ),
    BookEntry(
        "doge_momentum",
        "momentum",
        {"lookback_hours": 72, "rebalance_hours": 24, "leverage": 0.7},
        ("DOGE/USDT",),
        Decimal(100_000),
        Truth.DECAYED,
    ),
    BookEntry(
        "eth_momentum_3x",
        "momentum",
        {"lookback_hours": 72, "rebalance_hours": 24, "leverage": 3.0},
        ("ETH/USDT:USDT",),
        Decimal(100_000),
        Truth.WORSE_EXECUTION,
    ),
)  # fmt: skip

# Coins to sell from: a spot strategy is short against this inventory.
OPENING = (
    (Holder.SPOT, "USDT", Decimal(10_000_000)),
    (Holder.SPOT, "BTC", Decimal(200)),
    (Holder.SPOT, "DOGE", Decimal(40_000_000)),
    (Holder.FUTURES, "USDT", Decimal(5_000_000)),
)
