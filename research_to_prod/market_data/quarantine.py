"""Splits raw bars into those that the contract of bars accepts and those it rejects, losing none.

Rows that ``bar_proof`` proves valid are accepted as they are; only a table with a violation goes through pandera, which
names the rows. Belongs here: running the contract, and the policy on repeated bars. Doesn't: the rules
(``bar_contract``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.lake.schema import in_order
from research_to_prod.market_data.bar_proof import count_violations
from research_to_prod.market_data.contracts import (
    BAR_KEY,
    BAR_VALUES,
    CANDLE_QUARANTINE,
    CANDLES,
    FETCHED_KEY,
    RAW_CANDLES,
)

DUPLICATE = "duplicate"
"""Rule of a row that repeats an earlier row value by value."""

CONFLICTING_DUPLICATE = "conflicting_duplicate"
"""Rule of rows that claim the same market and time with different values: none of them can be trusted."""


@dataclass(frozen=True)
class Split:
    """Raw rows, judged: ``accepted`` conforms to CANDLES, ``rejected`` to CANDLE_QUARANTINE; together they are all."""

    accepted: pa.Table
    rejected: pa.Table


def split(raw: pa.Table) -> Split:
    """Judge each row of ``raw`` (RAW_CANDLES) by the contract of bars.

    A rejected row keeps all its columns and gets the names of the rules it broke. Of rows that are identical in
    market, time and values the first by page and row is judged on its own and the others are rejected under
    ``duplicate``; rows of one market and time with different values are all rejected under ``conflicting_duplicate``.
    The order of the rows in ``raw`` doesn't matter.

    Raises
    ------
    RuntimeError
        If the contract itself could not be evaluated, or contradicts the fast count: no row is accepted without a
        verdict.
    """
    table = raw.select(RAW_CANDLES.arrow.names).cast(RAW_CANDLES.arrow)
    table = table.append_column("repair", pa.nulls(len(table), pa.string()))  # ``repairs`` alone fills it
    broken = broken_rules(table)
    if not broken:
        accepted = table.select(CANDLES.arrow.names).cast(CANDLES.arrow)
        return Split(accepted=in_order(accepted, BAR_KEY), rejected=CANDLE_QUARANTINE.empty())
    repeated = broken.pop("unique_by_key", None)
    if repeated is not None:
        broken |= _kinds_of_repetition(table.to_pandas().iloc[repeated])
    rule = np.full(len(table), "", dtype=object)
    for name, indices in broken.items():
        rule[indices] = np.where(rule[indices] == "", name, rule[indices] + "," + name)
    rejected = pa.array(rule != "", pa.bool_())

    quarantined = (
        table.append_column("rule", pa.array(rule, pa.string())).filter(rejected).cast(CANDLE_QUARANTINE.arrow)
    )
    accepted = table.select(CANDLES.arrow.names).filter(pc.invert(rejected)).cast(CANDLES.arrow)
    return Split(
        accepted=in_order(accepted, BAR_KEY),
        rejected=in_order(quarantined, FETCHED_KEY),
    )


def broken_rules(bars: pa.Table) -> dict[str, np.ndarray]:
    """Return, for each rule of the contract of bars that is broken, the positions of the rows that break it.

    Raises
    ------
    RuntimeError
        If the contract itself could not be evaluated, or contradicts the fast count.
    """
    if count_violations(bars).none:
        return {}
    from pandera.errors import SchemaErrors

    from research_to_prod.market_data.bar_contract import BarContract

    try:
        BarContract.validate(bars.to_pandas(), lazy=True)
    except SchemaErrors as error:
        failures = error.failure_cases
        rules = {check.name for check in BarContract.to_schema().checks}
        if failures["index"].isna().any() or not set(failures["check"]) <= rules:
            # A crashed check or a wrong column type has no row to blame; taking it for a pass would let bars through.
            raise RuntimeError(f"the contract of bars could not be evaluated: {failures['check'].unique()}") from error
        return {name: np.unique(group.to_numpy(dtype=np.int64)) for name, group in failures.groupby("check")["index"]}
    raise RuntimeError("the contract of bars finds nothing in rows that bar_proof counts as broken; report it")


def _kinds_of_repetition(repeated: pd.DataFrame) -> dict[str, np.ndarray]:
    """Tell rows that repeat their market and time identically from those that contradict each other."""
    ordered = repeated.sort_values(["page", "row", "fetch_id"])
    claims = ordered.groupby(list(BAR_KEY), dropna=False)["row"].transform("size")
    agreeing = ordered.groupby([*BAR_KEY, *BAR_VALUES], dropna=False)["row"].transform("size")
    conflicting = claims.ne(agreeing)
    again = ordered.duplicated([*BAR_KEY, *BAR_VALUES], keep="first")
    kinds = {
        CONFLICTING_DUPLICATE: ordered.index[conflicting].to_numpy(),
        DUPLICATE: ordered.index[again & ~conflicting].to_numpy(),
    }
    return {name: indices for name, indices in kinds.items() if len(indices)}
