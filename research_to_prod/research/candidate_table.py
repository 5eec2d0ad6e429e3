"""The table of candidates: a reviewed file and its strategy's source as one row, and back without loss.

Belongs here: the schema and both directions. Doesn't: validation (``candidate``).
"""

from __future__ import annotations

import pyarrow as pa

from research_to_prod.lake.schema import DECIMAL, Column, PartitionBy, Schema
from research_to_prod.research.candidate import Candidate
from research_to_prod.research.strategy import Strategy, strategy_from_source
from research_to_prod.values import canonical_json, sha256_hex

CANDIDATE = Schema(
    description="One reviewed candidate file with its strategy's source.",
    columns=(
        Column("candidate", pa.string(), "name; the partition"),
        Column("sha256", pa.string(), "digest of everything in the file and of the strategy's source"),
        Column("owner", pa.string(), "who answers for it"),
        Column("hypothesis", pa.string(), "why the edge should exist, written before the search"),
        Column("strategy", pa.string(), "strategy file"),
        Column("strategy_type", pa.string(), "market_making, intraday, swing or carry"),
        Column("universe", pa.string(), "symbols, comma-separated"),
        Column("capital", DECIMAL, "capital asked for", "quote"),
        Column("definition", pa.string(), "the whole candidate as canonical JSON"),
        Column("strategy_source", pa.string(), "the strategy's whole file: an audit runs again what was judged"),
    ),
    key=("candidate",),
    partition_by=PartitionBy("candidate"),
)


def candidate_to_table(candidate: Candidate, strategy: Strategy) -> pa.Table:
    """Return the one row of ``CANDIDATE``.

    Raises
    ------
    ValueError
        If ``strategy`` is not the source that the candidate was checked against.
    """
    if strategy.source_sha256 != candidate.strategy_sha256:
        raise ValueError(
            f"strategy {strategy.name} was changed while candidate {candidate.name} was read; run it again"
        )
    row = {
        "candidate": candidate.name,
        "sha256": candidate.sha256,
        "owner": candidate.owner,
        "hypothesis": candidate.hypothesis,
        "strategy": candidate.strategy,
        "strategy_type": candidate.type.value,
        "universe": ",".join(candidate.universe),
        "capital": candidate.capital,
        "definition": canonical_json(candidate.model_dump(mode="json")).decode(),
        "strategy_source": strategy.source,
    }
    return pa.Table.from_pylist([row], schema=CANDIDATE.arrow)


def candidate_from_table(rows: pa.Table) -> Candidate:
    """Return the candidate of a one-row table.

    Raises
    ------
    ValueError
        If there is not exactly one row, or the definition does not have the row's hash.
    """
    if rows.num_rows != 1:
        raise ValueError(f"a candidate is one row, the table has {rows.num_rows}; materialize candidate again")
    row = rows.to_pylist()[0]
    candidate = Candidate.model_validate_json(row["definition"])
    if candidate.sha256 != row["sha256"]:
        raise ValueError(f"candidate {row['candidate']} does not have its recorded hash; materialize candidate again")
    return candidate


def strategy_from_table(rows: pa.Table) -> Strategy:
    """Return the candidate's strategy from its recorded source, whatever its file says by now.

    Raises
    ------
    ValueError
        If there is not exactly one row, or the source is not there or does not have the hash that the candidate names.
    """
    candidate = candidate_from_table(rows)
    if "strategy_source" not in rows.column_names:
        raise ValueError(
            f"candidate {candidate.name} was stored before its strategy's source was; use a new data folder"
        )
    source = rows["strategy_source"][0].as_py()
    if sha256_hex(source.encode()) != candidate.strategy_sha256:
        raise ValueError(
            f"the recorded source of strategy {candidate.strategy} does not have the hash that candidate "
            f"{candidate.name} names; materialize candidate again"
        )
    return strategy_from_source(candidate.strategy, source, f"<{candidate.strategy} {candidate.strategy_sha256}>")
