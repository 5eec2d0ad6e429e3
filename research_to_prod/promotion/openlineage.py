"""A traced decision as OpenLineage events, for catalogues that read those; written by hand, no client is needed.

Two events, START and COMPLETE, of one run: the decision, whose inputs are every partition of its closure and whose
output is its record. The spec asks for both; they bear the record's time, because the log knows no other. Runs upstream
are not told: the record holds which they were, not when they ran.

A consumer may not keep what is here: Marquez replaces an older input version by the newest (its issue 2733). The record
is the proof, the events are a copy for looking around. Spec: https://openlineage.io/spec/2-0-2/OpenLineage.json
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

from research_to_prod.promotion.trace import Partition, Trace
from research_to_prod.promotion.verifier import time_text

NAMESPACE = "research_to_prod"
_SPEC = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/"
_FACETS = "https://openlineage.io/spec/facets/"


def run_events(trace: Trace) -> Iterator[str]:
    """Yield the START and the COMPLETE event of the decision, each as one line of JSON."""
    record = trace.record
    producer = f"urn:research_to_prod:{record.code.version}"
    event = {
        "eventTime": time_text(record.recorded_at),
        "producer": producer,
        "schemaURL": f"{_SPEC}RunEvent",
        "run": {
            "runId": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{record.log_id}:{record.seq}")),
            "facets": {"r2p_decision": _facet(producer, "RunFacet", **_decision(trace))},
        },
        "job": {"namespace": NAMESPACE, "name": f"promotion.{record.candidate}"},
    }
    output = {
        "namespace": NAMESPACE,
        "name": f"promotion_ledger/{record.log_id}",
        "facets": {"version": _version(producer, f"{record.seq}:{trace.record_sha256}")},
    }
    yield json.dumps(event | {"eventType": "START"}, sort_keys=True)
    inputs = [_dataset(producer, each) for each in trace.inputs()]
    yield json.dumps(event | {"eventType": "COMPLETE", "inputs": inputs, "outputs": [output]}, sort_keys=True)


def _decision(trace: Trace) -> dict[str, Any]:
    record = trace.record
    named = {"log_id", "seq", "decision_id", "type", "candidate", "candidate_sha256", "from_stage", "to_stage"}
    hashed = {"policy", "code", "parameters_sha256", "evidence_sha256", "gate_report_sha256", "dagster"}
    said = record.model_dump(mode="json", exclude_none=True, include=named | hashed)
    return said | {"record_sha256": trace.record_sha256}


def _dataset(producer: str, part: Partition) -> dict[str, Any]:
    content = {"content_sha256": part.content_sha256, "rows": part.rows, "run_id": part.run_id}
    return {
        "namespace": NAMESPACE,
        "name": f"lake/{part.asset}" + (f"/{part.partition}" if part.partition else ""),
        "facets": {
            "version": _version(producer, str(part.version)),
            "r2p_content": _facet(producer, "DatasetFacet", **content),
        },
    }


def _version(producer: str, version: str) -> dict[str, Any]:
    schema = f"{_FACETS}1-0-0/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet"
    return {"_producer": producer, "_schemaURL": schema, "datasetVersion": version}


def _facet(producer: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {"_producer": producer, "_schemaURL": f"{_SPEC}{kind}", **fields}
