"""The sample strategies on real bars, through the functions of the pipeline; writes the page with what came of it.

Files are read, judged and examined as the market data assets do it, then searched, validated and gated as those of the
candidates do. Belongs here: which markets and searches, and the page. Doesn't: anything that a desk would decide on.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import track

import research_to_prod
from benchmarks._tables import table
from research_to_prod.gates.evaluation import Gate, GateReport, evaluate
from research_to_prod.gates.evidence import gather_evidence
from research_to_prod.gates.policy import load_policy
from research_to_prod.gates.validation_statistics import assess_significance
from research_to_prod.market_data.examination import examine
from research_to_prod.market_data.findings import findings_table
from research_to_prod.market_data.ingest import Sources, fetch_funding, fetch_month
from research_to_prod.market_data.quality import profile
from research_to_prod.market_data.quality_policy import load_quality_policy
from research_to_prod.market_data.quarantine import split
from research_to_prod.market_data.series import read_series
from research_to_prod.market_data.universe import MarketSpec
from research_to_prod.research.bars import Bars, align_bars
from research_to_prod.research.candidate import Candidate, Window
from research_to_prod.research.costs import Costs
from research_to_prod.research.strategy import Strategy, load_strategy
from research_to_prod.research.trial_ledger import TrialLedger
from research_to_prod.research.trials import Experiment, backtest_candidate, run_trials
from research_to_prod.research.validation.measures import WHOLE, validation_table
from research_to_prod.research.validation.study import validate_candidate
from research_to_prod.values import Verdict, timeframe_length

DESK = Path(research_to_prod.__file__).parent / "desk"
PAGE = DESK.parent.parent / "docs" / "real_data.md"
AS_OF = datetime(2026, 6, 1, tzinfo=UTC)
"""After the last bar of every file."""
SPOT = Costs(taker_fee=0.001, half_spread=0.0001)
PERPETUAL = Costs(taker_fee=0.0005, half_spread=0.0001)

SEARCHES: dict[str, dict[str, tuple[Any, ...]]] = {
    "momentum": {"lookback_hours": (24, 48, 72, 96, 120, 168), "rebalance_hours": (12, 24, 48)},
    "breakout": {
        "entry_hours": (48, 96, 120, 168, 240),
        "exit_hours": (12, 24, 48),
        "sides": ("both", "long", "short"),
    },
    "mean_reversion": {
        "lookback_hours": (24, 48, 96, 168),
        "entry_z": (1.5, 2.0, 2.5, 3.0),
        "exit_z": (0.0, 0.5, 1.0),
    },
    "carry": {
        "lookback_hours": (72, 168, 336),
        "rebalance_hours": (8, 24, 72),
        "minimum_annual_rate": (0.0, 0.05, 0.1),
    },
}
"""Written down before the first run; never narrowed to what worked."""
FIXED: dict[str, dict[str, Any]] = {
    **{name: {"leverage": 0.5} for name in ("momentum", "breakout", "mean_reversion")},
    "carry": {"gross": 1.0},
}


@dataclass(frozen=True)
class Market:
    """One universe on one venue, its files and its window.

    Parameters
    ----------
    files
        By symbol: the candle file and the funding file, if any, both relative to the folder of data.
    """

    venue: str
    files: dict[str, tuple[str, str | None]]
    start: date
    end: date
    costs: Costs
    strategies: tuple[str, ...] = ("momentum", "breakout", "mean_reversion")

    @property
    def what(self) -> str:
        """Venue, universe and months."""
        months = self.window.months
        return f"{self.venue} {' and '.join(self.files)}, {months[0]} to {months[-1]}"

    @property
    def window(self) -> Window:
        """The whole months that are studied."""
        return Window(start=self.start, end=self.end)

    @cached_property
    def specs(self) -> tuple[MarketSpec, ...]:
        """Its lines of ``universe.yaml``."""
        window = self.window
        return tuple(
            MarketSpec.model_validate(
                {
                    "venue": self.venue,
                    "symbol": symbol,
                    "timeframe": "1h",
                    "since": window.start_at,
                    "until": window.end_at,
                    "source": {"files": candles},
                    "funding": {"files": funding} if funding else False,
                }
            )
            for symbol, (candles, funding) in self.files.items()
        )


def _spot(venue: str, symbol: str, file: str, start: date, end: date) -> Market:
    return Market(venue, {symbol: (file, None)}, start, end, SPOT)


def _perpetual(venue: str, start: date) -> Market:
    stem = f"{venue}__BTC-USDT_USDT__"
    files = (f"candles/{stem}1h__2025-03_2026-03.parquet", f"funding/{stem}2025-03_2026-03.parquet")
    return Market(venue, {"BTC/USDT:USDT": files}, start, date(2026, 3, 1), PERPETUAL)


FIVE_MINUTES = "candles/binance__BTC-USDT_USDT__5m__2023-01_2024-05.parquet"
HOURLY = "candles/hourly.parquet"
"""What `gather_hours` makes of `FIVE_MINUTES`."""
BTC = "candles/binance__BTC-USDT__1h.parquet"
MARKETS = (
    _spot("binance", "BTC/USDT", BTC, date(2017, 9, 1), date(2024, 4, 1)),
    _spot("bitstamp", "BTC/USD", "candles/bitstamp__BTC-USD__1h.parquet", date(2018, 6, 1), date(2022, 3, 1)),
    _spot("binance", "ETH/USDT", "candles/binance__ETH-USDT__1h__2023.parquet", date(2023, 1, 1), date(2024, 1, 1)),
    _spot(
        "kraken",
        "BTC/USDT",
        "candles/kraken__BTC-USDT__1h__2023-03_2024-03.parquet",
        date(2023, 4, 1),
        date(2024, 3, 1),
    ),
    _perpetual("binance", date(2025, 4, 1)),
    _perpetual("bybit", date(2025, 4, 1)),
    _perpetual("okx", date(2026, 1, 1)),
    Market(
        "binance",
        {
            "BTC/USDT": (BTC, None),
            "BTC/USDT:USDT": (HOURLY, "funding/binance__BTC-USDT_USDT__2023-01_2024-05.parquet"),
        },
        date(2023, 1, 1),
        date(2024, 4, 1),
        SPOT,
        ("carry",),
    ),
)


@dataclass(frozen=True)
class History:
    """What the market data assets hold of a market's window."""

    bars: Bars
    quality: pa.Table
    findings: pa.Table


def read_history(market: Market, folder: Path) -> History:
    """Fetch, judge and examine the window month by month, and align it."""
    sources, policy = Sources(folder=folder), load_quality_policy(DESK / "policies" / "market_quality.yaml")
    candles, funding, quality, findings = [], [], [], []
    for month in market.window.months:
        fetched = fetch_month(market.specs, month, sources, AS_OF)
        paid = fetch_funding(market.specs, month, sources, AS_OF)
        if failed := (*fetched.failures, *paid.failures):
            raise ValueError("; ".join(each.error for each in failed))
        judged = split(fetched.rows)
        series = read_series(judged.accepted, market.specs, month, AS_OF)
        quality.append(profile(series, judged.rejected, month, fetched.certificates, policy))
        found = examine(series, fetched.rows, judged.rejected, month, AS_OF, fetched.certificates, policy)
        findings.append(findings_table(found, month))
        candles.append(judged.accepted)
        funding.append(paid.rows)
    window = market.window
    bars = align_bars(
        pa.concat_tables(candles), pa.concat_tables(funding), list(market.files), window.start_at, window.end_at,
        timeframe_length("1h"),
    )  # fmt: skip
    return History(bars, pa.concat_tables(quality), pa.concat_tables(findings))


def gather_hours(folder: Path, into: Path) -> None:
    """Copy the files of `MARKETS` from one folder into another, with the hourly bars of `FIVE_MINUTES` among them."""
    named = {file for market in MARKETS for pair in market.files.values() for file in pair if file}
    for file in sorted(named - {HOURLY}):
        (into / file).parent.mkdir(exist_ok=True)
        shutil.copyfile(folder / file, into / file)
    bars = pq.read_table(folder / FIVE_MINUTES).to_pandas().sort_values("ts")
    fields = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    hours = bars.groupby(bars["ts"].dt.floor("h")).agg(fields).reset_index()
    hours.insert(0, "venue", "binance")
    hours.insert(1, "symbol", "BTC/USDT:USDT")
    hours.insert(2, "timeframe", "1h")
    pq.write_table(pa.Table.from_pandas(hours, preserve_index=False), into / HOURLY)


@dataclass(frozen=True)
class Result:
    """What came of one strategy on one market.

    Parameters
    ----------
    figures
        The studies' figures as wholes, by study and metric.
    """

    market: Market
    strategy: str
    chosen: dict[str, Any]
    trials: int
    sharpe: float
    figures: dict[tuple[str, str], float | None]
    report: GateReport

    def value(self, gate: str) -> float | None:
        """Return what a gate measured."""
        return next(each.value for each in self.report.gates if each.gate == gate)

    @property
    def refusals(self) -> list[Gate]:
        """The gates that refuse, those that fail before those that can't tell."""
        gates = [each for each in self.report.gates if each.gating and each.verdict is not Verdict.PASS]
        return sorted(gates, key=lambda each: each.verdict is not Verdict.FAIL)


def candidate_of(market: Market, strategy: Strategy, parameters: dict[str, Any]) -> Candidate:
    return Candidate(
        name=f"real_{strategy.name}",
        owner="team:research",
        hypothesis="A sample strategy of the desk on real bars; nobody proposes it, the question is what gates say.",
        strategy=strategy.name,
        type=strategy.type,
        venue=market.venue,
        universe=tuple(market.files),
        timeframe="1h",
        window=market.window,
        parameters={**FIXED[strategy.name], **parameters},
        search_space=SEARCHES[strategy.name],
        capital=Decimal(250_000),
        costs=market.costs,
        strategy_sha256=strategy.source_sha256,
    )


def study(market: Market, history: History, name: str, ledger: TrialLedger) -> Result:
    """Search, propose the best trial in sample, and hold it against the shipped policy."""
    strategy = load_strategy(DESK / "strategies", name)
    search = candidate_of(market, strategy, {each: values[0] for each, values in SEARCHES[name].items()})
    asked: dict[str, Any] = {"run_id": "real_data", "recorded_at": AS_OF}
    trials = run_trials(search, strategy, history.bars, ledger, **asked)
    best = max(trials.to_pylist(), key=lambda each: -np.inf if each["sharpe_daily"] is None else each["sharpe_daily"])
    chosen = {each: json.loads(best["parameters"])[each] for each in SEARCHES[name]}
    candidate = candidate_of(market, strategy, chosen)
    studied = validate_candidate(Experiment(candidate, strategy, history.bars, ledger, **asked), trials)
    significance = assess_significance(studied.returns, studied.own, candidate.sha256)
    rows = validation_table(candidate.name, [*studied.measures, *significance])
    figures = {(each["study"], each["metric"]): each["value"] for each in rows.to_pylist() if each["item"] == WHOLE}
    backtest = backtest_candidate(candidate, strategy, history.bars, ledger, **asked)
    counted = ledger.trials(name, candidate.universe)
    evidence = gather_evidence(
        candidate, strategy, history.quality, history.findings, backtest, counted,
        validation=rows, bars=history.bars, book=(),
    )  # fmt: skip
    report = evaluate(load_policy(DESK / "policies" / "research_to_paper.yaml"), evidence)
    return Result(market, name, chosen, len(counted), best["sharpe_annual"] or float("nan"), figures, report)


def results(folder: Path, markets: Sequence[Market]) -> Iterator[Result]:
    """Yield what comes of each strategy on each market; one trial ledger counts them all."""
    with tempfile.TemporaryDirectory() as made:
        gather_hours(folder, Path(made))
        ledger = TrialLedger(Path(made) / "trials.jsonl")
        for market in track(markets, "markets"):
            history = read_history(market, Path(made))
            for name in market.strategies:
                yield study(market, history, name, ledger)


SETTING = """\
The desk's four sample strategies on real bars, each with a search that was written down before the first run and \
never narrowed to what worked. Files are read, judged and examined month by month as the market data assets do it; \
every parameter set goes to one trial ledger; the best one in sample is proposed, validated, and held against the \
shipped policy.

- **Costs**: spot pays a 10 bp taker fee and 1 bp half-spread a trade, perpetuals 5 bp and 1 bp (a base tier, from \
memory; a desk puts its own), no impact; funding as it was paid. The capital is 250,000 USDT or USD; gross exposure \
is 0.5 of equity, 1.0 for both legs of the carry.
- **Trials** counts what the ledger holds of the strategy on that universe: the search, the neighbours that \
validation tries, and the same universe's trials on other venues, so a later row counts more than an earlier one.
- **Walk forward** is the rolling one: parameters chosen before each block of days, followed through it. Efficiency \
is the gain out of sample over that in sample; it has no value where nothing was gained in sample. A dash is a \
figure that could not be computed."""
PROVENANCE = """\
Hourly bars and funding payments as venues published them, in the form in which users of open-source trading \
programs and a university project saved them: Binance spot from August 2017 to April 2024 and Ether in 2023; \
Bitstamp from May 2018 to March 2022; Kraken from March 2023 to March 2024; perpetuals of Binance and Bybit from \
March 2025 to March 2026 and of OKX from December 2025, with their funding. For the carry, Binance's five-minute \
bars of the perpetual from 2023 are gathered into hours (first, highest, lowest, last, sum). Only whole months are \
used. The data is not part of this project; nothing in it was cleaned, and its gaps and errors are what the gates of \
data quality speak of."""
LIMITS = """\
- Everybody knows what bitcoin did in these years. The searches are ordinary ones, but nobody who wrote them was \
ignorant of the sample, so no figure here is out of sample in the strict sense.
- Short windows refuse everything, good or bad: the policy concludes nothing from less than a year.
- The rows are not independent. Bitcoin on six venues and windows is nearly one market.
- A carry's risks are those that bars don't show: a venue that fails, a short leg liquidated while its hedge sits \
elsewhere, funding that turns when everybody leaves. A high Sharpe ratio over a year without such an event says \
little about them."""


def page(found: Sequence[Result]) -> str:
    """Return the page in Markdown."""
    passing = [each for each in found if each.report.verdict is Verdict.PASS]
    named = "; ".join(f"{each.strategy} on {each.market.what}" for each in passing) or "none"
    refused = Counter(gate.gate for each in found for gate in each.refusals)
    gates = [
        [f"`{gate}`", str(len(found) - refused[gate]), str(refused[gate])]
        for gate in sorted(each.gate for each in found[0].report.gates if each.gating)
    ]
    parts = [
        "# The sample strategies on real data",
        "Made by `python -m benchmarks.real_data --data FOLDER`, whatever it says; nothing is edited by hand.",
        SETTING,
        "## What passes",
        f"{len(passing)} of {len(found)} pass all gates of the policy: {named}.",
        _outcomes(found),
        "## Why the others don't",
        table(["strategy", "market", "first reason", "gates that refuse"], [_reasons(each) for each in found]),
        "## Gate by gate",
        table(["gate", "pass", "refused or can't tell"], gates),
        "## What this can't say",
        LIMITS,
        "## Where the data is from",
        PROVENANCE,
        f"Policy SHA-256 `{found[0].report.policy_sha256}`.",
    ]
    return "\n\n".join(parts) + "\n"


def _outcomes(found: Sequence[Result]) -> str:
    figures = {
        "out of sample": ("walk_forward_rolling", "oos_sharpe"),
        "efficiency": ("walk_forward_rolling", "efficiency"),
        "PBO": ("overfitting", "pbo"),
        "SPA p": ("selection", "spa_consistent"),
    }
    head = ["strategy", "market", "trials", "best Sharpe in sample", *figures, "DSR", "drawdown", "verdict"]
    rows = [
        [
            each.strategy,
            each.market.what,
            str(each.trials),
            _shown(each.sharpe),
            *(_shown(each.figures.get(key)) for key in figures.values()),
            _shown(each.value("deflated_sharpe_ratio")),
            _shown(each.value("maximum_drawdown")),
            each.report.verdict.value,
        ]
        for each in found
    ]
    return table(head, rows)


def _reasons(result: Result) -> list[str]:
    first = f"`{result.refusals[0].gate}`: {result.refusals[0].reason}" if result.refusals else "passes"
    return [result.strategy, result.market.what, first, str(len(result.refusals))]


def _shown(value: float | None) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{value:.2f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with candles/ and funding/")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write")
    given = parser.parse_args()
    given.page.write_text(page(list(results(given.data, MARKETS))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
