"""The page of performance keeps what it says of benchmarks that were not run again."""

from benchmarks.__main__ import kept_rows
from benchmarks._tables import table

ROWS = [
    ("`lake`", "ten million bars over polars", "2.35", "<= 2.5", "holds", "2026-11-29"),
    ("`ledger`", "s", "1.01", "", "", ""),
]


def test_rows_of_other_benchmarks_are_read_back_as_they_were_written() -> None:
    page = table(("benchmark", "claim", "measured", "target", "", "when"), ROWS)
    assert kept_rows(page, ["ledger"]) == ROWS[:1]
    assert kept_rows(page, []) == ROWS
