"""What the tables of reports hold.

Belongs here: declared tables. Doesn't: the pages, and how their numbers are computed.
"""

from __future__ import annotations

import pyarrow as pa

from research_to_prod.lake.schema import Column, Schema

RISK_POSTURE = Schema(
    description="One number or text of the desk's risk posture; earlier versions are earlier postures.",
    columns=(
        Column("section", pa.string(), "part of the posture, such as exposures, shortfalls, blind, sources"),
        Column("line", pa.string(), "place of the line within its section; empty where the section is one value"),
        Column("field", pa.string(), "what of the line; proven_at: up to when its inputs were last proven complete"),
        Column("number", pa.float64(), "where it is a number that is known", "its section's", nullable=True),
        Column("text", pa.string(), "where it is none: a name, a time, a reason", nullable=True),
    ),
    key=("section", "line", "field"),
)
