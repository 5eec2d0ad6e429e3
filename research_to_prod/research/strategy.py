"""What a strategy is: a small pure module that turns bars into target positions, or into quotes.

Belongs here: the interface, and loading strategy modules from the desk's folder. Doesn't: any strategy, and
anything that trades.

A strategy is a Python file ``desk/strategies/<name>.py`` that defines

``TYPE: StrategyType``
    How it earns.
``class Parameters(StrategyParameters)``
    Its typed parameters with defaults.
``warm_up(parameters) -> int``
    Bars that it needs before its first position.
``target_positions(bars, parameters) -> (T, M) float64``
    Target weight of each market as a signed fraction of equity, decided at the close of each bar from that bar and
    earlier ones only. The engine trades it at a later bar's open.

One whose type is ``market_making`` defines instead of the last

``quotes(bars, parameters) -> Quotes``
    A bid and an ask for each market, decided at the close of each bar from that bar and earlier ones only. They rest in
    the market during the next bar.
"""

from __future__ import annotations

import builtins
import linecache
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from research_to_prod.research.bars import Bars, Floats
from research_to_prod.values import StrategyType, sha256_hex


class StrategyParameters(BaseModel):
    """Base of every strategy's parameters: frozen, and unknown names are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Quotes:
    """A bid and an ask for each bar and market.

    Parameters
    ----------
    bid, ask
        (T, M) float64 prices in quote currency; NaN: no quote.
    bid_size, ask_size
        (T, M) float64 in base units, at least 0.
    """

    bid: Floats
    ask: Floats
    bid_size: Floats
    ask_size: Floats


@dataclass(frozen=True)
class Strategy:
    """A loaded strategy: its functions, and the text that they came from."""

    name: str
    type: StrategyType
    parameters: builtins.type[StrategyParameters]
    source: str
    _decide: Callable[[Bars, Any], Any]
    _warm_up: Callable[[Any], int]

    def warm_up(self, parameters: StrategyParameters) -> int:
        """Return the number of bars before the first position."""
        return self._warm_up(parameters)

    @property
    def source_sha256(self) -> str:
        """SHA-256 of its source file."""
        return sha256_hex(self.source.encode())

    @property
    def makes_markets(self) -> bool:
        """Whether it decides on quotes; otherwise it decides on positions."""
        return self.type is StrategyType.MARKET_MAKING

    def decisions(self, bars: Bars, parameters: StrategyParameters) -> Floats:
        """Return everything that it decides as rows of numbers, one a bar: (T, M) positions or (T, 4 M) quotes."""
        if not self.makes_markets:
            return self.target_positions(bars, parameters)
        quotes = self.quotes(bars, parameters)
        return np.hstack([quotes.bid, quotes.ask, quotes.bid_size, quotes.ask_size])

    def target_positions(self, bars: Bars, parameters: StrategyParameters) -> Floats:
        """Return (T, M) target weights, checked: right shape, finite, flat during the warm-up.

        Raises
        ------
        ValueError
            If the strategy returns another shape, NaN or infinity, or makes markets.
        """
        if self.makes_markets:
            raise ValueError(f"{self.name} makes markets: it has quotes, not positions")
        weights = self._checked("positions", self._decide(bars, parameters), bars)
        if not np.isfinite(weights).all():
            raise ValueError(f"{self.name} returned a position that is not a finite number")
        early = slice(0, self.warm_up(parameters))
        if weights[early].any():
            # A copy: the array is the strategy's, and may be one of its inputs.
            weights = weights.copy()
            weights[early] = 0.0
        return weights

    def quotes(self, bars: Bars, parameters: StrategyParameters) -> Quotes:
        """Return its quotes, checked: right shapes, sizes finite and not negative, no quote during the warm-up.

        Raises
        ------
        ValueError
            If the strategy returns other shapes or sizes, a price that is not positive, a bid that is not below its
            ask, or does not make markets.
        """
        if not self.makes_markets:
            raise ValueError(f"{self.name} does not make markets: it has positions, not quotes")
        given: Quotes = self._decide(bars, parameters)
        bid, ask, bid_size, ask_size = (
            self._checked(name, getattr(given, name), bars).copy() for name in ("bid", "ask", "bid_size", "ask_size")
        )
        for name, sizes in (("bid_size", bid_size), ("ask_size", ask_size)):
            if not (np.isfinite(sizes) & (sizes >= 0)).all():
                raise ValueError(f"{self.name} returned a {name} that is not a finite number of at least 0")
        if np.any(bid <= 0) or np.any(ask <= 0) or np.isinf(bid).any() or np.isinf(ask).any():
            raise ValueError(f"{self.name} returned a quote that is not a positive, finite price or NaN")
        if np.any(bid >= ask):
            raise ValueError(f"{self.name} returned a bid that is not below its ask")
        early = slice(0, self.warm_up(parameters))
        bid[early], ask[early], bid_size[early], ask_size[early] = np.nan, np.nan, 0.0, 0.0
        return Quotes(bid, ask, bid_size, ask_size)

    def _checked(self, what: str, values: Any, bars: Bars) -> Floats:
        array = np.asarray(values, dtype=np.float64)
        if array.shape != bars.close.shape:
            raise ValueError(f"{self.name} returned {what} of shape {array.shape}, bars are {bars.close.shape}")
        return array


def load_strategy(folder: Path, name: str) -> Strategy:
    """Load the strategy ``name`` from ``folder``.

    Raises
    ------
    FileNotFoundError
        If there is no such file; the message lists those that exist.
    AttributeError
        If the file does not define the interface.
    """
    path = folder / f"{name}.py"
    known = sorted(each.stem for each in folder.glob("[a-z]*.py"))
    if name not in known:
        raise FileNotFoundError(f"no strategy {name!r} in {folder}; there are: {', '.join(known) or 'none'}")
    return strategy_from_source(name, path.read_bytes().decode(), str(path))


def strategy_from_source(name: str, source: str, origin: str) -> Strategy:
    """Return the strategy that a file's text defines: the file need not be there any more.

    Parameters
    ----------
    origin
        Where the text came from, for error messages and tracebacks.

    Raises
    ------
    AttributeError
        If the text does not define the interface.
    """
    module = ModuleType(f"desk_strategies.{name}")
    module.__file__ = origin
    # Tracebacks show the lines that ran, not those of a file that was edited since.
    linecache.cache[origin] = (len(source), None, source.splitlines(keepends=True), origin)
    # Without this module's own `from __future__ import annotations`, which compile() would pass on.
    code = compile(source, origin, "exec", dont_inherit=True)
    exec(code, module.__dict__)  # noqa: S102 - a strategy is code; its hash is checked
    type_ = getattr(module, "TYPE", None)
    decides = "quotes" if type_ == StrategyType.MARKET_MAKING else "target_positions"
    missing = [each for each in ("TYPE", "Parameters", "warm_up", decides) if not hasattr(module, each)]
    if missing:
        raise AttributeError(f"strategy {origin} does not define {', '.join(missing)}")
    return Strategy(
        name=name,
        type=StrategyType(module.TYPE),
        parameters=module.Parameters,
        source=source,
        _decide=getattr(module, decides),
        _warm_up=module.warm_up,
    )
