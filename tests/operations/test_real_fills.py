"""Real accounts, delivered shuffled and more than once: one ledger."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import research_to_prod
from research_to_prod.execution.inbox import read_inbox
from research_to_prod.execution.inbox_writer import InboxWriter
from research_to_prod.execution.mapping import deliver_export, load_mapping
from research_to_prod.operations.contracts import Book
from research_to_prod.operations.ledger import Posting, balances, post_side, unbalanced
from research_to_prod.operations.records import Side, fills_of

FOLDER = Path(os.environ.get("R2P_REAL_DATA") or Path(__file__).resolve().parents[3] / "shared" / "market_data")
MAPPINGS = Path(research_to_prod.__file__).parent / "desk" / "mappings"

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="no real market data: set R2P_REAL_DATA to its folder"),
]


def ledger(inbox: Path, name: str, *exports: Path) -> dict[str, tuple[Posting, ...]]:
    """Return the legs of each day after the exports were delivered one after the other."""
    writer, mapping = InboxWriter(inbox), load_mapping(MAPPINGS / f"{name}.yaml")
    days = sorted({drop.name[:10] for export in exports for drop in deliver_export(export, mapping, writer)})
    sides = {day: Side(fills_of(read_inbox(inbox, "fills", day).rows, "fill_id", "filled_at")) for day in days}
    return {day: post_side(Book.DESK, side) for day, side in sides.items()}


@pytest.mark.parametrize(
    ("name", "export", "fills"),
    [
        ("coinbase_fills", "coinbase__multi__2021-06_2021-08.parquet", 503),
        pytest.param("hyperliquid_fills", "hyperliquid__multi__2024.parquet", 6582, marks=pytest.mark.slow),
    ],
)
def test_an_account_delivered_shuffled_and_twice_is_one_ledger(
    tmp_path: Path, name: str, export: str, fills: int
) -> None:
    whole = pq.read_table(FOLDER / "fills" / export)
    random = np.random.default_rng(5)
    mixed = whole.take(pa.array(random.permutation(whole.num_rows)))
    pieces = []
    for number, start in enumerate(range(0, whole.num_rows, whole.num_rows // 3)):
        # Each piece begins a hundred rows early, so that the pieces overlap.
        pieces.append(tmp_path / f"piece{number}.parquet")
        pq.write_table(mixed.slice(max(0, start - 100), whole.num_rows // 3 + 100), pieces[-1])
    once = ledger(tmp_path / "once", name, FOLDER / "fills" / export)
    again = ledger(tmp_path / "again", name, *reversed(pieces), pieces[0], FOLDER / "fills" / export)
    assert again == once
    legs = [leg for day in once.values() for leg in day]
    assert unbalanced(legs) == {}
    assert len({leg.event_id for leg in legs}) == fills
    totals: dict[str, int] = {}
    for (_, asset), amount in balances(legs).items():
        totals[asset] = totals.get(asset, 0) + amount
    assert set(totals.values()) == {0}
