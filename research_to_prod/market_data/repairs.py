"""Repairs: changes to a month of bars that a named person declared in a file; without a file nothing is changed.

A repair is a version, never an edit. Raw rows stay as they came; a month is made again from them and from the files
that are there, so taking a file away gives exactly the unrepaired month. Belongs here: the model of a repair's file,
and applying it. Doesn't: the contract of bars (``bar_contract``), and what is wrong with a month (``quality``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from research_to_prod.declared import parse_yaml
from research_to_prod.lake.schema import TIMESTAMP
from research_to_prod.market_data.contracts import BAR_KEY, CANDLE_QUARANTINE, CANDLES, FETCHED_KEY, REPAIRS
from research_to_prod.market_data.quarantine import DUPLICATE, split
from research_to_prod.market_data.universe import MarketSpec, Name, Symbol, Timeframe, Utc
from research_to_prod.values import month_bounds, sha256_hex

MASKED = "masked"
"""Rule of a row that a repair took out."""


class RepairError(ValueError):
    """Repair files can't be used; the message lists every wrong file and field."""


class RepairKind(StrEnum):
    """What a repair does to the bars of its interval."""

    DROP_EXACT_DUPLICATES = "drop_exact_duplicates"
    """Nothing beyond the contract, which drops exact copies anyway: it says that someone looked at them."""
    RESORT = "resort"
    """Nothing beyond the contract, which orders bars anyway: it says that someone looked at the order."""
    FILL_FROM = "fill_from"
    """Puts the bars that another market's venue sent where this market has none."""
    MASK = "mask"
    """Takes every bar out, however often it was sent."""


_ANSWERS = {
    RepairKind.DROP_EXACT_DUPLICATES: ("duplicate",),
    RepairKind.RESORT: ("newest_first", "out_of_order"),
    RepairKind.FILL_FROM: ("longest_gap", "market_gap", "unexplained_gap", "venue_outage"),
    RepairKind.MASK: ("broken_print", "outlier_returns", "reverting_spike", "wick"),
}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Model):
    """The market whose bars fill a gap; its timeframe is that of the market repaired."""

    venue: Name
    symbol: Symbol


class Repair(_Model):
    """One repair, as its author declared it in ``desk/repairs/<id>.yaml``."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{2,63}$", description="the file's name")
    author: str = Field(pattern=r"^user:[a-z0-9._-]{2,64}$", description="the person who answers for it")
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=20)]
    declared_at: Utc
    kind: RepairKind
    venue: Name
    symbol: Symbol
    timeframe: Timeframe
    start: Utc = Field(description="first open that it touches")
    end: Utc = Field(description="open after the last one that it touches")
    source: Source | None = Field(None, description="where bars come from; fill_from only")
    rules: tuple[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], ...] = Field(
        min_length=1,
        default_factory=lambda given: _ANSWERS.get(given.get("kind"), ()),
        description="names of the quality findings that it answers; those of its kind when omitted",
    )
    text: str = Field(min_length=1, repr=False)
    """The whole file; the loader fills it in."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = []
        if self.end <= self.start:
            problems.append(f"end {self.end:%Y-%m-%dT%H:%MZ} is not after start {self.start:%Y-%m-%dT%H:%MZ}")
        if self.declared_at < self.end:
            problems.append("declared_at is before end: nobody can have looked at bars that were still to come")
        if (self.source is not None) != (self.kind is RepairKind.FILL_FROM):
            problems.append("source belongs to kind fill_from: there it is needed, elsewhere it is refused")
        if self.source is not None:
            if (self.source.venue, self.source.symbol) == (self.venue, self.symbol):
                problems.append("source is the market that is to be repaired")
            if self.source.symbol.split(":")[0] != self.symbol.split(":")[0]:
                problems.append(f"source {self.source.symbol} is another price than {self.symbol}: same base and quote")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def market(self) -> tuple[str, str, str]:
        """Venue, symbol and timeframe of the bars that it changes."""
        return self.venue, self.symbol, self.timeframe

    @property
    def source_market(self) -> tuple[str, str, str] | None:
        """Venue, symbol and timeframe of the bars that fill."""
        return None if self.source is None else (self.source.venue, self.source.symbol, self.timeframe)

    @property
    def sha256(self) -> str:
        """SHA-256 of the file."""
        return sha256_hex(self.text.encode())

    def overlaps(self, start: datetime, end: datetime) -> bool:
        """Whether it touches an open in ``[start, end)``."""
        return self.start < end and start < self.end


def load_repairs(folder: Path, markets: Sequence[MarketSpec]) -> tuple[Repair, ...]:
    """Load every ``*.yaml`` of ``folder``, sorted by id; a folder that isn't there declares nothing.

    Parameters
    ----------
    markets
        The markets of the universe: a repair of any other would silently do nothing.

    Raises
    ------
    RepairError
        Listing every wrong file and field, every unknown market, and every two repairs that contradict each other.
    """
    repairs: list[Repair] = []
    problems = [f"{path.name}: repairs are read from .yaml files; rename it" for path in sorted(folder.glob("*.yml"))]
    known = {(each.venue, each.symbol, each.timeframe) for each in markets}
    for path in sorted(folder.glob("*.yaml")):
        try:
            repair = _load(path)
        except RepairError as error:
            problems.append(str(error))
            continue
        repairs.append(repair)
        named = {"market": repair.market, "source": repair.source_market}
        problems += [
            f"{path.name}: {field} {' '.join(market)} is not in universe.yaml"
            for field, market in named.items()
            if market is not None and market not in known
        ]
    problems += [
        f"{one.id}.yaml and {other.id}.yaml: both {one.kind} {' '.join(one.market)} at one time; keep one"
        for one, other in combinations(repairs, 2)
        if (one.kind, one.market) == (other.kind, other.market) and one.overlaps(other.start, other.end)
    ]
    if problems:
        raise RepairError("\n".join(problems))
    return tuple(repairs)


def _load(path: Path) -> Repair:
    try:
        text = path.read_bytes().decode("utf-8")
        content = parse_yaml(text)
    except OSError as error:
        raise RepairError(f"{path.name}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RepairError(f"{path.name}: is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise RepairError(f"{path.name}: must hold a mapping of fields")
    problems = ["text: is the file itself, remove it"] if "text" in content else []
    if content.get("id") != path.stem:
        problems.append(f"id: must be the file's name {path.stem!r}")
    try:
        repair = Repair.model_validate(content | {"text": text})
    except ValidationError as error:
        problems += [f"{'.'.join(map(str, each['loc'])) or 'file'}: {each['msg']}" for each in error.errors()]
    if problems:
        raise RepairError("\n".join(f"{path.name}: {problem}" for problem in problems))
    return repair


def repairs_from(table: pa.Table) -> tuple[Repair, ...]:
    """Return the repairs that ``table`` (REPAIRS) says were applied, from their files as they stood then."""
    texts = table["file_text"].to_pylist()
    return tuple(Repair.model_validate(parse_yaml(text) | {"text": text}) for text in texts)


@dataclass(frozen=True)
class Repaired:
    """A month after its repairs.

    Parameters
    ----------
    accepted
        CANDLES: the bars that passed the contract and were not masked, and those that repairs filled.
    rejected
        CANDLE_QUARANTINE: every other raw row.
    log
        REPAIRS: what was applied.
    """

    accepted: pa.Table
    rejected: pa.Table
    log: pa.Table


def apply_repairs(raw: pa.Table, repairs: Sequence[Repair], month: str) -> Repaired:
    """Make a month of bars from its raw rows and the declared repairs.

    First masks take rows out, then the contract of bars judges the others, then gaps are filled: from bars of the same
    month that the contract accepted of the source market as its venue sent them (so no fill is made of a fill), never
    over a bar that is there. Raw rows + filled bars = accepted + rejected.

    Parameters
    ----------
    raw
        RAW_CANDLES of the month, in any order.
    repairs
        All that are declared, free of contradictions as `load_repairs` returns them; those of other months are ignored.
    """
    chosen = sorted((each for each in repairs if each.overlaps(*month_bounds(month))), key=lambda each: each.id)
    of_kind = {kind: [each for each in chosen if each.kind is kind] for kind in RepairKind}

    by_mask = _owner(raw, of_kind[RepairKind.MASK])
    masked = raw.append_column("repair", by_mask).filter(by_mask.is_valid())
    masked = masked.append_column("rule", pa.array([MASKED] * len(masked), pa.string()))
    judged = split(raw.filter(by_mask.is_null()))

    copies = pa.array([DUPLICATE in rule.split(",") for rule in judged.rejected["rule"].to_pylist()], pa.bool_())
    by_drop = pc.if_else(copies, _owner(judged.rejected, of_kind[RepairKind.DROP_EXACT_DUPLICATES]), None)
    at = CANDLE_QUARANTINE.arrow.get_field_index("repair")
    rejected = judged.rejected.set_column(at, CANDLE_QUARANTINE.arrow.field(at), by_drop)

    filled = [_fill(judged.accepted, each) for each in of_kind[RepairKind.FILL_FROM]]
    owners = [by_mask, by_drop, *(each["repair"] for each in filled)]
    bars = {each.id: sum(pc.sum(pc.equal(ids, each.id)).as_py() or 0 for ids in owners) for each in chosen}
    bars |= {each.id: _late_bars(raw, each) for each in of_kind[RepairKind.RESORT]}
    rejected = pa.concat_tables([rejected, masked.select(CANDLE_QUARANTINE.arrow.names).cast(CANDLE_QUARANTINE.arrow)])
    return Repaired(
        accepted=pa.concat_tables([judged.accepted, *filled]).sort_by([(name, "ascending") for name in BAR_KEY]),
        rejected=rejected.sort_by([(name, "ascending") for name in FETCHED_KEY]),
        log=REPAIRS.conform(
            pa.Table.from_pylist([_logged(each, month, bars[each.id]) for each in chosen], schema=REPAIRS.arrow),
            month,
        ),
    )


def _is_of(rows: pa.Table, market: tuple[str, str, str]) -> pa.ChunkedArray:
    """Return whether each row is of ``market``."""
    venue, symbol, timeframe = (
        pc.equal(rows[name], value) for name, value in zip(("venue", "symbol", "timeframe"), market, strict=True)
    )
    return pc.and_(pc.and_(venue, symbol), timeframe)


def _of(rows: pa.Table, market: tuple[str, str, str], repair: Repair) -> pa.ChunkedArray:
    """Return whether each row is of ``market`` and in the repair's interval."""
    begun = pc.greater_equal(rows["ts"], pa.scalar(repair.start, TIMESTAMP))
    return pc.and_(pc.and_(begun, pc.less(rows["ts"], pa.scalar(repair.end, TIMESTAMP))), _is_of(rows, market))


def _owner(rows: pa.Table, repairs: Sequence[Repair]) -> pa.ChunkedArray:
    """Return for each row the id of the repair that touches it, null for none; of one kind no two touch one row."""
    owner = pa.chunked_array([pa.nulls(len(rows), pa.string())])
    for each in repairs:
        owner = pc.if_else(_of(rows, each.market, each), each.id, owner)
    return owner


def _fill(accepted: pa.Table, repair: Repair) -> pa.Table:
    """Return the source's bars for the slots in which the market has none, as bars of the market."""
    if repair.source_market is None:
        raise ValueError(f"repair {repair.id} fills without a source")
    present = accepted.filter(_of(accepted, repair.market, repair))["ts"].combine_chunks()
    offered = accepted.filter(_of(accepted, repair.source_market, repair))
    missing = offered.filter(pc.invert(pc.is_in(offered["ts"], value_set=present)))
    for name, value in {"venue": repair.venue, "symbol": repair.symbol, "repair": repair.id}.items():
        at = CANDLES.arrow.get_field_index(name)
        missing = missing.set_column(at, CANDLES.arrow.field(at), pa.array([value] * len(missing), pa.string()))
    return missing.cast(CANDLES.arrow)


def _late_bars(raw: pa.Table, repair: Repair) -> int:
    """Return how many bars of the interval came after a later bar of their market in the same fetch."""
    rows = raw.filter(_is_of(raw, repair.market)).sort_by([("page", "ascending"), ("row", "ascending")])
    late = 0
    for fetch in pc.unique(rows["fetch_id"]):
        sent = rows.filter(pc.equal(rows["fetch_id"], fetch))
        ts = sent["ts"].cast(pa.int64()).to_numpy()
        late += int(np.sum((ts < np.maximum.accumulate(ts)) & _of(sent, repair.market, repair).to_numpy()))
    return late


def _logged(repair: Repair, month: str, bars: int) -> dict[str, Any]:
    fields = ("id", "author", "reason", "declared_at", "venue", "symbol", "timeframe", "start", "end")
    return {name: getattr(repair, name) for name in fields} | {
        "month": month,
        "kind": repair.kind.value,
        "rules": ",".join(repair.rules),
        "bars": bars,
        "file_sha256": repair.sha256,
        "file_text": repair.text,
    }
