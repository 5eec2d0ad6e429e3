"""Balances and positions: between two statements of the venue, what changed must be what its records add up to.

The venue is first held against itself, then the desk's belief against the venue. A difference that a fill, order or
payment in dispute explains is that break and no second one. Belongs here: balances and positions. Doesn't: records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from types import MappingProxyType

from research_to_prod.operations.contracts import Account, BreakClass, BreakVerdict, Resolution
from research_to_prod.operations.findings import Finding, Proof, explained, own
from research_to_prod.operations.ledger import Balances, Posting
from research_to_prod.operations.reconciliation_policy import ReconciliationPolicy, exact
from research_to_prod.operations.records import FillRecord, Snapshot, Source, plain


@dataclass(frozen=True)
class Held:
    """What the venue and the desk say is held.

    Parameters
    ----------
    opening, closing
        The venue's statements around the day; None where one was not given completely.
    believed
        Contract -> what the desk's systems believed to hold at the closing; None where it was not recorded.
    """

    opening: Snapshot | None = None
    closing: Snapshot | None = None
    believed: Mapping[str, Decimal] | None = None


@dataclass(frozen=True)
class Conserved:
    """The findings, and what they say of the venue's lists.

    Parameters
    ----------
    desk_is_right
        The disputes whose desk's version the venue's own statements contain.
    vanished
        Statements in which a whole wallet, or all contracts, are gone without a record of why.
    """

    findings: tuple[Finding, ...] = ()
    desk_is_right: tuple[Finding, ...] = ()
    vanished: frozenset[tuple[Source, str]] = frozenset()


def prices_of(fills: Iterable[FillRecord]) -> Mapping[str, Decimal]:
    """Return what each asset was last worth in the day's fills; a currency that fills were quoted in is worth 1."""
    prices: dict[str, Decimal] = {}
    for fill in sorted(fills, key=lambda each: (each.at, each.symbol, each.fill_id, each.price)):
        pair = fill.symbol.partition(":")[0]
        base, _, quote = pair.partition("/")
        prices |= {base: fill.price, fill.symbol: fill.price, quote: Decimal(1)}
    return MappingProxyType(prices)


def compare_balances(
    held: Held,
    postings: Sequence[Posting],
    findings: Sequence[Finding],
    proof: Proof,
    policy: ReconciliationPolicy,
    prices: Mapping[str, Decimal],
) -> Conserved:
    """Hold the change of each wallet against the venue's own records of the day.

    Parameters
    ----------
    postings
        The legs of the venue's book on the day.
    findings
        What is in dispute already.

    Returns
    -------
    Conserved
        Nothing where a source of the wallet is not complete: what moved it may be what was not seen.
    """
    if held.opening is None or held.closing is None:
        return Conserved()
    moved, counts = own(postings), _counts(postings)
    found: list[Finding] = []
    right: list[Finding] = []
    vanished: set[tuple[Source, str]] = set()
    keys = held.opening.amounts.keys() | held.closing.amounts.keys() | moved.keys()
    for key in sorted(key for key in keys if key[0] is not Account.CONTRACTS):
        account, asset = key
        if not _all_seen(proof, account):
            continue
        change = held.closing.amount(*key) - held.opening.amount(*key)
        residual = change - moved.get(key, Decimal(0))
        unit = exact(policy.money_unit) * counts.get(key, 0)
        used = explained(residual, key, findings, unit)
        if used is not None:
            right += used
            continue
        if any(_empty(each, account) for each in (held.opening, held.closing)):
            vanished.add((Source.BALANCES, account.value))
        price = prices.get(asset)
        money = None if price is None else abs(residual) * price
        dust = money is not None and money < exact(policy.dust_money)
        late = _in_flight(residual, key, postings, held, proof.wait, unit)
        found.append(
            Finding(
                BreakClass.DUST if dust else BreakClass.BALANCE_DRIFT,
                asset,
                None,
                f"{plain(moved.get(key, Decimal(0)))} {asset} by the venue's own records",
                f"{plain(change)} {asset} between its statements",
                money,
                held.closing.at,
                "a record near a statement may be in one and not in the other"
                if late
                else f"{plain(residual)} {asset} moved without a record",
                BreakVerdict.UNKNOWN if late else BreakVerdict.CONFIRMED,
                account=account,
                evidence_ids=proof.cited(Source.BALANCES, account),
                resolution=Resolution.DUST if dust and not late else None,
                correction={key: residual} if dust and not late else None,
            )
        )
    return Conserved(tuple(found), tuple(right), frozenset(vanished))


def compare_positions(
    held: Held,
    desk_fills: Iterable[FillRecord],
    postings: Sequence[Posting],
    findings: Sequence[Finding],
    proof: Proof,
    prices: Mapping[str, Decimal],
) -> Conserved:
    """Hold each contract's position against the venue's own fills, and against what the desk believes.

    Where the desk recorded no belief, it is the opening and the desk's own fills.
    """
    if held.closing is None or not proof.saw(Source.POSITIONS, Account.FUTURES):
        return Conserved()
    moved = own(postings)
    closing = held.closing
    fills = own_contracts(each for each in desk_fills if each.at <= closing.at)
    believed = held.believed or {}
    named = {asset for account, asset in held.closing.amounts if account is Account.CONTRACTS}
    opened = {} if held.opening is None else held.opening.amounts
    named |= {asset for account, asset in opened if account is Account.CONTRACTS}
    named |= believed.keys() | {asset for account, asset in moved if account is Account.CONTRACTS}
    found: list[Finding] = []
    right: list[Finding] = []
    gone = False
    for symbol in sorted(named):
        key = (Account.CONTRACTS, symbol)
        now = held.closing.amount(*key)
        expected: list[tuple[str, Decimal, int]] = []
        if held.opening is not None and proof.saw(Source.FILLS, symbol):
            expected.append(("its own fills", held.opening.amount(*key) + moved.get(key, Decimal(0)), 1))
        if symbol in believed:
            expected.append(("what we believe", believed[symbol], -1))
        elif held.opening is not None:
            expected.append(("our fills", held.opening.amount(*key) + fills.get(symbol, Decimal(0)), -1))
        wrong = []
        for source, amount, sign in expected:
            used = explained(now - amount, key, findings, Decimal(0), sign)
            if used is None:
                wrong.append((source, amount))
                gone |= sign > 0 and _empty(held.closing, Account.CONTRACTS)
            elif sign > 0:
                right += used
        if not wrong:
            continue
        amount = wrong[-1][1]
        flipped = amount * now < 0
        price = prices.get(symbol)
        found.append(
            Finding(
                BreakClass.POSITION_SIGN if flipped else BreakClass.POSITION_QUANTITY,
                symbol,
                None,
                plain(amount),
                plain(now),
                None if price is None else abs(now - amount) * price,
                held.closing.at,
                f"the venue's position is not that of {' nor of '.join(source for source, _ in wrong)}",
                account=Account.CONTRACTS,
                evidence_ids=proof.cited(Source.POSITIONS, Account.FUTURES),
            )
        )
    vanished = {(Source.POSITIONS, Account.FUTURES.value)} if gone else ()
    return Conserved(tuple(found), tuple(right), frozenset(vanished))


def own_contracts(fills: Iterable[FillRecord]) -> dict[str, Decimal]:
    """Return the signed sum of the fills of each contract."""
    totals: dict[str, Decimal] = {}
    for fill in fills:
        if ":" in fill.symbol:
            totals[fill.symbol] = totals.get(fill.symbol, Decimal(0)) + fill.side * fill.quantity
    return totals


def _empty(snapshot: Snapshot, account: Account) -> bool:
    return not any(amount for (each, _), amount in snapshot.amounts.items() if each is account)


def _counts(postings: Iterable[Posting]) -> dict[tuple[Account, str], int]:
    counts: dict[tuple[Account, str], int] = {}
    for leg in postings:
        counts[leg.account, leg.asset] = counts.get((leg.account, leg.asset), 0) + 1
    return counts


def _all_seen(proof: Proof, account: Account) -> bool:
    """Tell whether everything that moves a wallet was read completely: every market of its kind, and its money."""
    perpetual = account is Account.FUTURES
    fills = [
        done
        for (source, scope), done in proof.complete.items()
        if source is Source.FILLS and (":" in scope) is perpetual
    ]
    return all(fills) and proof.saw(Source.MONEY, account) and proof.saw(Source.BALANCES, account)


def _in_flight(
    residual: Decimal,
    key: tuple[Account, str],
    postings: Iterable[Posting],
    held: Held,
    wait: timedelta,
    unit: Decimal,
) -> bool:
    """Tell whether events around a statement add up to the residual: it may hold them or not."""
    assert held.opening is not None and held.closing is not None  # noqa: S101, PT018 - the caller has both
    near: Balances = {}
    sums = {Decimal(0)}
    for leg in postings:
        close = min(abs(leg.at - held.opening.at), abs(leg.at - held.closing.at))
        if (leg.account, leg.asset) == key and close <= wait and len(sums) < 4096:
            near[key] = leg.amount
            sums |= {each + leg.amount for each in sums}
    return bool(near) and any(abs(abs(residual) - abs(each)) <= unit for each in sums if each)
