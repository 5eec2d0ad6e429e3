"""The REST dialects that the strict client speaks, one module an exchange; none imports ccxt."""

from __future__ import annotations

from importlib import import_module

from research_to_prod.market_data.dialects.base import Dialect
from research_to_prod.market_data.universe import EXCHANGES


def dialect(ccxt: str) -> Dialect:
    """Return the dialect of a ccxt exchange.

    Raises
    ------
    ValueError
        If there is none: an unchecked client would turn faults into absence.
    """
    if ccxt not in EXCHANGES:
        raise ValueError(f"there is no strict client for ccxt {ccxt!r}, only for {', '.join(EXCHANGES)}")
    found: Dialect = import_module(f"{__name__}.{ccxt}").DIALECT
    return found
