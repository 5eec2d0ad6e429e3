"""What an auditor gets: every record with its checkpoint and every blob that it names, in a folder or a zip.

Public keys are not in it: with them from the same hand, it would prove only that they fit together.

Belongs here: copying what verified. Doesn't: verifying the copy (`verifier`, on the auditor's machine).
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from research_to_prod.promotion import verifier
from research_to_prod.promotion.ledger import Ledger


class ExportError(ValueError):
    """There is something at the destination already, or nothing to export."""


def export(ledger: Ledger, destination: Path) -> int:
    """Write the verified ledger to ``destination``, whole or not at all, and return how many records it has.

    Parameters
    ----------
    destination
        A folder, or a file that ends in ``.zip``.

    Raises
    ------
    ExportError
        When the destination exists or the ledger is empty.
    """
    if destination.exists():
        raise ExportError(f"{destination} is there already: an export is never written over another")
    records = [each.canonical_bytes() for each in ledger.verify().entries()]
    if not records:
        raise ExportError("the ledger is empty: there is nothing to export")
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=f".{destination.name}.") as folder:
        made = Path(folder) / "made"
        if destination.suffix == ".zip":
            with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, data in _files(ledger, records):
                    archive.writestr(name, data)
        else:
            for name, data in _files(ledger, records):
                path = made / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        shutil.move(made, destination)
    return len(records)


def _files(ledger: Ledger, records: list[bytes]) -> Iterator[tuple[str, bytes]]:
    yield verifier.RECORDS, b"".join(record + b"\n" for record in records)
    for size in range(1, len(records) + 1):
        yield f"{verifier.CHECKPOINTS}{size:08d}", ledger.checkpoint(size)
    named = [name for record in records for name in verifier.named_blobs(verifier.parse_record(record)).values()]
    for name in dict.fromkeys(named):
        yield f"{verifier.BLOBS}{name[:2]}/{name}", ledger.blobs.read(name)
