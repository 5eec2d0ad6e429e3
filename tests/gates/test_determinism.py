"""The same evidence gives the same bytes: in any process, on any number of threads, from rows in any order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from research_to_prod.gates.evaluation import evaluate
from research_to_prod.gates.evidence import gather_evidence
from research_to_prod.gates.validation_statistics import assess_significance
from research_to_prod.research.trial_ledger import TrialLedger
from research_to_prod.research.trials import Experiment, run_trials
from research_to_prod.research.validation.measures import validation_table
from research_to_prod.research.validation.study import validate_candidate
from tests.gates.good_evidence import POLICY
from tests.gates.test_evidence import ASKED, BACKTEST, CANDIDATE, HOURS, STRATEGY, bars, findings, quality


def tables(folder: Path) -> tuple[dict[str, pa.Table], TrialLedger]:
    """Return everything that the gates read of a candidate, as the pipeline makes it."""
    ledger = TrialLedger(folder / "trials.jsonl")
    trials = run_trials(CANDIDATE, STRATEGY, bars(), ledger, **ASKED)
    made = validate_candidate(Experiment(CANDIDATE, STRATEGY, bars(), ledger, **ASKED), trials)
    significance = assess_significance(made.returns, made.own, CANDIDATE.sha256)
    validation = validation_table(CANDIDATE.name, [*made.measures, *significance])
    return {"backtest": BACKTEST, "validation": validation, "quality": quality(HOURS), "findings": findings()}, ledger


def judged(rows: dict[str, pa.Table], ledger: TrialLedger) -> bytes:
    evidence = gather_evidence(
        CANDIDATE, STRATEGY, rows["quality"], rows["findings"], rows["backtest"],
        ledger.trials(CANDIDATE.strategy, CANDIDATE.universe),
        validation=rows["validation"], bars=bars(), book=(),
    )  # fmt: skip
    return evaluate(POLICY, evidence).canonical_bytes()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, pa.Table], TrialLedger]:
    return tables(tmp_path_factory.mktemp("made"))


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_rows_read_by_duckdb_on_any_number_of_threads_give_the_same_bytes(
    made: tuple[dict[str, pa.Table], TrialLedger], tmp_path: Path, threads: int
) -> None:
    """Many small files, read without an order: eight threads hand the rows out as they come."""
    rows, ledger = made
    read = {}
    with duckdb.connect(config={"threads": threads, "preserve_insertion_order": "false"}) as connection:
        for name, table in rows.items():
            folder = tmp_path / name
            folder.mkdir()
            for number in range(0, max(1, table.num_rows), 500):
                part = table.slice(number, 500)  # noqa: F841 - DuckDB reads it by its name
                connection.execute("COPY part TO $path (FORMAT parquet)", {"path": f"{folder / str(number)}.parquet"})
            read[name] = connection.read_parquet(f"{folder}/*.parquet").to_arrow_table().cast(table.schema)
    assert judged(read, ledger) == judged(rows, ledger)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_rows_changes_no_byte(made: tuple[dict[str, pa.Table], TrialLedger], seed: int) -> None:
    rows, ledger = made
    rng = np.random.default_rng(seed)
    shuffled = {name: table.take(rng.permutation(table.num_rows)) for name, table in rows.items()}
    assert judged(shuffled, ledger) == judged(rows, ledger)


@pytest.mark.slow
def test_every_process_with_any_number_of_threads_makes_and_judges_the_same(tmp_path: Path) -> None:
    """From the bars on: trials, validation, and verdict, with other hash seeds and numbers of threads."""
    code = (
        "import sys; from pathlib import Path; from tests.gates.test_determinism import judged, tables;"
        "print(judged(*tables(Path(sys.argv[1]))).decode())"
    )
    printed = []
    for threads, zone in (("1", "UTC"), ("2", "Asia/Tokyo"), ("8", "America/Lima")):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "PYTHONHASHSEED")
        folder = tmp_path / threads
        folder.mkdir()
        command = [sys.executable, "-W", "ignore", "-c", code, str(folder)]
        environment = {
            **os.environ,
            **dict.fromkeys(names, threads),
            "TZ": zone,
        }
        printed.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(set(printed)) == 1
    assert json.loads(printed[0])["verdict"] in ("fail", "inconclusive")


def test_no_environment_variable_reaches_a_verdict(
    made: tuple[dict[str, pa.Table], TrialLedger], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each name that others gave a bypass, and every setting of ours, switched on."""
    before = judged(*made)
    for name in ("ALLOW_PROMOTION_OVERRIDE", "SKIP_GATES", "FORCE", "CI", "DEBUG", "R2P_SKIP_GATES", "R2P_FORCE"):
        monkeypatch.setenv(name, "1")
    assert judged(*made) == before
