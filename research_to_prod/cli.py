"""`r2p`, the command line. Thin: each command reads settings, calls one function, prints.

The environment and the clock enter here and in ``defs/resources.py``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from research_to_prod.commands import audit, incident, policy
from research_to_prod.commands.administrator import commands as administrator_commands
from research_to_prod.commands.controls import commands as control_commands
from research_to_prod.commands.ledger import commands as ledger_commands
from research_to_prod.commands.operator import commands as operator_commands
from research_to_prod.commands.promotion import commands as promotion_commands
from research_to_prod.commands.scaffold import commands as scaffold_commands
from research_to_prod.commands.taking_back import commands as taking_back_commands
from research_to_prod.commands.terminal import Commands, Console
from research_to_prod.commands.trace import commands as trace_commands
from research_to_prod.settings import Settings, SettingsError

app = typer.Typer(cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(policy.app, name="policy")
app.add_typer(incident.app, name="incident")
app.add_typer(audit.app, name="audit")
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
def ui(
    *,
    port: Annotated[int, typer.Option(help="Port of the UI.")] = 3000,
    read_only: Annotated[bool, typer.Option("--read-only", help="Nothing can be started or changed.")] = False,
    no_daemon: Annotated[
        bool, typer.Option("--no-daemon", help="Without what runs schedules; another process does.")
    ] = False,
    host: Annotated[str, typer.Option(help="Address that it listens on, if not loopback.")] = "127.0.0.1",
    i_know_it_has_no_log_in: Annotated[
        bool, typer.Option("--i-know-it-has-no-log-in", help="Needed for a host that others can reach.")
    ] = False,
) -> None:
    """Open the Dagster UI on loopback, with the history under the data folder, for its own pages only.

    With --read-only no schedule runs from here, and it may run beside another that does.
    """
    with _told():
        from research_to_prod.defs.ui import serve

        settings = Settings.from_environment(os.environ)
    if host not in {"127.0.0.1", "::1", "localhost"} and not i_know_it_has_no_log_in:
        raise typer.BadParameter(
            f"the UI has no log-in: on {host} anybody who reaches port {port} can "
            f"{'read everything' if read_only else 'start runs, which is running code'}; keep it on loopback behind a "
            "tunnel or a proxy that asks who you are (docs/security.md), or add --i-know-it-has-no-log-in"
        )
    serve(settings, host, port, read_only=read_only, daemon=not (read_only or no_daemon))


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
