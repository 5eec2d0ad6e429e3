"""What a study of a candidate reads from the lake, with the exact versions."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow.compute as pc

from research_to_prod.lake import Lake, Reader, Snapshot
from research_to_prod.market_data.certificates import certificates_from, covered_until
from research_to_prod.research.bars import Bars, align_bars
from research_to_prod.research.candidate import Candidate
from research_to_prod.research.candidate_table import candidate_from_table, strategy_from_table
from research_to_prod.research.strategy import Strategy
from research_to_prod.settings import Settings
from research_to_prod.values import sha256_hex, timeframe_length


@dataclass(frozen=True)
class Study:
    """A candidate, its strategy, its bars over its window, and the snapshots that these came from."""

    candidate: Candidate
    strategy: Strategy
    bars: Bars
    read: tuple[Snapshot, ...]


def read_candidate(lake: Reader, name: str) -> tuple[Candidate, Strategy, Snapshot]:
    """Read the materialized candidate, with its strategy as it was when the candidate was materialized."""
    snapshot = lake.read("candidate", name)
    return candidate_from_table(snapshot.rows), strategy_from_table(snapshot.rows), snapshot


def require_unchanged(settings: Settings, candidate: Candidate) -> None:
    """Refuse to go on with a candidate whose strategy's file is not any more what was materialized.

    Raises
    ------
    ValueError
        If it was changed or taken away: the candidate must be materialized again.
    """
    path = settings.desk / "strategies" / f"{candidate.strategy}.py"
    if not path.exists() or sha256_hex(path.read_bytes()) != candidate.strategy_sha256:
        raise ValueError(
            f"strategy {candidate.strategy} was changed after candidate {candidate.name} was materialized; "
            "materialize candidate again"
        )


def read_study(lake: Lake, settings: Settings, name: str) -> Study:
    """Read all that a backtest of the candidate needs.

    Raises
    ------
    LakeError
        If a month of its window was never materialized.
    ValueError
        If it trades a perpetual whose funding is not known for the whole window, or its strategy changed since.
    """
    study = read_bars(lake, name)
    require_unchanged(settings, study.candidate)
    require_funding(lake, study.candidate)
    return study


def read_bars(lake: Reader, name: str) -> Study:
    """Read the candidate and its bars, for those who judge a backtest that was made of them.

    Raises
    ------
    LakeError
        If a month of its window was never materialized.
    """
    candidate, strategy, recorded = read_candidate(lake, name)
    months = candidate.window.months
    candles, funding = lake.read("candles", months), lake.read("funding_rates", months)
    bars = align_bars(
        candles.rows.filter(
            pc.and_(
                pc.equal(candles.rows["venue"], candidate.venue),
                pc.equal(candles.rows["timeframe"], candidate.timeframe),
            )
        ),
        funding.rows.filter(pc.equal(funding.rows["venue"], candidate.venue)),
        candidate.universe,
        candidate.window.start_at,
        candidate.window.end_at,
        timeframe_length(candidate.timeframe),
    )
    return Study(candidate, strategy, bars, (recorded, candles, funding))


def require_funding(lake: Lake, candidate: Candidate) -> None:
    """Refuse a window in which the funding of a perpetual is not certified: an absent payment would look like none.

    Raises
    ------
    ValueError
        Naming each perpetual and the time from which its funding is unknown.
    """
    perpetuals = [symbol for symbol in candidate.universe if ":" in symbol]
    if not perpetuals:
        return
    keys = [f"funding_rates-{month}" for month in candidate.window.months]
    certificates = certificates_from(lake.read("fetch_certificates", keys).rows)
    start, end = candidate.window.start_at, candidate.window.end_at
    known = {symbol: covered_until(certificates, candidate.venue, symbol, start) for symbol in perpetuals}
    short = [f"{symbol} from {reach:%Y-%m-%dT%H:%MZ} on" for symbol, reach in known.items() if reach < end]
    if short:
        raise ValueError(
            f"the funding of {', '.join(short)} is not known: no complete fetch covers it; materialize funding_rates "
            "of that month again, or shorten the candidate's window"
        )
