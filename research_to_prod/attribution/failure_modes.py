"""The fourteen ways in which crypto strategies lose money that have names, and whether a window shows one.

Belongs here: the list, the three answers, and how losses gather in the windows of a mode. Doesn't: the rules
(``failure_mode_rules``), their thresholds (``failure_mode_policy``).

A mode says when something was going on, not that it caused a loss: that losses gather there more than elsewhere is a
number (`enrichment`), and still no proof.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from research_to_prod.attribution.failure_mode_policy import FailureModePolicy
from research_to_prod.attribution.failure_mode_rules import market, own, venue
from research_to_prod.attribution.failure_mode_rules.case import Case, Sight, Window, windows_of
from research_to_prod.market_data.series import Floats, Mask


class Answer(StrEnum):
    """Whether a mode was there. Absent takes that every rule of it had its inputs, for the whole window."""

    PRESENT = "present"
    ABSENT = "absent"
    UNKNOWN = "unknown"


Look = Callable[..., Sight]
"""One way to see a mode: the names of its arguments are the inputs of a `Case` that it needs."""


@dataclass(frozen=True)
class Mode:
    """A failure mode, named as its thresholds in the policy: any of its rules shows it.

    Parameters
    ----------
    shows_in
        Components of the P&L in which its loss is to be looked for.
    """

    name: str
    rules: tuple[Look, ...]
    shows_in: tuple[str, ...]


MODES: tuple[Mode, ...] = (
    Mode("volatility_shock", (market.volatility_shock,), ("timing",)),
    Mode("liquidity_vacuum", (market.liquidity_vacuum,), ("spread", "impact")),
    Mode("thin_hours", (own.thin_hours,), ("spread", "impact")),
    Mode("liquidation_cascade", (market.liquidation_cascade,), ("timing", "impact")),
    Mode("funding_squeeze", (market.funding_extreme, market.carry_loss), ("funding",)),
    Mode("trend_whipsaw", (own.trend_whipsaw,), ("edge",)),
    Mode("venue_outage", (venue.venue_silence, venue.venue_halt, venue.venue_rejects), ("missed_trades", "delay")),
    Mode("basis_blow_out", (market.basis_blow_out,), ("edge", "funding")),
    Mode("stablecoin_depeg", (market.stablecoin_depeg,), ("other",)),
    Mode("forced_position", (venue.forced_fills, venue.unexplained_position), ("other",)),
    Mode(
        "fat_finger",
        (own.far_through_the_touch, own.outsized_order, own.repeated_order, venue.off_target),
        ("impact",),
    ),
    Mode("fee_tier_change", (venue.fee_tier_change,), ("fees",)),
    Mode("maker_toxicity", (own.maker_toxicity,), ("adverse_selection",)),
    Mode("crowding", (own.decay_with_early_drift, own.decay_with_shorter_life), ("edge",)),
)
"""Every mode; the docstrings of its rules are its definition."""


@dataclass(frozen=True)
class Diagnosis:
    """The answer to one mode.

    Parameters
    ----------
    windows
        When it was present, within the window of the case.
    severity
        The worst value over its threshold; None where nothing was measured.
    evidence
        What was measured, by name.
    reason
        Why it is unknown; empty otherwise.
    """

    mode: str
    answer: Answer
    windows: tuple[Window, ...]
    severity: float | None
    evidence: Mapping[str, float]
    reason: str


def needs(look: Look) -> tuple[str, ...]:
    """Return the inputs of a `Case` that a rule needs."""
    return tuple(name for name in inspect.signature(look).parameters if name not in _GIVEN)


_GIVEN = {"window", "limits", "seen"}


def diagnose(case: Case, policy: FailureModePolicy, modes: Sequence[Mode] = MODES) -> tuple[Diagnosis, ...]:
    """Return the answer to each of the modes, in their order.

    A mode is present when one of its rules holds, whatever the others lack. It is unknown when none holds and one could
    not be applied or could not prove absence; ``reason`` lists why.
    """
    return tuple(_answer(mode, [_apply(look, mode, case, policy) for look in mode.rules]) for mode in modes)


def _apply(look: Look, mode: Mode, case: Case, policy: FailureModePolicy) -> Sight:
    given = {name: getattr(case, name) for name in needs(look)}
    if missing := [name for name, value in given.items() if value is None]:
        return Sight([], None, doubt=f"{look.__name__} needs {', '.join(missing)}")
    asked = inspect.signature(look).parameters
    context = {
        "window": (case.start, case.end),
        "limits": getattr(policy, mode.name),
        "seen": policy.common.seen.value,
    }
    return look(**{name: value for name, value in context.items() if name in asked}, **given)


def _answer(mode: Mode, sights: Sequence[Sight]) -> Diagnosis:
    spans = [span for sight in sights for span in sight.spans]
    doubts = [each.doubt for each in sights if each.doubt]
    answer = Answer.PRESENT if spans else Answer.UNKNOWN if doubts else Answer.ABSENT
    return Diagnosis(
        mode=mode.name,
        answer=answer,
        windows=windows_of(spans),
        severity=max((each.severity for each in sights if each.severity is not None), default=None),
        evidence={name: value for sight in sights for name, value in sight.evidence.items()},
        reason="; ".join(doubts) if answer is Answer.UNKNOWN else "",
    )


EXACT_UP_TO = 5000
"""Steps up to which all circular shifts are tried."""


@dataclass(frozen=True)
class Enrichment:
    """How losses gather in the windows of a mode.

    Parameters
    ----------
    loss_share, time_share
        Of the loss and of the time within them.
    p_value
        Share of circular shifts of the losses that gather there as much or more; 1 where the windows cover nothing or
        everything.
    shifts
        How many were compared, the one as it was included.
    """

    loss_share: float
    time_share: float
    p_value: float
    shifts: int

    @property
    def ratio(self) -> float:
        """Loss share over time share; NaN where no time is covered."""
        return self.loss_share / self.time_share if self.time_share > 0 else float("nan")


def enrichment(losses: Floats, flagged: Mask, *, seed: int, reps: int = 4999) -> Enrichment:
    """Return how much of the losses falls into flagged steps, and how often it would by accident of timing.

    Losses and windows both come in runs, so that single steps can't be shuffled. The series of losses is shifted
    against the windows instead, around its end, which keeps both kinds of runs: by all steps up to `EXACT_UP_TO` of
    them, else by ``reps`` random ones.

    Parameters
    ----------
    losses
        (n,) money lost in each of equal steps of time, within drawdowns; 0 outside of them.
    flagged
        (n,) steps in which the mode was present.

    Raises
    ------
    ValueError
        If lengths differ, or the losses are not finite or add up to nothing.
    """
    losses, n = np.asarray(losses, np.float64), len(losses)
    if len(flagged) != n or not np.isfinite(losses).all() or not losses.sum() > 0:
        raise ValueError(f"{n} finite losses that add up to more than 0, and {len(flagged)} flags, are needed to match")
    total, time_share = float(losses.sum()), float(np.mean(flagged))
    observed = float(losses[flagged].sum()) / total
    if time_share in {0.0, 1.0}:
        return Enrichment(observed, time_share, 1.0, 1)
    marked = np.flatnonzero(flagged)
    exact = n <= EXACT_UP_TO
    shifts = np.arange(n) if exact else np.random.default_rng(seed).integers(1, n, reps)
    shares = np.array([losses[(marked + shift) % n].sum() for shift in shifts]) / total
    # Sums in another order differ in their last bits; the unshifted one must count as a tie with itself.
    as_much = int(np.sum(shares >= observed - 1e-12))
    compared = n if exact else reps + 1
    return Enrichment(observed, time_share, (as_much if exact else as_much + 1) / compared, compared)
