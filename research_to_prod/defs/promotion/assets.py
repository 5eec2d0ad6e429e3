"""Promotion: a materialization that succeeds only on proof; and what may trade because of it."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import dagster as dg

from research_to_prod.defs.gates.assets import gate_report
from research_to_prod.defs.partitions import CANDIDATES
from research_to_prod.lake import Lake
from research_to_prod.settings import Settings

TOLD = 20
"""Reasons in the message of a refusal; a candidate without its data has hundreds."""


@dg.asset(
    deps=[gate_report],
    partitions_def=CANDIDATES,
    group_name="promotion",
    owners=["team:risk"],
    kinds={"ed25519"},
    code_version="1",
)
def promotion(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Callable[[], datetime]],
) -> dg.MaterializeResult:
    """One decision on the way of a candidate: research to paper, paper to canary, canary to live.

    - **A materialization** is one signed record in the promotion ledger, with everything that it rests on.
    - **It is for** the production manifest: what is promoted is what the ledger says, not that this asset is green.
    - **It breaks** when anything is missing, stale, failed, forged or deselected. The failed run shows all reasons and
      the next step, and the refusal with its reasons is a signed record too.

    It proves its case from the event log over everything upstream, evaluates the gates again itself, and only then
    succeeds.
    """
    from research_to_prod.defs.promotion.decision import decide_promotion

    outcome = decide_promotion(
        context.instance, lake, settings, context.partition_key, run_id=context.run.run_id, now=clock()
    )
    metadata: dict[str, str | int | dg.MetadataValue] = {
        "decision": outcome.record.type.value,
        "ledger_seq": outcome.record.seq,
        "record_sha256": outcome.record.sha256,
        "inputs_proven": len(outcome.evidence.inputs),
        "checks_proven": len(outcome.evidence.checks),
    }
    if not outcome.promoted:
        reasons = outcome.reasons
        told = "".join(f"\n- {reason}" for reason in reasons[:TOLD])
        more = f"\n- and {len(reasons) - TOLD} more, under `reasons` below" if len(reasons) > TOLD else ""
        raise dg.Failure(
            f"promotion of {context.partition_key} refused, {len(reasons)} reasons:{told}{more}",
            # The UI shows the first entries of a failure, and the others on asking.
            metadata={
                "next_step": outcome.next_step,
                "reasons": dg.MetadataValue.md("\n".join(f"1. {reason}" for reason in reasons)),
                **metadata,
            },
            allow_retries=False,
        )
    return dg.MaterializeResult(data_version=dg.DataVersion(outcome.record.sha256), metadata=metadata)


@dg.asset(
    deps=[dg.AssetDep(promotion, partition_mapping=dg.AllPartitionMapping()), "control_state"],
    group_name="promotion",
    owners=["team:risk"],
    kinds={"ed25519"},
    code_version="1",
)
def production_manifest(
    settings: dg.ResourceParam[Settings], clock: dg.ResourceParam[Callable[[], datetime]]
) -> dg.MaterializeResult:
    """What may trade now, at which stage and size: derived from the verified ledger and the controls in force, signed.

    - **A materialization** is one version of ``data/production/manifest.json``.
    - **It is for** execution systems, which read that file, refuse it when the signature does not hold, and stop when
      it is out of date.
    - **It breaks** when the ledger or the controls' journal does not verify, or the manifest there is of another
      ledger: then the old one stays until it runs out.
    """
    from research_to_prod.operations.control_journal import ControlJournal
    from research_to_prod.promotion.keys import open_keys
    from research_to_prod.promotion.ledger import Ledger
    from research_to_prod.promotion.manifest import production_manifest as derive
    from research_to_prod.promotion.manifest import write_manifest

    now = clock()
    keys = open_keys(settings.keys, now)
    controls = ControlJournal(settings.controls).ladders().controls()
    manifest = derive(Ledger(settings.ledger, keys).records(), now, controls)
    path = settings.production / "manifest.json"
    write_manifest(path, manifest, keys)
    entries = [{"candidate": each.candidate, "stage": each.stage.value, "seq": each.seq} for each in manifest.entries]
    withheld = "\n".join(f"1. {each.candidate}: {each.mode}: {'; '.join(each.reasons)}" for each in manifest.withheld)
    return dg.MaterializeResult(
        metadata={
            "path": dg.MetadataValue.path(Path(path)),
            "ledger_size": manifest.ledger_size,
            "valid_until": dg.MetadataValue.timestamp(manifest.valid_until),
            "withheld": dg.MetadataValue.md(withheld or "nothing"),
            "entries": dg.MetadataValue.table([dg.TableRecord(each) for each in entries]) if entries else "nothing",
        }
    )


@dg.asset(
    deps=[dg.AssetDep(promotion, partition_mapping=dg.AllPartitionMapping())],
    group_name="promotion",
    owners=["team:risk"],
    kinds={"ed25519"},
    code_version="1",
)
def approvals_pending(
    settings: dg.ResourceParam[Settings], clock: dg.ResourceParam[Callable[[], datetime]]
) -> dg.MaterializeResult:
    """Promotions that passed every gate, and changes of policies, that wait for people.

    - **A materialization** is the list at one moment: until when, who has approved, and who may.
    - **It is for** approvers. Nobody approves in this UI: a person reads and signs the request on their own machine
      (``r2p approve``), brings the envelope to ``data/approvals/``, and ``promotion`` is materialized again.
    - **It breaks** when the ledger does not verify. A request that can't be read is left out, and asked again by the
      next promotion.
    """
    from research_to_prod.defs.promotion.decision import waiting_decisions

    rows: list[dict[str, str | int]] = [
        {
            "decision": each.what,
            "until": f"{each.asked.request.expires_at:%Y-%m-%d %H:%M}Z",
            "people": each.asked.request.people,
            "approved": ", ".join(each.approved) or "nobody",
            "may_approve": ", ".join(each.waiting_for) or "nobody: add a key with r2p keys trust",
            "refused": "; ".join(each.refused),
            "run": f"r2p approve {each.path} --key FILE",
        }
        for each in waiting_decisions(settings, clock())
    ]
    table = dg.MetadataValue.table([dg.TableRecord(row) for row in rows]) if rows else dg.MetadataValue.text("nothing")
    return dg.MaterializeResult(metadata={"waiting": len(rows), "decisions": table})
