"""The gates on risk: what the candidate may lose, alone and within the book, against the capital allocation.

Belongs here: the family risk. Doesn't: the limits (``capital``), formulas (``statistics.risk``).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtri

from research_to_prod.gates import statistics
from research_to_prod.gates.capital import CapitalAllocation
from research_to_prod.gates.evidence import BookStrategy, Evidence
from research_to_prod.gates.families import Event, Family, Risk
from research_to_prod.gates.gate import Gate, judge
from research_to_prod.gates.holdings import Holdings
from research_to_prod.gates.significance import moments_of
from research_to_prod.research.bars import Floats
from research_to_prod.research.metrics import DAYS_A_YEAR, annualised_sharpe_ratio, max_drawdown, sharpe_ratio
from research_to_prod.values import digest

_RESAMPLES = 5000
_SMALLER = "less leverage, less capital, or a strategy that loses less in a row"


def risk_gates(rules: Risk, allocation: CapitalAllocation, evidence: Evidence) -> list[Gate]:
    """Return the gates of the family."""
    limit = allocation.types[evidence.strategy_type].drawdown_limit.value
    return [
        *_drawdowns(rules, limit, evidence),
        *_shortfalls(rules, allocation, evidence),
        *_sizes(allocation, evidence),
        *_concentration(allocation, evidence),
        *_liquidity(rules, evidence),
        _liquidation(rules, evidence),
        *_shocks(rules, limit, evidence),
        *(_event(event, limit, evidence) for event in rules.events),
        _book_correlation(rules, evidence),
    ]


def _gate(
    name: str, value: float | None, comparison: str, threshold: float, evidence: Evidence, what: str, *,
    problem: str = "", remedy: str = _SMALLER, gating: bool = True,
) -> Gate:  # fmt: skip
    return judge(
        name, Family.RISK, value, comparison, threshold, samples=len(evidence.daily_returns), what=what,
        problem=problem, remedy=remedy, gating=gating,
    )  # fmt: skip


def _drawdowns(rules: Risk, limit: float, evidence: Evidence) -> list[Gate]:
    known = evidence.max_drawdown is not None and evidence.max_drawdown >= 0
    year = rules.drawdown_confidence.value
    value, problem = _resampled_drawdown(evidence, year)
    return [
        _gate(
            "maximum_drawdown", evidence.max_drawdown, "<=", limit, evidence, "largest fall of equity from a peak",
            problem="" if known else "it was not backtested over the whole window",
        ),
        _gate(
            "resampled_drawdown", value, "<=", limit, evidence,
            f"{year:.0%} quantile of the largest fall within a resampled year", problem=problem,
        ),
    ]  # fmt: skip


def _resampled_drawdown(evidence: Evidence, confidence: float) -> tuple[float | None, str]:
    returns = evidence.daily_returns
    if len(returns) < DAYS_A_YEAR:
        return None, f"{len(returns)} daily returns don't hold a year to resample"
    if problem := moments_of(returns)[1]:
        return None, problem
    falls = statistics.resampled_drawdowns(
        returns, DAYS_A_YEAR, reps=_RESAMPLES, seed=int(digest([evidence.candidate, "resampled_drawdown"])[:16], 16)
    )
    return float(np.quantile(falls, confidence)), ""


def _shortfalls(rules: Risk, allocation: CapitalAllocation, evidence: Evidence) -> list[Gate]:
    """Judge the candidate's own tail against its type's budget, and the type's share of the book's tail with it."""
    capital, level = evidence.capital, allocation.expected_shortfall_level.value
    budget = allocation.types[evidence.strategy_type].risk_budget.value * allocation.expected_shortfall_limit.value
    own = _own_shortfall(evidence, level)
    share = None if own is None or capital is None else own * capital / allocation.book_capital.value
    component, problem = None, "the live book is not known"
    if evidence.book is not None and capital is not None and _dated(evidence):
        table, types = _book_returns(evidence, evidence.book, capital)
        if table.shape[1] <= len(table):
            parts = statistics.component_expected_shortfall(table, level)
            component = float(parts[[each is evidence.strategy_type for each in types]].sum())
            component /= allocation.book_capital.value
        problem = "" if component is not None else "it has too few days in common with the live book"
    return [
        _gate(
            "expected_shortfall", share, "<=", budget / allocation.diversification_ratio.value, evidence,
            f"{level:.1%} expected shortfall of a day over the book's capital",
        ),
        _gate(
            "component_expected_shortfall", component, "<=", rules.component_shortfall.value * budget, evidence,
            f"part of its type in the book's {level:.1%} expected shortfall, over the book's capital", problem=problem,
        ),
    ]  # fmt: skip


def _own_shortfall(evidence: Evidence, level: float) -> float | None:
    found = statistics.expected_shortfall(evidence.daily_returns, level) if len(evidence.daily_returns) else math.nan
    return found if math.isfinite(found) else None


def _book_returns(evidence: Evidence, book: tuple[BookStrategy, ...], capital: float) -> tuple[Floats, list[object]]:
    """Return (D, 1 + k) money made on the common days, the candidate first, and the type of each column."""
    others = sorted(book, key=lambda each: each.candidate)
    days = evidence.days
    for each in others:
        days = np.intersect1d(days, each.days)
    series = [(evidence.days, evidence.daily_returns * capital)]
    series += [(each.days, each.daily_returns * each.capital) for each in others]
    columns = [values[np.isin(dates, days)] for dates, values in series]
    return np.column_stack(columns), [evidence.strategy_type, *(each.strategy_type for each in others)]


def _sizes(allocation: CapitalAllocation, evidence: Evidence) -> list[Gate]:
    part = allocation.types[evidence.strategy_type]
    moments, problem = moments_of(evidence.daily_returns)
    volatility = kelly = None
    if moments and evidence.capital is not None:
        returns = evidence.daily_returns
        deviation = float(np.std(returns, ddof=1))
        volatility = deviation * math.sqrt(DAYS_A_YEAR) * evidence.capital / allocation.book_capital.value
        lower = float(np.mean(returns)) - float(ndtri(0.95)) * deviation / math.sqrt(len(returns))
        kelly = statistics.fractional_kelly_cap(lower, deviation**2, allocation.kelly_fraction.value)
    held = evidence.holdings
    gross = None if held is None or not len(held.gross) else float(np.max(held.gross))
    # Independent parts of variance b_i x sigma^2 add up to the target.
    target = math.sqrt(part.risk_budget.value) * allocation.target_volatility.value
    return [
        _gate(
            "volatility", volatility, "<=", target, evidence, "annual volatility over the book's capital",
            problem=problem,
        ),
        _gate(
            "kelly_cap", kelly, ">=", 1.0, evidence,
            f"{allocation.kelly_fraction.value:g} of Kelly's size at the lower 95 % bound of the mean, "
            "as a multiple of the size asked for,",
            problem=problem,
        ),
        _gate(
            "gross_leverage", gross, "<=", part.gross_leverage.value, evidence,
            "largest gross exposure as a multiple of equity", problem=_unheld(held),
        ),
    ]  # fmt: skip


def _concentration(allocation: CapitalAllocation, evidence: Evidence) -> list[Gate]:
    held, book, capital = evidence.holdings, evidence.book, evidence.capital
    asset = venue = None
    unknown = [what for what, known in (("the live book", book), ("the capital asked for", capital)) if known is None]
    worst, problem = "", _unheld(held) or "".join(f"{what} is not known" for what in unknown[:1])
    if held is not None and book is not None and capital is not None:
        own = {name: capital * exposure for name, exposure in held.largest_by_asset().items()}
        totals = {name: money + math.fsum(each.exposure.get(name, 0.0) for each in book) for name, money in own.items()}
        worst = max(sorted(totals), key=lambda name: totals[name])
        asset = totals[worst] / allocation.book_capital.value
        at_venue = math.fsum(each.capital for each in book if each.venue == evidence.venue)
        venue = (capital + at_venue) / allocation.book_capital.value
    return [
        _gate(
            "asset_concentration", asset, "<=", allocation.asset_cap.value, evidence,
            f"gross exposure of the book in {worst} with it, over the book's capital,", problem=problem,
        ),
        _gate(
            "venue_concentration", venue, "<=", allocation.venue_cap.value, evidence,
            "capital of the book at its venue with it, over the book's capital,", problem=problem,
        ),
    ]  # fmt: skip


def _liquidity(rules: Risk, evidence: Evidence) -> list[Gate]:
    held, capital = evidence.holdings, evidence.capital
    share = None
    if held is not None and capital is not None and len(held.weights) and len(held.daily_volume):
        volume = np.median(held.daily_volume, axis=0)
        if (volume > 0).all():
            share = float(np.max(capital * np.max(np.abs(held.weights), axis=0) / volume))
    exit_days = None if share is None else share / rules.exit_participation.value
    problem = "" if share is not None else "its positions or its markets' volumes are not known"
    return [
        _gate(
            "participation", share, "<=", rules.participation.value, evidence,
            "largest position as a share of a median day's volume", problem=problem,
        ),
        _gate(
            "days_to_exit", exit_days, "<=", rules.days_to_exit.value, evidence,
            f"days to leave the largest position at {rules.exit_participation.value:.0%} of the volume",
            problem=problem,
        ),
    ]  # fmt: skip


def _liquidation(rules: Risk, evidence: Evidence) -> Gate:
    """Judge how many bad days the equity above the maintenance margin bears, at the largest position."""
    held, shortfall = evidence.holdings, _own_shortfall(evidence, 0.99)
    value = None
    if held is not None and shortfall is not None and shortfall > 0 and len(held.weights):
        margin = float(np.max((np.abs(held.weights) * held.maintenance_margin).sum(axis=1)))
        value = (1 - margin) / shortfall
    return _gate(
        "liquidation_distance", value, ">=", rules.liquidation_distance.value, evidence,
        "loss that leads to liquidation, as a multiple of the 99 % expected shortfall of a day,",
        problem=_unheld(held),
    )  # fmt: skip


def _shocks(rules: Risk, limit: float, evidence: Evidence) -> list[Gate]:
    """Replay shocks on the largest positions held: a desk that sizes for the usual one meets the shock at the other."""
    held, shock, flip = evidence.holdings, rules.market_shock.value, rules.funding_shock
    losses: dict[str, float | None] = dict.fromkeys(("market_fall", "market_rise", "funding_flip", "venue_halt"))
    if held is not None and len(held.weights):
        net = held.weights.sum(axis=1)
        losses = {
            "market_fall": shock * max(0.0, float(np.max(net))),
            "market_rise": shock * max(0.0, float(np.max(-net))),
            "funding_flip": flip.value * flip.days * float(np.max(np.abs(held.weights[:, held.perpetual]).sum(axis=1))),
            "venue_halt": _halted(held, int(rules.halt_hours.value)),
        }
    what = {
        "market_fall": f"loss in a fall of every market by {shock:.0%}",
        "market_rise": f"loss in a rise of every market by {shock:.0%}",
        "funding_flip": f"loss to funding of {flip.value:.1%} a day for {flip.days} days",
        "venue_halt": f"worst loss of the window on positions frozen for {rules.halt_hours.value:g} hours",
    }
    return [
        _gate(f"stress_{name}", loss, "<=", limit, evidence, what[name], problem=_unheld(held))
        for name, loss in losses.items()
    ]


def _halted(held: Holdings, hours: int) -> float | None:
    steps = round(held.bars_a_day * hours / 24) if math.isfinite(held.bars_a_day) else 0
    if not 0 < steps < len(held.closes):
        return None
    before, frozen = held.closes[:-steps], held.weights[:-steps]
    moves = np.divide(held.closes[steps:], before, out=np.ones(before.shape), where=frozen != 0) - 1
    return max(0.0, float(np.max(-(frozen * moves).sum(axis=1))))


def _event(event: Event, limit: float, evidence: Evidence) -> Gate:
    """Report the fall of equity over a dated event where the window covers it; it never gates, so the rest must."""
    first, last = (np.datetime64(each.isoformat(), "D") for each in (event.first, event.last))
    chosen = (evidence.days >= first) & (evidence.days <= last)
    whole = _dated(evidence) and int(chosen.sum()) == (event.last - event.first).days + 1
    returns = evidence.daily_returns[chosen] if whole else np.empty(0)
    loss = max_drawdown(np.asarray(np.cumprod(1 + returns), dtype=np.float64), 1.0) if whole else None
    return _gate(
        f"event_{event.name}", loss, "<=", limit, evidence, f"fall of equity from {event.first} to {event.last}",
        problem="" if whole else f"the window does not cover {event.first} to {event.last}", gating=False,
    )  # fmt: skip


def _book_correlation(rules: Risk, evidence: Evidence) -> Gate:
    """Judge whether it adds to the book: its Sharpe ratio exceeds the book's times the correlation's upper bound."""
    value, problem, what = None, "the live book is not known", "annual Sharpe ratio beyond what the live book has"
    moments, broken = moments_of(evidence.daily_returns)
    if moments and evidence.book is not None and evidence.capital is not None and _dated(evidence):
        value, problem = annualised_sharpe_ratio(moments.sharpe), ""
        if evidence.book:
            table, _ = _book_returns(evidence, evidence.book, evidence.capital)
            own, book = table[:, 0], table[:, 1:].sum(axis=1)
            n, sharpe = len(table), sharpe_ratio(book) if len(table) else math.nan
            if n > 30 and math.isfinite(sharpe):
                edge = math.nextafter(1, 0)
                rho = float(np.clip(np.corrcoef(own, book)[0, 1], -edge, edge))
                upper = math.tanh(math.atanh(rho) + float(ndtri(rules.book_confidence.value)) / math.sqrt(n - 3))
                value -= upper * annualised_sharpe_ratio(sharpe)
                what = f"{what} (correlation {rho:.2f}, at most {upper:.2f})"
            else:
                value, problem = None, "it has too few days in common with the live book, or that doesn't vary"
    return _gate("book_correlation", value, ">", 0.0, evidence, what, problem=problem or broken)


def _dated(evidence: Evidence) -> bool:
    return len(evidence.days) == len(evidence.daily_returns) > 0


def _unheld(held: Holdings | None) -> str:
    return "" if held is not None and len(held.weights) else "its positions are not known"
