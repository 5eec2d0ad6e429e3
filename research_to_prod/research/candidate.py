"""Candidates: what a researcher proposes to promote, written down and reviewed before anything is run.

Belongs here: the candidate file's contract, its search grid, its digest. Doesn't: running it.
"""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from research_to_prod.declared import parse_yaml
from research_to_prod.research.bars import is_perpetual
from research_to_prod.research.costs import Costs
from research_to_prod.research.market_making import Quoting
from research_to_prod.research.strategy import Strategy, StrategyParameters, load_strategy
from research_to_prod.research.terms import Execution, Instrument
from research_to_prod.values import StrategyType, canonical_json, digest, timeframe_length

Symbol = Annotated[str, Field(pattern=r"^[A-Z0-9]{1,20}/[A-Z0-9]{1,20}(:[A-Z0-9]{1,20})?$")]
Value = bool | int | float | str | None


class CandidateError(ValueError):
    """Candidate files are wrong; the message lists every file and field."""


class Window(BaseModel):
    """Whole months of history, from the first instant of ``start`` to the first instant of ``end``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: date
    end: date

    @model_validator(mode="after")
    def _whole_months(self) -> Window:
        if self.start.day != 1 or self.end.day != 1:
            raise ValueError("start and end must be the first day of a month; data is partitioned by month")
        if self.start >= self.end:
            raise ValueError(f"start {self.start} must lie before end {self.end}")
        return self

    @property
    def start_at(self) -> datetime:
        """The first instant, UTC."""
        return datetime(self.start.year, self.start.month, 1, tzinfo=UTC)

    @property
    def end_at(self) -> datetime:
        """The first instant after the window, UTC."""
        return datetime(self.end.year, self.end.month, 1, tzinfo=UTC)

    @property
    def months(self) -> tuple[str, ...]:
        """The months ``YYYY-MM``, in order."""
        first, after = self.start.year * 12 + self.start.month - 1, self.end.year * 12 + self.end.month - 1
        return tuple(f"{month // 12:04d}-{month % 12 + 1:02d}" for month in range(first, after))


class Candidate(BaseModel):
    """One candidate file, and the hash of the strategy source that it was checked against."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # The name becomes a partition key, a folder and a URL.
    name: str = Field(pattern=r"^[a-z][a-z0-9_]{2,63}$")
    owner: str = Field(pattern=r"^(user|team):[a-z0-9._-]{2,64}$")
    hypothesis: str = Field(min_length=40)
    strategy: str = Field(pattern=r"^[a-z][a-z0-9_]{2,63}$")
    type: StrategyType
    venue: str = Field(pattern=r"^[a-z][a-z0-9_]{1,63}$")
    universe: tuple[Symbol, ...] = Field(min_length=1)
    timeframe: str
    window: Window
    parameters: dict[str, Value]
    search_space: dict[str, tuple[Value, ...]]
    capital: Decimal = Field(gt=0, allow_inf_nan=False)
    """Capital asked for, in quote currency; also the backtest's initial capital."""
    costs: Costs = Costs()
    execution: Execution = Execution()
    instruments: dict[Symbol, Instrument] = {}
    """Terms of the universe's markets; one without terms is frictionless."""
    quoting: Quoting | None = None
    """What is assumed of a market maker's orders; for that type only."""
    strategy_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the strategy's source file; the loader fills it in."""

    @field_validator("timeframe")
    @classmethod
    def _known_timeframe(cls, timeframe: str) -> str:
        timeframe_length(timeframe)
        return timeframe

    @field_validator("universe")
    @classmethod
    def _distinct(cls, universe: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(universe)) != len(universe):
            raise ValueError("symbols repeat")
        return universe

    @field_validator("search_space")
    @classmethod
    def _distinct_values(cls, space: dict[str, tuple[Value, ...]]) -> dict[str, tuple[Value, ...]]:
        if wrong := sorted(name for name, values in space.items() if not values or len(set(values)) != len(values)):
            raise ValueError(f"values are missing or repeat for {', '.join(wrong)}")
        return space

    @model_validator(mode="after")
    def _terms_that_apply(self) -> Candidate:
        if strangers := sorted(set(self.instruments) - set(self.universe)):
            raise ValueError(f"instruments: {', '.join(strangers)} is not in the universe")
        if wrong := sorted(
            each for each, terms in self.instruments.items() if is_perpetual(each) and terms.borrow_rate
        ):
            raise ValueError(f"instruments: {', '.join(wrong)} is a perpetual, which is not borrowed")
        if (self.type is StrategyType.MARKET_MAKING) != (self.quoting is not None):
            raise ValueError(f"quoting: is given for market_making, and for it only; the type is {self.type}")
        if self.quoting and (self.instruments or self.execution != Execution()):
            raise ValueError("instruments, execution: are of positions; a market maker's orders have quoting instead")
        return self

    @property
    def sha256(self) -> str:
        """Digest of everything in the file and of the strategy's source."""
        return digest(self.model_dump(mode="json"))

    def own_parameters(self, strategy: Strategy) -> StrategyParameters:
        """Return the candidate's parameters, validated, with the strategy's defaults filled in."""
        return strategy.parameters(**self.parameters)

    def grid(self, strategy: Strategy) -> tuple[StrategyParameters, ...]:
        """Return every combination of the search space over the candidate's other parameters, its own among them."""
        names = sorted(self.search_space)
        combinations = itertools.product(*(self.search_space[name] for name in names))
        return tuple(
            strategy.parameters(**{**self.parameters, **dict(zip(names, values, strict=True))})
            for values in combinations
        )

    def trial_id(self, parameters: StrategyParameters) -> str:
        """Return the identity of one trial: what was tried on what, whoever asked under whatever name."""
        return trial_id(self.strategy, self.universe, self.timeframe, parameters)


def trial_id(strategy: str, universe: tuple[str, ...], timeframe: str, parameters: StrategyParameters) -> str:
    """Return the digest of strategy, universe (in any order), timeframe and parameters."""
    return digest(
        {
            "strategy": strategy,
            "universe": sorted(universe),
            "timeframe": timeframe,
            "parameters": parameters.model_dump(mode="json"),
        }
    )


def canonical_parameters(parameters: StrategyParameters) -> str:
    """Return the parameters, defaults included, as canonical JSON."""
    return canonical_json(parameters.model_dump(mode="json")).decode()


def load_candidates(folder: Path, strategies: Path | None = None) -> tuple[Candidate, ...]:
    """Load every ``*.yaml`` of ``folder``, sorted by name.

    Parameters
    ----------
    strategies
        Folder of the strategy files; by default ``strategies`` beside ``folder``.

    Raises
    ------
    CandidateError
        Listing every wrong file and field of all files.
    """
    strategies = strategies if strategies is not None else folder.parent / "strategies"
    candidates, problems = [], []
    for path in sorted(folder.glob("*.yaml")):
        try:
            candidates.append(load_candidate(path, strategies))
        except CandidateError as error:
            problems.append(str(error))
    if problems:
        raise CandidateError("\n".join(problems))
    return tuple(candidates)


def load_candidate(path: Path, strategies: Path) -> Candidate:
    """Load one candidate file and check it against its strategy.

    Raises
    ------
    CandidateError
        Listing every wrong field.
    """
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CandidateError(f"{path.name}: not readable as YAML: {error}") from error
    if not isinstance(content, dict):
        raise CandidateError(f"{path.name}: must hold a mapping of fields")
    problems = ["strategy_sha256: is computed, remove it"] if "strategy_sha256" in content else []
    try:
        strategy = load_strategy(strategies, str(content.get("strategy")))
    except (FileNotFoundError, AttributeError) as error:
        raise CandidateError(f"{path.name}: strategy: {error}") from error
    try:
        candidate = Candidate(**{**content, "strategy_sha256": strategy.source_sha256})
    except ValidationError as error:
        problems += _fields(error)
        raise CandidateError("\n".join(f"{path.name}: {problem}" for problem in problems)) from error
    if candidate.name != path.stem:
        problems.append(f"name: {candidate.name!r} must be the file's name {path.stem!r}")
    if candidate.type != strategy.type:
        problems.append(f"type: {candidate.type} must be that of strategy {strategy.name}, {strategy.type}")
    problems += _wrong_parameters(candidate, strategy)
    if problems:
        raise CandidateError("\n".join(f"{path.name}: {problem}" for problem in problems))
    return candidate


def _wrong_parameters(candidate: Candidate, strategy: Strategy) -> list[str]:
    try:
        own = candidate.own_parameters(strategy)
    except ValidationError as error:
        return [f"parameters.{problem}" for problem in _fields(error)]
    unknown = sorted(set(candidate.search_space) - set(strategy.parameters.model_fields))
    if unknown:
        return [f"search_space.{name}: strategy {strategy.name} has no such parameter" for name in unknown]
    outside = [
        f"parameters.{name}: {getattr(own, name)!r} is not among the values of search_space.{name}; "
        "what was chosen must be one of the trials"
        for name in sorted(candidate.search_space)
        if getattr(own, name) not in candidate.search_space[name]
    ]
    try:
        candidate.grid(strategy)
    except ValidationError as error:
        return [*outside, *(f"search_space: a combination is refused: {problem}" for problem in _fields(error))]
    return outside


def _fields(error: ValidationError) -> list[str]:
    """Return pydantic's complaints as ``field: what is wrong, got value``."""
    lines: list[str] = []
    for each in error.errors():
        where = ".".join(str(part) for part in each["loc"]) or "file"
        got: Any = each["input"]
        shown = f", got {got!r}" if each["type"] != "missing" and not isinstance(got, dict | BaseModel) else ""
        lines.append(f"{where}: {each['msg']}{shown}")
    return lines
