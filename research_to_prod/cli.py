"""`r2p`, the command line. Thin: each command reads settings, calls one function, answers with what it returned.

The environment and the clock enter here and in ``defs/resources.py``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from research_to_prod.commands import audit, incident, policy
from research_to_prod.commands.administrator import commands as administrator_commands
from research_to_prod.commands.answer import Answer, Commands
from research_to_prod.commands.controls import commands as control_commands
from research_to_prod.commands.delivery import commands as delivery_commands
from research_to_prod.commands.ledger import commands as ledger_commands
from research_to_prod.commands.operator import commands as operator_commands
from research_to_prod.commands.promotion import commands as promotion_commands
from research_to_prod.commands.scaffold import commands as scaffold_commands
from research_to_prod.commands.taking_back import commands as taking_back_commands
from research_to_prod.commands.terminal import Console
from research_to_prod.commands.trace import commands as trace_commands
from research_to_prod.settings import Settings

if TYPE_CHECKING:
    from research_to_prod.defs.demo import Demonstrated
    from research_to_prod.defs.runner import Run

_COLOURS = {"refused": "red", "undecided": "yellow"}

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
app.add_typer(delivery_commands)
app.add_typer(scaffold_commands, name="new")


@dataclass(frozen=True)
class Serving:
    """What is served from now on, until it is stopped; a queue has no address of its own."""

    what: str
    url: str | None = None
    key: str | None = None
    secret: str | None = None


@app.callback()
def main() -> None:
    """Research to production, and honest there."""


@app.command()
def demo() -> Answer:
    """Run the whole graph once on the sandbox venue: no exchange, no key, no database server."""
    from research_to_prod.defs.demo import run_demo

    settings = Settings.from_environment(os.environ)
    made = run_demo(settings, Console())
    return Answer(made, partial(_show_demo, made), fine=not made.failed)


def _show_demo(made: Demonstrated, console: Console) -> None:
    table = Table("candidate", "decision", "why", title="What the gates decided", title_justify="left")
    for each in made.decisions:
        colour = _COLOURS.get(each.decision, "green")
        table.add_row(each.candidate, f"[{colour}]{each.decision}[/]", escape("\n".join(each.why)))
    console.print(table)
    console.print(f"The newest desk report: {made.desk_report}", soft_wrap=True)
    console.print(f"The risk posture: {made.risk_posture}", soft_wrap=True)
    console.print(f"All reports: {made.all_reports}", soft_wrap=True)
    console.print(f"All tables for SQL: {made.warehouse}", soft_wrap=True)
    console.print(
        f"Done in {made.seconds:.0f} s. Next: [bold]make dev[/] opens the lineage graph with this "
        "history; then add a file to research_to_prod/desk/candidates/.",
        soft_wrap=True,
    )


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
) -> Iterator[Answer]:
    """Run a job, one partition a run, as the UI would; exit 1 when a run fails."""
    from research_to_prod.defs.runner import NoSuchRunError, open_runner, partition_keys

    settings = Settings.from_environment(os.environ)
    console = Console()
    with open_runner(settings, console) as runner:
        try:
            keys = partition_keys(job, partitions or [], runner.instance)
        except NoSuchRunError as error:
            raise typer.BadParameter(str(error)) from None
        for ended in runner.each(job, job, keys):
            # On the console of the bar, which a line from elsewhere would tear.
            yield Answer(ended, partial(_show_run, ended, console), ended.success)


def _show_run(ended: Run, bar: Console, _: Console) -> None:
    if not ended.success:
        bar.print(f"[red]{escape(ended.failure())}[/]")


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
) -> Iterator[Answer]:
    """Open the Dagster UI on loopback, with the history under the data folder, for its own pages only.

    With --read-only no schedule runs from here, and it may run beside another that does.
    """
    from research_to_prod.defs.ui import serve

    settings = Settings.from_environment(os.environ)
    if host not in {"127.0.0.1", "::1", "localhost"} and not i_know_it_has_no_log_in:
        raise typer.BadParameter(
            f"the UI has no log-in: on {host} anybody who reaches port {port} can "
            f"{'read everything' if read_only else 'start runs, which is running code'}; keep it on loopback behind a "
            "tunnel or a proxy that asks who you are (docs/security.md), or add --i-know-it-has-no-log-in"
        )
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    yield Answer(Serving("the Dagster UI", url), f"the Dagster UI: {url}\nall reports:    {url}/reports/")
    serve(settings, host, port, read_only=read_only, daemon=not (read_only or no_daemon))


@app.command()
def worker(processes: Annotated[int, typer.Option(min=1, help="Runs at once.")] = 2) -> Iterator[Answer]:
    """Execute runs from the queue of R2P_BROKER until stopped; start as many on as many machines as wanted."""
    settings = Settings.from_environment(os.environ)
    try:
        from research_to_prod.defs.worker import broker_of, work

        broker_of(settings)
        yield Answer(Serving("runs of the queue"), "")
        work(settings, processes)
    except (ImportError, ValueError) as error:
        hint = "; install research_to_prod[production]" if isinstance(error, ImportError) else ""
        raise typer.BadParameter(f"{error}{hint}") from None


@app.command()
def sandbox() -> Iterator[Answer]:
    """Serve the simulated venue over HTTP on loopback, in Binance's dialect, until interrupted."""
    import threading

    from research_to_prod.defs.resources import SANDBOX_SEED
    from research_to_prod.sandbox.server import API_KEY, API_SECRET, SandboxServer

    with SandboxServer(seed=SANDBOX_SEED) as server:
        yield Answer(
            Serving("the sandbox venue", server.base_url, API_KEY, API_SECRET),
            f"sandbox at {server.base_url}, key {API_KEY}, secret {API_SECRET}; Ctrl-C ends it",
        )
        threading.Event().wait()


if __name__ == "__main__":
    app()
