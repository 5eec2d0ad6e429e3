"""What a rule knows: one month of one market, and the other markets of that month.

Belongs here: the input of the rules, and how a finding is made from it. Doesn't: any rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from research_to_prod.market_data.findings import Finding, Level
from research_to_prod.market_data.quality_policy import Limit, QualityPolicy
from research_to_prod.market_data.series import Bars, Integers, Mask, Series, instant


@dataclass(frozen=True)
class Cost:
    """What it costs to use the data anyway, and what would settle the finding."""

    cost: str
    remedy: str


@dataclass(frozen=True, eq=False)
class Case:
    """One market-month as a rule sees it.

    Parameters
    ----------
    raw
        Its rows as delivered, in the order of delivery within each fetch, one fetch after the other.
    fetch
        (len(raw),) number of the fetch that delivered each row.
    known_until
        (len(raw),) the venue's clock at the end of that fetch, or the time of the fetch where the venue has none.
    refused
        Opens of the rows in quarantine, by the rule of the contract that they broke, in order.
    uncovered
        (expected,) whether no complete fetch covers the bar.
    others
        The other series of the month.
    """

    series: Series
    month: str
    policy: QualityPolicy
    raw: Bars
    fetch: Integers
    known_until: Integers
    refused: Mapping[str, Integers]
    uncovered: Mask
    others: tuple[Series, ...] = field(default=())

    @property
    def bars(self) -> Bars:
        """The validated bars."""
        return self.series.bars

    @cached_property
    def absent(self) -> Mask:
        """(expected,) whether no row of the bar was delivered; a bar that was refused is missing, not absent."""
        absent = self.series.missing.copy()
        slots = (self.raw.ts - self.series.first) // self.series.length
        absent[slots[(slots >= 0) & (slots < len(absent))]] = False
        return absent

    @cached_property
    def siblings(self) -> tuple[Series, ...]:
        """Other series of the same venue, of any timeframe, that traded in the month."""
        return tuple(each for each in self.others if each.market.venue == self.series.market.venue and len(each.bars))

    @cached_property
    def peers(self) -> tuple[Series, ...]:
        """Series of the same asset and timeframe elsewhere or in another form (spot against perpetual, USD, USDT)."""
        return tuple(each for each in self._alike if each.base == self.series.base and len(each.bars))

    @cached_property
    def _alike(self) -> tuple[Series, ...]:
        return tuple(each for each in self.others if each.length == self.series.length)

    def finding(
        self,
        rule: str,
        level: Level,
        span: tuple[int, int],
        rows: int,
        value: float,
        limit: Limit,
        what: str,
        why: Cost,
        *,
        confidence: float = 1.0,
        against: str = "",
    ) -> Finding:
        """Return a finding on the bars that open from ``span[0]`` to ``span[1]`` (microseconds, both inclusive)."""
        market = self.series.market
        return Finding(
            venue=market.venue,
            symbol=market.symbol,
            timeframe=market.timeframe,
            month=self.month,
            rule=rule,
            level=level,
            against=against,
            first_at=instant(span[0]),
            last_at=instant(span[1]),
            rows=int(rows),
            value=float(value),
            threshold=limit.value,
            unit=limit.unit,
            confidence=confidence,
            what=what,
            cost=why.cost,
            remedy=why.remedy,
        )


def moment(ts: int | np.integer) -> str:
    """Return microseconds since 1970 as people write a bar's open, such as ``2018-02-08T01:00Z``."""
    return f"{instant(ts):%Y-%m-%dT%H:%MZ}"


def named(ts: Integers, limit: int = 3) -> str:
    """Return the first opens of ``ts`` in words, and how many more there are."""
    text = ", ".join(moment(each) for each in ts[:limit])
    return f"{text} and {len(ts) - limit} more" if len(ts) > limit else text
