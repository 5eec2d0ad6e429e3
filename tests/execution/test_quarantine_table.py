"""What the inbox refuses is kept as rows of the lake."""

from pathlib import Path

from research_to_prod.execution.inbox import read_inbox
from research_to_prod.execution.quarantine_table import INBOX_QUARANTINE, quarantine_rows
from research_to_prod.lake import Lake


def test_a_refused_row_is_kept_whole_with_its_reason(tmp_path: Path) -> None:
    folder = tmp_path / "inbox" / "decisions"
    folder.mkdir(parents=True)
    header = (
        "decision_id,strategy,venue,symbol,decided_at,side,target_quantity,reference_bid,reference_ask,sent,reason\n"
    )
    good = "d1,s,binance,BTC/USDT,2026-01-05T10:00:00Z,1,0.5,100,101,true,\n"
    bad = "d2,s,binance,BTC/USDT,2026-01-05T10:00:00Z,1,half,100,101,true,\n"
    (folder / "2026-01-05.csv").write_text(header + good + bad)
    delivery = read_inbox(tmp_path / "inbox", "decisions", "2026-01-05")
    lake = Lake(tmp_path / "lake")
    rows = quarantine_rows(delivery, "decisions", "2026-01-05")
    lake.write("inbox_quarantine", "decisions-2026-01-05", rows, INBOX_QUARANTINE)
    (refused,) = lake.read("inbox_quarantine").rows.to_pylist()
    assert delivery.rows.num_rows == 1
    assert refused["row"] == 2
    assert "target_quantity" in refused["reason"]
    assert "half" in refused["content"]
