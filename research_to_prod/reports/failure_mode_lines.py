"""The failure modes of a day as the desk report shows them: today's, those of each drawdown, and what stays open.

Belongs here: rows of ``FAILURE_MODES`` to lines. Doesn't: the answers themselves, and how lines look.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import pyarrow as pa

from research_to_prod.attribution.drawdown_days import ALL, RECORD
from research_to_prod.attribution.failure_modes import MODES, Answer
from research_to_prod.declared import Frozen

_Line = TypeVar("_Line", bound=Frozen)


class ModeToday(Frozen):
    """A mode that was present in a market on the day."""

    strategy: str
    symbol: str
    mode: str
    first_at: datetime
    last_at: datetime
    severity: float | None
    """The worst value over its threshold."""


class ModeOfDrawdown(Frozen):
    """A mode that was present while a drawdown fell, and the share of its loss on those days."""

    strategy: str
    episode: int
    mode: str
    days_present: int
    days: int
    loss_share: float | None


class GatheredLosses(Frozen):
    """How the losses of a strategy's drawdowns gather on the days with a mode."""

    strategy: str
    mode: str
    days_present: int
    days: int
    loss_share: float
    time_share: float
    p_value: float
    """Share of circular shifts of the losses that gather there as much or more."""
    shifts: int


class OpenMode(Frozen):
    """A mode that can't be excluded in some markets of the day, and what is missing."""

    mode: str
    markets: int
    reasons: tuple[str, ...]


class FailureModeLines(Frozen):
    """What the report says about failure modes."""

    markets: int
    """Markets of strategies that were looked at on the day."""
    modes: int
    """Modes that there are."""
    today: tuple[ModeToday, ...]
    in_drawdowns: tuple[ModeOfDrawdown, ...]
    gathered: tuple[GatheredLosses, ...]
    open: tuple[OpenMode, ...]

    def of(self, strategy: str, episode: int) -> tuple[ModeOfDrawdown, ...]:
        """Return the modes of one drawdown, by its number."""
        return tuple(each for each in self.in_drawdowns if (each.strategy, each.episode) == (strategy, episode))


def failure_mode_lines(modes: pa.Table) -> FailureModeLines:
    """Return the lines of a day's ``FAILURE_MODES`` rows."""
    rows = modes.to_pylist()
    markets = [row for row in rows if row["symbol"] != ALL]
    present = [row for row in rows if row["answer"] == Answer.PRESENT]
    return FailureModeLines(
        markets=len({(row["strategy"], row["venue"], row["symbol"]) for row in markets}),
        modes=len(MODES),
        today=tuple(_line(ModeToday, row) for row in present if row["symbol"] != ALL),
        in_drawdowns=tuple(_line(ModeOfDrawdown, row) for row in present if row["episode"] != RECORD),
        gathered=tuple(_line(GatheredLosses, row) for row in rows if row["p_value"] is not None),
        open=_open(markets),
    )


def _open(markets: Sequence[Mapping[str, Any]]) -> tuple[OpenMode, ...]:
    """Return the modes that no evidence excludes, in the order of the list."""
    found = []
    for mode in MODES:
        own = [row for row in markets if row["mode"] == mode.name and row["answer"] == Answer.UNKNOWN]
        reasons = _together(each for row in own for each in row["reason"].split("; "))
        if own:
            found.append(OpenMode(mode=mode.name, markets=len(own), reasons=reasons))
    return tuple(found)


def _together(reasons: Iterable[str]) -> tuple[str, ...]:
    """Return the reasons once each; those that differ by what they count, such as 7 orders and 9, as one."""
    counts: dict[str, list[int]] = {}
    for reason in reasons:
        number, _, rest = reason.partition(" ")
        counts.setdefault(rest if number.isdigit() else reason, []).extend([int(number)] if number.isdigit() else [])
    spans = {rest: dict.fromkeys((min(found), max(found))) if found else {} for rest, found in counts.items()}
    return tuple(sorted(" ".join(filter(None, [" to ".join(map(str, span)), rest])) for rest, span in spans.items()))


def _line(kind: type[_Line], row: Mapping[str, Any]) -> _Line:
    return kind.model_validate({name: row[name] for name in kind.model_fields})
