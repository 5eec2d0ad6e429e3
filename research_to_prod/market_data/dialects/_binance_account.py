"""Binance's account: what its wallets hold, and what moved them besides trades.

Belongs here: the endpoints of balances, positions, income, deposits, withdrawals and transfers. Doesn't: markets, and
the account's trades and orders (``binance``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from research_to_prod.market_data.dialects.base import (
    MILLISECOND,
    Ask,
    Margin,
    Mark,
    Payment,
    Statement,
    Tier,
    micros_of,
    up,
)
from research_to_prod.market_data.paging import Feed, Want
from research_to_prod.market_data.shapes import Contract, all_of, inside, integer, list_of, number, record, text

SPOT, FUTURES = "spot", "futures"
_PAGE = 1000
_TRANSFERS_PAGE = 100
# Deposits: credited, and credited but locked for withdrawal. Withdrawals: completed.
_CREDITED = frozenset({1, 6})
_WITHDRAWN = 6

_BALANCES = list_of(record(asset=text, free=number, locked=number))
_ASSETS = list_of(record(asset=text, walletBalance=number))
_POSITIONS = list_of(record(symbol=text, positionAmt=number))
# What only the present has: the statement of a day names neither maintenance margin nor liquidation price.
_MARGINS = list_of(record(asset=text, walletBalance=number, marginBalance=number, maintMargin=number))
_MARKS = list_of(record(symbol=text, positionAmt=number, markPrice=number, liquidationPrice=number))
_TIERS = list_of(record(notionalFloor=number, maintMarginRatio=number, cum=number), least=1)


def _day(body: Any) -> str | None:
    """Check one day's statement: balances of the spot wallet, or assets and positions of the futures wallet."""
    if (problem := record(type=text, updateTime=integer)(body)) is not None:
        return problem
    if body["type"] == SPOT:
        return inside("data.balances", _BALANCES)(body)
    return all_of(inside("data.assets", _ASSETS), inside("data.position", _POSITIONS))(body)


def _transfers(body: Any) -> str | None:
    """Check a page of transfers; without any the venue leaves the list out."""
    if (problem := record(total=integer)(body)) is not None or body["total"] == 0:
        return problem
    row = record(asset=text, amount=number, tranId=integer, status=text, timestamp=integer)
    return inside("rows", list_of(row, least=1))(body)


CONTRACTS: Mapping[str, Contract] = {
    "/api/v3/account": Contract(inside("balances", _BALANCES)),
    "/fapi/v3/account": Contract(inside("assets", _MARGINS)),
    "/fapi/v3/positionRisk": Contract(_MARKS),
    "/fapi/v1/leverageBracket": Contract(list_of(all_of(record(symbol=text), inside("brackets", _TIERS)))),
    "/sapi/v1/accountSnapshot": Contract(inside("snapshotVos", list_of(_day))),
    "/fapi/v1/income": Contract(
        list_of(record(incomeType=text, income=number, asset=text, tranId=integer, time=integer, symbol=text))
    ),
    "/sapi/v1/capital/deposit/hisrec": Contract(
        list_of(record(id=text, amount=number, coin=text, status=integer, insertTime=integer))
    ),
    "/sapi/v1/capital/withdraw/history": Contract(
        list_of(record(id=text, amount=number, transactionFee=number, coin=text, status=integer, applyTime=text))
    ),
    "/sapi/v1/asset/transfer": Contract(_transfers),
}


def holdings() -> Sequence[Ask[Statement]]:
    """Ask for the wallets as they are now; the futures wallet's contracts come from an endpoint of their own."""
    return (
        Ask("privateGetAccount", {}, lambda body: Statement(SPOT, None, _spot(body["balances"]), {})),
        Ask(
            "fapiPrivateV3GetAccount",
            {},
            lambda body: Statement(FUTURES, None, _wallet(body["assets"]), {}, margins=_margins(body["assets"])),
        ),
        Ask(
            "fapiPrivateV3GetPositionRisk",
            {},
            lambda body: Statement(FUTURES, None, {}, _contracts(body), marks=_marks(body)),
        ),
    )


def margin_tiers() -> Ask[Mapping[str, Sequence[Tier]]]:
    """Ask for the maintenance margins of all contracts, as they are for this account."""
    return Ask(
        "fapiPrivateGetLeverageBracket", {}, lambda body: {row["symbol"]: _tiers(row["brackets"]) for row in body}
    )


def statements(start: int, end: int) -> Sequence[Ask[Sequence[Statement]]]:
    """Ask for the wallets at the end of each day; the venue keeps them for a month."""
    span = {"startTime": start // MILLISECOND, "endTime": end // MILLISECOND}

    def read(body: Any) -> Sequence[Statement]:
        found = []
        for each in body["snapshotVos"]:
            at, data = each["updateTime"] * MILLISECOND, each["data"]
            if each["type"] == SPOT:
                found.append(Statement(SPOT, at, _spot(data["balances"]), {}))
            else:
                found.append(Statement(FUTURES, at, _wallet(data["assets"]), _contracts(data["position"])))
        return found

    return tuple(Ask("sapiGetAccountSnapshot", {"type": kind, **span}, read) for kind in ("SPOT", "FUTURES"))


def payments() -> Mapping[str, Sequence[Feed]]:
    """Return the feeds by wallet: the statement of income of the futures wallet says all that moved it."""
    return {
        SPOT: (
            _feed("sapiGetCapitalDepositHisrec", "id", _inserted, _deposit),
            _feed("sapiGetCapitalWithdrawHistory", "id", _applied, _withdrawal),
            *(
                _feed("sapiGetAssetTransfer", "tranId", _stamped, _transfer(sign), type=kind)
                for kind, sign in (("MAIN_UMFUTURE", -1), ("UMFUTURE_MAIN", 1))
            ),
        ),
        FUTURES: (_feed("fapiPrivateGetIncome", "tranId incomeType asset", lambda row: row["time"], _income),),
    }


def between(want: Want) -> dict[str, Any]:
    """Return the parameters of a page by time."""
    start, stop = up(want.start, MILLISECOND), up(want.stop, MILLISECOND)
    return {"startTime": start, "endTime": stop - 1, "limit": want.limit}


def _feed(
    method: str, names: str, at: Callable[[Any], int], read: Callable[[Any], Payment | None], **fixed: str
) -> Feed:
    """Return a feed by time whose pages overlap by a millisecond, because a fill makes several rows in one."""
    transfers = method == "sapiGetAssetTransfer"

    def ask(want: Want) -> Mapping[str, Any]:
        paging = between(want)
        if transfers:
            paging["size"] = paging.pop("limit")
        return {**fixed, **paging}

    return Feed(
        method=method,
        ask=ask,
        rows=(lambda body: body.get("rows") or []) if transfers else (lambda body: body),
        at=lambda row: at(row) * MILLISECOND,
        values=lambda row: (read(row),),
        limit=_TRANSFERS_PAGE if transfers else _PAGE,
        identity=lambda row: " ".join(str(row[name]) for name in names.split()),
        overlap=True,
    )


def _inserted(row: Any) -> int:
    return int(row["insertTime"])


def _applied(row: Any) -> int:
    return micros_of(datetime.fromisoformat(row["applyTime"]).replace(tzinfo=UTC).isoformat()) // MILLISECOND


def _stamped(row: Any) -> int:
    return int(row["timestamp"])


def _deposit(row: Any) -> Payment | None:
    credited = row["status"] in _CREDITED
    return Payment("deposit", row["id"], row["coin"], row["amount"], None, row.get("txId")) if credited else None


def _withdrawal(row: Any) -> Payment | None:
    if row["status"] != _WITHDRAWN:
        return None
    paid = -(Decimal(row["amount"]) + Decimal(row["transactionFee"]))
    return Payment("withdrawal", row["id"], row["coin"], format(paid, "f"), None, row.get("txId"))


def _transfer(sign: int) -> Callable[[Any], Payment | None]:
    def read(row: Any) -> Payment | None:
        if row["status"] != "CONFIRMED":
            return None
        return Payment("transfer", str(row["tranId"]), row["asset"], format(sign * Decimal(row["amount"]), "f"))

    return read


def _income(row: Any) -> Payment:
    reference = row.get("tradeId") or row.get("info") or None
    market = row["symbol"] or None
    return Payment(row["incomeType"], str(row["tranId"]), row["asset"], row["income"], market, reference)


def _spot(rows: Sequence[Any]) -> dict[str, str]:
    return {row["asset"]: format(Decimal(row["free"]) + Decimal(row["locked"]), "f") for row in rows}


def _wallet(rows: Sequence[Any]) -> dict[str, str]:
    return {row["asset"]: str(row["walletBalance"]) for row in rows}


def _contracts(rows: Sequence[Any]) -> dict[str, str]:
    """Return signed contracts by market; the two legs of a hedged position are netted."""
    held: dict[str, Decimal] = {}
    for row in rows:
        held[row["symbol"]] = held.get(row["symbol"], Decimal(0)) + Decimal(row["positionAmt"])
    return {market: format(amount, "f") for market, amount in held.items()}


def _margins(rows: Sequence[Any]) -> dict[str, Margin]:
    return {row["asset"]: Margin(str(row["marginBalance"]), str(row["maintMargin"])) for row in rows}


def _marks(rows: Sequence[Any]) -> dict[str, Mark]:
    """Return the mark of each contract; of a hedged position's two legs, the liquidation price that is nearer."""
    found: dict[str, Mark] = {}
    for row in rows:
        mark = Mark(str(row["markPrice"]), str(row["liquidationPrice"]))
        if Decimal(row["positionAmt"]):
            found[row["symbol"]] = min(found.get(row["symbol"], mark), mark, key=_distance)
    return found


def _distance(mark: Mark) -> Decimal:
    return abs(Decimal(mark.price) - Decimal(mark.liquidation))


def _tiers(rows: Sequence[Any]) -> tuple[Tier, ...]:
    return tuple(Tier(*(str(row[name]) for name in ("notionalFloor", "maintMarginRatio", "cum"))) for row in rows)
