"""The reconciliation against a hundred sandboxes' own journals; writes the page with its rules and what it found.

Belongs here: the study and the page. Doesn't: one trial (``_reconciliation_trials``).
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from benchmarks._reconciliation_trials import (
    EXPECTED,
    POLICY,
    Trial,
    expected,
    fetch_trial,
    mixed_trial,
    record_trial,
    sound_day,
)
from benchmarks._tables import table
from research_to_prod.operations.contracts import BreakClass
from research_to_prod.operations.register import SEVERITIES
from research_to_prod.sandbox.record_faults import FetchFault, RecordFault

PAGE = Path(__file__).parent.parent / "docs" / "reconciliation.md"
SEEDS = 100
DAYS = ("2026-01-02", "2026-01-03", "2026-01-04")

MEANINGS = {
    BreakClass.MISSING_FILL_INTERNAL: "the venue has a fill, we have not",
    BreakClass.MISSING_FILL_VENUE: "we have a fill, the venue's complete list and its other records have not",
    BreakClass.DUPLICATE_FILL: "one trade id, two different records on one side",
    BreakClass.QUANTITY_MISMATCH: "both have the fill, with other quantities; no tolerance",
    BreakClass.PRICE_MISMATCH: "both have the fill, at other prices; no tolerance",
    BreakClass.SIDE_MISMATCH: "both have the fill, one a buy, one a sell",
    BreakClass.FEE_MISMATCH: "both have the fill, with other fees",
    BreakClass.FEE_ASSET: "both have the fill, its fee in other currencies",
    BreakClass.CLOCK: "both have the fill, stamped by clocks that differ",
    BreakClass.UNKNOWN_ORDER: "an order at the venue that nothing of ours sent; its fills belong to it",
    BreakClass.ORPHAN_INTENT: "an order of ours that the venue's complete list has not",
    BreakClass.STATE_MISMATCH: "both have the order and disagree on size, filled quantity or end",
    BreakClass.EXTERNAL_ACTIVITY: "the venue, or a person on its pages, acted for us: liquidation, deleveraging",
    BreakClass.FUNDING_MISSING: "one side has a funding payment, the other has not",
    BreakClass.FUNDING_MISMATCH: "both have the payment, with other amounts",
    BreakClass.TRANSFER_UNMATCHED: "a deposit, withdrawal or transfer on one side only",
    BreakClass.POSITION_SIGN: "the venue's position is on the other side of what its fills or our systems say",
    BreakClass.POSITION_QUANTITY: "the venue's position is of another size than its fills or our systems say",
    BreakClass.BALANCE_DRIFT: "a wallet changed by other than the venue's own records add up to",
    BreakClass.DUST: "the same, worth less than the limit; resolves itself into suspense",
    BreakClass.SOURCE_INCOMPLETE: "could not be read to the end, or is shown to be cut: unknown, never absent",
}

RULES = """\
Every day the desk's records are held against the venue's, and the venue's statements against its own records. The \
comparison is a pure function of the two sides' tables, their completeness certificates and the policy \
(`research_to_prod/desk/policies/reconciliation.yaml`); in whatever order, pages or repetitions the records came, the \
ledger and the breaks are the same bytes.

- **The reading.** Fills by trade id, orders by order id, payments, the wallets' statements at the day's two ends, and \
the fills again; when they changed in between, everything once more, and when they change again nothing is certified. \
Read is every market that the desk follows or ever traded, every contract that the account was paid for or holds, and \
every spot market of an asset that it holds.
- **Three answers.** Only a complete certificate proves that a record is absent. What was not read completely gives \
one `source_incomplete` for the list, its verdict *unknown*, and nothing else.
- **A list may be cut and certified.** A venue in trouble answers an empty list of the right shape for as long as it \
is asked. Where its orders say that more was filled than its fills list, its fills name orders that its orders lack, \
the fees in its payments are not those of its fills, or its balances and positions contain what its list lacks, the \
list is unknown. So is a statement in which a whole wallet, or every contract, is gone without a record of why.
- **Two books.** Every fill, fee, payment and transfer is posted with legs that add up to nothing in each asset, once \
from the desk's records and once from the venue's (table `postings`). A wallet's change between two statements must be \
what the venue's book says; a contract's position too, and it must be what the desk's systems believe.
- **One fault, one break.** Fills of an unknown order belong to the order; an order with a disputed fill is not judged \
again; a balance or position that a dispute explains is no second break.
- **In flight.** Nothing younger than the waiting time is judged. A balance that a record near its statement explains \
is unknown. Orders that began within the waiting time of midnight are not searched for: the sides may have put them on \
two days. Orders that went on after the day are not judged by their end."""

REGISTER = """\
A break keeps its id at every look (class, venue, market, record and day; of positions without the day, so that a \
wrong position is one break from day to day). It is open until a later look, whose source was complete, no longer \
finds it; what could not be seen closes nothing. Severity follows from class and sign, and is p1 from {escalate:,.0f} \
of quote currency on. Open for longer than {p1:.0f} minutes (p1), an hour (p2) or a day (p3), it is overdue: the check \
`breaks_are_dealt_with_in_time` names it."""

AUTOMATIC = """\
Nothing is ever written from *unknown*. Two things resolve themselves, with a correcting entry against the suspense \
account and the break's id on it: dust (a balance off by less than {dust:.0f} of quote currency), and rounding (a fee \
off by {unit} or {fee:.0%}, a funding payment off by {cent} or {funding:.0%}). A late record that now matches closes \
its break by evidence; repetitions that say the same are one record. Never automatic: unknown orders, positions, any \
larger drift of a balance, transfers, fills. Suspense has its own check (`suspense_is_small`): beyond {suspense:.0f} \
of quote currency, over all days, somebody must look."""

TRIALS = """\
Each of {seeds} seeds is another market and another desk; its day is drawn from three. Up to four faults of different \
kinds happen to its records, none in every fifth; no two to one order, contract or balance. The sandbox's journal says \
what was injected; which class each kind must be found as was written down before. A break counts as found when class, \
market and record are right. The first trials, on three days of one market, had one false break and found six lists \
of payments cut that were believed to be whole; the rules about two versions of a fill and about fees come from them."""

FETCHES = """\
On the same days nothing goes wrong but the reading of one list: rows are missing and the certificate says so, or the \
list is empty and certified. Any break but `source_incomplete` is false."""

MIXED = """\
Two faults of records, and one list that is read wrongly: what was not seen cannot be found. On 150 days of one other \
market two of the injected faults were found under another name: a withdrawal that the venue's emptied list lacks is a \
balance that moved without a record, and a fill of an order that no list has any more is a missing fill."""
LIMITS = """\
- Simulated records and faults, by the same authors as the reconciliation. Two real accounts (not part of the \
project), 503 and 6,582 fills, delivered shuffled, in overlapping pieces and twice, give one ledger each; their \
venues' statements are not known, so that nothing could be reconciled.
- Read through ccxt with certificates so far: Binance's spot and USD-M accounts, and only against the sandbox and \
peers of its documented form. Interest, conversions of dust, rebates and airdrops come from endpoints that are not \
read; they show as drift of a balance.
- On a day without a fill and without a statement nothing contradicts an empty list: it is believed.
- Of orders older than Binance keeps them (without a fill: three days for futures) the list is unknown, not complete. \
Day statements exist for a month; of older days balances and positions are unknown."""


@dataclass(frozen=True)
class Study:
    """The trials by what went wrong: records, the reading of a list, both."""

    records: Sequence[Trial]
    fetches: Sequence[Trial]
    mixed: Sequence[Trial]


def study(seeds: int) -> Study:
    """Run every kind of trial on each of so many markets."""
    done: tuple[list[Trial], list[Trial], list[Trial]] = ([], [], [])
    for seed in track(range(seeds), "markets"):
        day = DAYS[seed % len(DAYS)]
        for trials, trial in zip(done, (record_trial, fetch_trial, mixed_trial), strict=True):
            trials.append(trial(seed, seed, day))
        sound_day.cache_clear()
    return Study(*done)


def page(found_by: Study) -> str:
    """Return the page in Markdown."""
    policy, records, fetches = POLICY, found_by.records, found_by.fetches
    clean = sum(len(each.false) for each in records if not each.injections)
    classes = [
        [f"`{kind.value}`", MEANINGS[kind], "p4" if kind is BreakClass.DUST else SEVERITIES[kind].value]
        for kind in BreakClass
    ]
    waits = policy.in_flight
    waiting = (
        f"{waits.normal.value:.0f} s normal and deep, {waits.thin.value:.0f} s thin and unknown, "
        f"{waits.stressed.value:.0f} s stressed; the daily run waits the longest"
    )
    false_breaks = sum(len(each.false) for each in records)
    silent = sum(not each.injections for each in records)
    unasked = (
        f"Breaks that nobody injected, on all {len(records)} days: {false_breaks}. On the {silent} days on which "
        f"nothing went wrong: {clean}."
    )
    tolerances = [
        ["waiting time", waiting],
        ["quantity, price, side", "none"],
        ["fee", f"{policy.money_unit.value:.8f} of its currency, or {policy.fee_relative.value:.0%}: rounding"],
        ["funding", f"{policy.funding_money.value} quote, or {policy.funding_relative.value:.0%}: rounding"],
        ["time of a fill", f"{policy.clock_seconds.value:.0f} s"],
        ["balance", f"{policy.money_unit.value:.8f} for each record of the day that moved it"],
        ["position", "none"],
    ]  # fmt: skip
    injected = Counter(each.kind for trial in records for each in trial.injections)
    found = Counter(each.kind for trial in records for each in trial.injections if expected(each) in trial.found)
    measured = [
        [kind.value.replace("_", " "), f"`{EXPECTED[kind].value}`", str(injected[kind]), str(found[kind])]
        for kind in RecordFault
    ]
    measured.append(["all", "", str(injected.total()), str(found.total())])
    cuts = Counter(each.kind for trial in fetches for each in trial.injections)
    wrong = Counter(trial.injections[0].kind for trial in fetches for _ in trial.false if trial.injections)
    blind = [[kind.value.replace("_", " "), str(cuts[kind]), str(wrong[kind])] for kind in FetchFault]
    both = []
    for kind in FetchFault:
        own = [trial for trial in found_by.mixed if trial.injections[-1].kind == kind]
        counts = (
            len(own),
            sum(len(each.injected) for each in own),
            sum(len(each.injected & each.found) for each in own),
            sum(len(each.false) for each in own),
        )
        both.append([kind.value.replace("_", " "), *map(str, counts)])
    parts = [
        "# Reconciliation",
        "Made by `python -m benchmarks.reconciliation`, whatever it says; nothing is edited by hand.",
        RULES,
        "## Tolerances",
        table(["of", "allowed"], tolerances),
        "## Classes",
        table(["class", "what it is", "severity"], classes),
        "## The register",
        REGISTER.format(escalate=policy.escalate_money.value, p1=policy.due.p1.value / 60),
        "## What resolves itself, and what never does",
        AUTOMATIC.format(
            dust=policy.dust_money.value,
            unit=f"{policy.money_unit.value:.8f}",
            fee=policy.fee_relative.value,
            cent=policy.funding_money.value,
            funding=policy.funding_relative.value,
            suspense=policy.suspense_money.value,
        ),
        "## Against the sandbox's journal",
        TRIALS.format(seeds=len(records)),
        table(["fault", "must be found as", "injected", "found"], measured),
        unasked,
        "## Failed fetches",
        FETCHES,
        table(["fault", "lists", "false breaks"], blind),
        "## Both at once",
        MIXED,
        table(["fault", "days", "injected breaks", "found", "breaks not injected"], both),
        "## What this does not show",
        LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many markets")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write")
    given = parser.parse_args()
    done = study(given.seeds)
    given.page.write_text(page(done), encoding="utf-8")
    wrong = [each for each in (*done.records, *done.fetches) if each.missed or each.false]
    for each in done.mixed:
        if each.false:
            print(f"both at once: false {sorted(each.false)}, journal {[(i.kind, i.detail) for i in each.injections]}")
    for each in wrong:
        print(f"missed {sorted(each.missed)}, false {sorted(each.false)}, journal {each.injections}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
