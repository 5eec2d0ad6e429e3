"""A worker: takes runs from the queue and executes them, one a process, until it is stopped.

Belongs here: the Celery application of the launcher's tasks. Doesn't: what a run does.
"""

from __future__ import annotations

import os

from research_to_prod.defs.runner import open_instance
from research_to_prod.settings import Settings


def broker_of(settings: Settings) -> str:
    """Return the address of the queue.

    Raises
    ------
    ValueError
        If the settings name none.
    """
    if settings.broker is None:
        raise ValueError("there is no queue to work on; set R2P_BROKER and R2P_POSTGRES (docs/deployment.md)")
    return settings.broker.get_secret_value()


def work(settings: Settings, processes: int) -> None:
    """Work until SIGTERM; runs that were begun are finished first.

    Parameters
    ----------
    processes
        Runs at once; a run is one process and about 0.6 GB.

    Raises
    ------
    ValueError
        As `broker_of`.
    """
    from dagster_celery.make_app import make_app
    from dagster_celery.tasks import create_execute_job_task, create_resume_job_task

    broker = broker_of(settings)
    with open_instance(settings):
        pass  # the home exists now, with the project's dagster.yaml
    # The launcher's tasks open the instance by themselves, from here.
    os.environ["DAGSTER_HOME"] = str(settings.dagster_home.resolve())
    app = make_app({"broker": broker, "backend": broker})
    # A worker takes no run before it is free to begin it.
    app.conf.update(worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True)
    create_execute_job_task(app)
    create_resume_job_task(app)
    app.worker_main(
        ["worker", f"--concurrency={processes}", "--loglevel=WARNING", "--queues=dagster", "--without-mingle"]
    )
