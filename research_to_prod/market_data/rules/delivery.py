"""How the rows arrived: their order, repetitions, grid, and whether they could have been known.

Belongs here: rules about rows as delivered. Doesn't: what their values say (``values``), what is absent (``gaps``).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from research_to_prod.market_data.findings import Finding, Level
from research_to_prod.market_data.quarantine import CONFLICTING_DUPLICATE, DUPLICATE
from research_to_prod.market_data.rules.case import Case, Cost, moment, named


def newest_first(case: Case) -> Iterator[Finding]:
    """At least ``newest_first`` of the steps from row to row of a fetch go back in time: the source lists newest first.

    A warning: the lake sorts its bars, but whoever reads the source in its order trades backwards in time.
    """
    back, steps = _steps_back(case)
    if steps and back.sum() / steps >= case.policy.delivery.newest_first.value:
        yield case.finding(
            "newest_first",
            Level.WARNING,
            (case.raw.ts.min(), case.raw.ts.max()),
            len(case.raw),
            back.sum() / steps,
            case.policy.delivery.newest_first,
            f"{back.sum()} of {steps} steps go back in time",
            Cost(
                "None in the lake, which sorts. Read in file order, every signal sees the future.",
                "Read it through the lake only, or turn the file round.",
            ),
        )


def out_of_order(case: Case) -> Iterator[Finding]:
    """Rows earlier than the row before them in the same fetch, in a source that isn't newest first.

    A warning: the lake sorts, but rows that arrive late were not there for whoever read the source before.
    """
    back, steps = _steps_back(case)
    if back.any() and back.sum() / steps < case.policy.delivery.newest_first.value:
        late = case.raw.ts[1:][back]
        yield case.finding(
            "out_of_order",
            Level.WARNING,
            (late.min(), late.max()),
            back.sum(),
            back.sum(),
            case.policy.delivery.single_row,
            f"{back.sum()} rows are earlier than the row before them: {named(late)}",
            Cost(
                "None in the lake, which sorts. A reader that stops at the first later row loses these.",
                "Ask the source why rows come late; fetch the interval again.",
            ),
        )


def _steps_back(case: Case) -> tuple[np.ndarray, int]:
    """Return (n - 1,) whether each step within one fetch goes back in time, and the number of such steps."""
    within = np.diff(case.fetch) == 0
    return within & (np.diff(case.raw.ts) < 0), int(within.sum())


def duplicate(case: Case) -> Iterator[Finding]:
    """Rows that repeat an earlier row of the same time value by value (contract rule ``duplicate``).

    A warning: one of them is kept and nothing is lost, but two collections were glued together there.
    """
    yield from refused(
        case,
        DUPLICATE,
        "duplicate",
        Level.WARNING,
        Cost(
            "None in the lake, which keeps one. Counted twice, volume doubles there.",
            "Look for a seam between two collections at these times.",
        ),
    )


def conflicting_duplicate(case: Case) -> Iterator[Finding]:
    """Rows of one time with different values (contract rule ``conflicting_duplicate``).

    An error: nobody can say which is true, and the same source gave both; often one is a bar fetched before its end,
    so others of that fetch may be too.
    """
    yield from refused(
        case,
        CONFLICTING_DUPLICATE,
        "conflicting_duplicate",
        Level.ERROR,
        Cost(
            "The bars are missing from the lake; other bars of the same fetches may be as wrong.",
            "Fetch the interval again from the venue and declare which source is right.",
        ),
    )


def off_grid(case: Case) -> Iterator[Finding]:
    """Rows whose time is no multiple of the timeframe (contract rule ``ts_is_on_grid``).

    An error above ``refused_rows``, else a warning: such rows are stamped by another clock or label (close instead of
    open), and none of them is in the lake.
    """
    yield from refused(
        case,
        "ts_is_on_grid",
        "off_grid",
        None,
        Cost(
            "The bars are missing from the lake. Rounded to the grid, they may show a bar before it ended.",
            "Find out what the source stamps, and declare the shift.",
        ),
    )


def refused(case: Case, contract_rule: str, rule: str, level: Level | None, why: Cost) -> Iterator[Finding]:
    """Yield one finding on the rows refused under ``contract_rule``; a level of None follows from their share."""
    ts = case.refused.get(contract_rule)
    if ts is None:
        return
    limit, value = case.policy.delivery.single_row, float(len(ts))
    if level is None:
        limit, value = case.policy.delivery.refused_rows, len(ts) / len(case.raw)
        level = Level.ERROR if value > limit.value else Level.WARNING
    what = f"{len(ts)} of {len(case.raw)} rows: {named(ts)}"
    yield case.finding(rule, level, (ts[0], ts[-1]), len(ts), value, limit, what, why)


def look_ahead(case: Case) -> Iterator[Finding]:
    """Rows whose bar ended after the fetch that brought them: by the venue's clock, or by ours where it has none.

    An error: such a bar is unfinished or invented.
    """
    late = case.raw.ts + case.series.length > case.known_until
    if late.any():
        ts = np.sort(case.raw.ts[late])
        yield case.finding(
            "look_ahead",
            Level.ERROR,
            (ts[0], ts[-1]),
            late.sum(),
            late.sum(),
            case.policy.delivery.single_row,
            f"{late.sum()} rows end after they were fetched at {moment(case.known_until[late].min())}: {named(ts)}",
            Cost(
                "A backtest sees prices that did not exist yet; an unfinished bar changes when it is fetched again.",
                "Drop them and fetch again when they have ended; check the clock of whoever stamped the file.",
            ),
        )
