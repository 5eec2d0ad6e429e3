"""`r2p new strategy` and `r2p new candidate`: files to begin from, with the tests that a strategy must pass."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Annotated, Any

import typer

from research_to_prod.commands.answer import Answer
from research_to_prod.settings import Settings
from research_to_prod.values import StrategyType

commands = typer.Typer(no_args_is_help=True, help="Files to begin from: a strategy, a candidate.")
_TEMPLATES = Path(__file__).parent / "templates"
_QUOTING = """\
# What is assumed of its orders, in base units: how much waits before them at a price, and how much it may hold.
quoting: {queue_ahead: 1.0, max_inventory: 1.0}"""
_NAME = re.compile(r"[a-z][a-z0-9_]{2,63}")

Name = Annotated[str, typer.Argument(help="Small letters, digits and _; it becomes a file and a partition.")]


@dataclass(frozen=True)
class Written:
    """The files to begin from, and what to do with them."""

    files: tuple[Path, ...]
    next: str


@commands.command()
def strategy(
    name: Name,
    kind: Annotated[StrategyType, typer.Option("--type", help="How it earns; decides what latency it may need.")],
) -> Answer:
    """Write desk/strategies/NAME.py, which runs as it is, and desk/tests/test_NAME.py."""
    desk = _desk(name)
    rule = "quotes" if kind is StrategyType.MARKET_MAKING else "positions"
    names = {"name": name, "title": name.replace("_", " ").capitalize(), "type": kind.name}
    return _written(
        {
            desk / "strategies" / f"{name}.py": _filled(f"{rule}.py.txt", names),
            desk / "tests" / f"test_{name}.py": _filled("test_strategy.py.txt", names),
        },
        f"put your rule into it; python -m pytest {shlex.quote(str(desk / 'tests'))}; "
        f"r2p new candidate {name}_btc --strategy {name}",
    )


@commands.command()
def candidate(
    name: Name,
    strategy: Annotated[str, typer.Option(help="Name of its strategy.")],
    owner: Annotated[str, typer.Option(help="Who answers for it: user:NAME or team:NAME")] = "team:research",
    market: Annotated[str, typer.Option(help="A market of the universe that has bars of an hour.")] = "BTC/USDT",
) -> Answer:
    """Write desk/candidates/NAME.yaml, whose window is what the universe has of the market."""
    from research_to_prod.market_data.universe import Universe
    from research_to_prod.research.strategy import load_strategy

    desk = _desk(name)
    universe = Universe.load(desk / "universe.yaml")
    try:
        loaded = load_strategy(desk / "strategies", strategy)
    except (FileNotFoundError, AttributeError) as error:
        raise typer.BadParameter(str(error)) from None
    markets = {each.symbol: each for each in universe.markets if each.timeframe == "1h"}
    if market not in markets:
        raise typer.BadParameter(f"{market} has no bars of an hour in the universe; there are {', '.join(markets)}")
    chosen = markets[market]
    own = loaded.parameters().model_dump()
    start, end = _window(f"{chosen.since:%Y-%m}")
    making = loaded.type is StrategyType.MARKET_MAKING
    names = {
        "name": name,
        "owner": owner,
        "strategy": strategy,
        "type": loaded.type.value,
        "venue": chosen.venue,
        "market": f'"{market}"',
        "start": start,
        "end": end,
        "parameters": ", ".join(f"{each}: {value}" for each, value in own.items() if value is not None),
        "search": _around(own),
        "more": _QUOTING if making else "",
    }
    return _written(
        {desk / "candidates" / f"{name}.yaml": _filled("candidate.yaml.txt", names).rstrip() + "\n"},
        f"write the hypothesis first; then r2p run research {name}, or materialize it in the UI",
    )


def _desk(name: str) -> Path:
    if _NAME.fullmatch(name) is None:
        raise typer.BadParameter(f"{name!r} is not of the form {_NAME.pattern}")
    return Settings.from_environment(os.environ).desk


def _filled(template: str, names: dict[str, str]) -> str:
    return Template((_TEMPLATES / template).read_text()).substitute(names)


def _written(files: dict[Path, str], following: str) -> Answer:
    """Write all files, or none where one of them is there already; ``following`` is what to do next."""
    if there := [str(path) for path in files if path.exists()]:
        raise typer.BadParameter(f"{', '.join(there)} is there already; choose another name, or move it away")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x") as file:
            file.write(text)
    lines = [*(f"written: {path}" for path in files), f"next: {following}"]
    return Answer(Written(tuple(files), following), "\n".join(lines))


def _window(since: str) -> tuple[str, str]:
    """Return the first day of the lake's months of bars and the day after them; a year from ``since`` without any."""
    from research_to_prod.lake import Lake

    months = [each for each in Lake(Settings.from_environment(os.environ).lake).partitions("candles") if each >= since]
    first = months[0] if months else since
    last = months[-1] if months else f"{int(since[:4]) + 1}-{since[5:7]}"
    after = f"{last[:4]}-{int(last[5:]) + 1:02d}" if last[5:] != "12" else f"{int(last[:4]) + 1}-01"
    return f"{first}-01", f"{after}-01"


def _around(own: dict[str, Any]) -> str:
    """Return a search over the first whole-numbered parameter: half of it, itself and twice it."""
    for name, value in own.items():
        if isinstance(value, int) and not isinstance(value, bool) and value >= 4:
            return f"{{{name}: [{value // 2}, {value}, {value * 2}]}}"
    return "{}"
