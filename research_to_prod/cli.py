"""`r2p`, the command line. Thin: each command reads settings, calls one function, prints.

The environment and the clock enter here and in ``defs/resources.py``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from research_to_prod.commands import incident, policy
from research_to_prod.commands.administrator import commands as administrator_commands
from research_to_prod.commands.controls import commands as control_commands
from research_to_prod.commands.ledger import commands as ledger_commands
from research_to_prod.commands.operator import commands as operator_commands
from research_to_prod.commands.promotion import commands as promotion_commands
from research_to_prod.commands.scaffold import commands as scaffold_commands
from research_to_prod.commands.taking_back import commands as taking_back_commands
from research_to_prod.commands.trace import commands as trace_commands
from research_to_prod.settings import Settings, SettingsError

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(policy.app, name="policy")
app.add_typer(incident.app, name="incident")
app.add_typer(ledger_commands)
app.add_typer(promotion_commands)
app.add_typer(trace_commands)
app.add_typer(taking_back_commands)
app.add_typer(control_commands)
app.add_typer(operator_commands)
app.add_typer(administrator_commands)
app.add_typer(scaffold_commands, name="new")


@app.callback()
def main() -> None:
    """Research to production, and honest there."""


@contextmanager
def _told() -> Iterator[None]:
    """Say what is wrong with what the user gave in its own words, with exit code 2; a fault of ours stays a crash."""
    from research_to_prod.market_data.universe import UniverseError

    try:
        yield
    except (SettingsError, UniverseError) as error:
        raise typer.BadParameter(str(error)) from None


@app.command()
def demo() -> None:
    """Run the whole graph once on the sandbox venue: no exchange, no key, no database server."""
    with _told():
        from research_to_prod.defs.demo import run_demo

        settings = Settings.from_environment(os.environ)
    if not run_demo(settings, Console()):
        raise typer.Exit(code=1)


@app.command()
def run(
    job: Annotated[
        str,
        typer.Argument(
            help="market_data, liquidity, research, promote, production, nightly, drill, posture, publish_warehouse"
        ),
    ],
    partitions: Annotated[
        list[str] | None, typer.Argument(help="Months, days or candidates; FIRST..LAST for a range")
    ] = None,
) -> None:
    """Run a job, one partition a run, as the UI would; exit 1 when a run fails."""
    with _told():
        from research_to_prod.defs.runner import NoSuchRunError, open_runner, partition_keys

        settings = Settings.from_environment(os.environ)
    with open_runner(settings, Console()) as runner:
        try:
            keys = partition_keys(job, partitions or [], runner.instance)
        except NoSuchRunError as error:
            raise typer.BadParameter(str(error)) from None
        if not runner.each(job, job, keys):
            raise typer.Exit(code=1)


@app.command()
def ui(port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 3000) -> None:
    """Open the Dagster UI on loopback, with the history under the data folder."""
    import subprocess
    import sys
    from pathlib import Path

    with _told():
        from research_to_prod.defs.runner import open_instance

        settings = Settings.from_environment(os.environ)
    with open_instance(settings):
        pass  # the home exists now, with the project's dagster.yaml
    # The UI has no log-in and can start runs: it is never offered beyond this machine.
    command = [sys.executable, "-m", "dagster", "dev", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workspace", str(Path(__file__).resolve().parents[1] / "workspace.yaml")]
    environment = {**os.environ, "DAGSTER_HOME": str(settings.dagster_home.resolve())}
    raise typer.Exit(code=subprocess.call(command, env=environment))  # noqa: S603 - no part of it is the user's


@app.command()
def worker(processes: Annotated[int, typer.Option(min=1, help="Runs at once.")] = 2) -> None:
    """Execute runs from the queue of R2P_BROKER until stopped; start as many on as many machines as wanted."""
    with _told():
        settings = Settings.from_environment(os.environ)
    try:
        from research_to_prod.defs.worker import work

        work(settings, processes)
    except (ImportError, ValueError) as error:
        hint = "; install research_to_prod[production]" if isinstance(error, ImportError) else ""
        raise typer.BadParameter(f"{error}{hint}") from None


@app.command()
def sandbox() -> None:
    """Serve the simulated venue over HTTP on loopback, in Binance's dialect, until interrupted."""
    import threading

    from research_to_prod.defs.resources import SANDBOX_SEED
    from research_to_prod.sandbox.server import API_KEY, API_SECRET, SandboxServer

    with SandboxServer(seed=SANDBOX_SEED) as server:
        Console().print(f"sandbox at {server.base_url}, key {API_KEY}, secret {API_SECRET}; Ctrl-C ends it")
        threading.Event().wait()


if __name__ == "__main__":
    app()
