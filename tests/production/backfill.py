"""How long a backfill of 40 months takes with one worker and with two (`make bench-production`).

Each number of workers gets an installation of its own on Postgres, Redis and S3, all of this machine: their share of it
is in the figures. A backfill is started as the UI starts it. Time counts from the first run's start to the last one's
end: what the daemon waits before it looks at a backfill, up to half a minute, is no worker's.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import dagster as dg
from rich.console import Console

from research_to_prod.defs.partitions import MONTHS
from research_to_prod.defs.runner import open_instance
from tests.production.servers import Production, services, started

PARTITIONS = 40
LIMIT = 7200.0
LAUNCH = """
mutation($of: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $of) { ... on LaunchBackfillSuccess { backfillId } ... on Error { message } }
}
"""


def ask(production: Production, query: str, **variables: Any) -> dict[str, Any]:
    """Ask the webserver what the UI asks it."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    url = f"http://127.0.0.1:{production.port}/graphql"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
        return dict(json.load(answer)["data"])


def backfill(production: Production, months: list[str]) -> tuple[float, float]:
    """Materialize ``months`` by one backfill; return seconds from first start to last end, and seconds of all runs."""
    repository = {"repositoryName": "__repository__", "repositoryLocationName": "research_to_prod"}
    selector = {"partitionSetName": "market_data_partition_set", "repositorySelector": repository}
    answer = ask(production, LAUNCH, of={"selector": selector, "partitionNames": months})["launchPartitionBackfill"]
    tags = {"dagster/backfill": answer["backfillId"]}
    deadline = time.monotonic() + LIMIT
    with open_instance(production.settings) as instance:
        while True:
            records = instance.get_run_records(dg.RunsFilter(tags=tags))
            if len(records) == len(months) and all(each.dagster_run.is_finished for each in records):
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(records)} runs of {len(months)} after {LIMIT} s; see {production.logs}")
            time.sleep(1)
    failed = [each.dagster_run.run_id for each in records if not each.dagster_run.is_success]
    if failed or set(months) != set(production.lake.versions("candles")):
        raise RuntimeError(f"not all months came: {failed}; see {production.logs}")
    spans = [(each.start_time or 0.0, each.end_time or 0.0) for each in records]
    return max(end for _, end in spans) - min(start for start, _ in spans), sum(end - start for start, end in spans)


def main() -> None:
    """Print a line for each number of workers."""
    console, months, taken = Console(), list(MONTHS.get_partition_keys())[:PARTITIONS], {}
    for workers in (1, 2):
        with (
            tempfile.TemporaryDirectory(prefix="r2p-") as folder,
            services(Path(folder, "services")) as running,
            started(running, Path(folder, "data"), workers=workers) as production,
        ):
            load = os.getloadavg()[0]
            taken[workers], runs = backfill(production, months)
        console.print(
            f"{workers} workers: {PARTITIONS} months in {taken[workers]:.0f} s, {taken[workers] / PARTITIONS:.1f} s a "
            f"month, {runs / PARTITIONS:.1f} s a run; load of {os.cpu_count()} cores before {load:.1f}",
            highlight=False,
            soft_wrap=True,
        )
    console.print(f"two workers are {taken[1] / taken[2]:.2f} times as fast as one", highlight=False)


if __name__ == "__main__":
    main()
