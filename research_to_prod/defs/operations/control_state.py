"""What is held back now, and since when, in the graph."""

from collections.abc import Callable
from datetime import datetime

import dagster as dg
import pyarrow as pa

from research_to_prod.defs.publishing import publish, table_preview
from research_to_prod.defs.tables import described
from research_to_prod.lake import Lake
from research_to_prod.settings import Settings


@dg.asset(
    group_name="controls",
    owners=["team:operations"],
    kinds={"python"},
    code_version="1",
    metadata=described("control_state"),
)
def control_state(
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Callable[[], datetime]],
) -> dg.MaterializeResult:
    """Where each mitigation ladder stands, from its journal gone through again line by line.

    - **A row** is one ladder: on everything, on a venue or on a candidate.
    - **It is for** the production manifest, which withholds what is held back. Levels rise by the rules of
      ``policies/ladder.yaml`` and by ``r2p kill`` and ``r2p hold``; only ``r2p release`` lets them down, in the names
      of people.
    - **It breaks** when a line of the journal is torn, changed or missing: bring the file back from a copy.
    """
    from research_to_prod.operations.contracts import CONTROL_STATE
    from research_to_prod.operations.control_journal import MODES, ControlJournal

    now = clock()
    states = ControlJournal(settings.controls).ladders().states
    rows = pa.Table.from_pylist(
        [
            {
                "scope": target.scope.value,
                "name": target.name,
                "level": int(state.level),
                "mode": MODES[state.level].value,
                "since": state.since,
                "by": state.by,
                "because": state.because,
                "as_of": now,
            }
            for target, state in sorted(states.items())
        ],
        schema=CONTROL_STATE.arrow,
    )
    return publish(
        lake,
        "control_state",
        None,
        rows,
        ladders=rows.num_rows,
        highest_level=max((int(state.level) for state in states.values()), default=0),
        preview=table_preview(rows.drop_columns(["as_of"])),
    )
