"""A run that was declared over writes nothing more.

A paused process (a laptop's lid, a stopped machine, a long stall) outlives the limit after which the monitor frees its
run. The run is done again, and when the process wakes it would put its older rows over the newer ones. Belongs here:
the question before each commit. Doesn't: who declares a run over (``dagster.yaml``, ``runner``).
"""

from __future__ import annotations

import dagster as dg


class FencedError(RuntimeError):
    """The run was declared over while its process went on; nothing of it is written any more."""


def refuse_finished(instance: dg.DagsterInstance, run_id: str) -> None:
    """Raise when the run is over by the instance's word, or unknown to it.

    Between this answer and the commit a run may still be declared over: the window is one commit long.

    Raises
    ------
    FencedError
    """
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        said = "is unknown" if run is None else f"was declared {run.status.value.lower()}"
        raise FencedError(f"run {run_id} {said} while its process goes on: it writes nothing more; launch it again")
