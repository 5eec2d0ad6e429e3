"""What a strategy is: a small pure module that turns bars into target positions.

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
"""

from __future__ import annotations

import builtins
import importlib.util
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
class Strategy:
    """A loaded strategy: its functions, and the hash of the file that they came from."""

    name: str
    type: StrategyType
    parameters: builtins.type[StrategyParameters]
    source_sha256: str
    _target_positions: Callable[[Bars, Any], Floats]
    _warm_up: Callable[[Any], int]

    def warm_up(self, parameters: StrategyParameters) -> int:
        """Return the number of bars before the first position."""
        return self._warm_up(parameters)

    def target_positions(self, bars: Bars, parameters: StrategyParameters) -> Floats:
        """Return (T, M) target weights, checked: right shape, finite, flat during the warm-up.

        Raises
        ------
        ValueError
            If the strategy returns another shape, NaN or infinity.
        """
        weights = np.asarray(self._target_positions(bars, parameters), dtype=np.float64)
        if weights.shape != bars.close.shape:
            raise ValueError(f"{self.name} returned positions of shape {weights.shape}, bars are {bars.close.shape}")
        if not np.isfinite(weights).all():
            raise ValueError(f"{self.name} returned a position that is not a finite number")
        early = slice(0, self.warm_up(parameters))
        if weights[early].any():
            # A copy: the array is the strategy's, and may be one of its inputs.
            weights = weights.copy()
            weights[early] = 0.0
        return weights


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
    module = _load(path)
    missing = [each for each in ("TYPE", "Parameters", "warm_up", "target_positions") if not hasattr(module, each)]
    if missing:
        raise AttributeError(f"strategy {path} does not define {', '.join(missing)}")
    return Strategy(
        name=name,
        type=StrategyType(module.TYPE),
        parameters=module.Parameters,
        source_sha256=sha256_hex(path.read_bytes()),
        _target_positions=module.target_positions,
        _warm_up=module.warm_up,
    )


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"desk_strategies.{path.stem}", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"{path} cannot be loaded as a Python module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
