"""The end of a key: of somebody who left, or whose machine was lost.

Belongs here: the signed record and the line in ``keys.json``. Doesn't: making keys and trusting them (`keys`). A log
can end a key that its readers trust and never make one trusted: this needs a named person, and nobody's approval.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from research_to_prod.promotion.files import replace_file
from research_to_prod.promotion.keys import KeyFileError, KeyRole, Keys, PublicKey, public_entries, read_keys
from research_to_prod.promotion.ledger import Ledger
from research_to_prod.promotion.record import Change, KeyEntry, RecordType, to_utc_millis


def end_key(ledger: Ledger, path: Path, key: str, *, by: str, reason: str, now: datetime) -> tuple[str, PublicKey]:
    """End a key at ``now``: first as a signed record, then in the desk's ``keys.json``; return its id and its entry.

    What it signed before stays signed. An approval that is signed and not yet recorded does not count any more. Ended
    between the two steps, the same call again finishes it, at the time that the record has.

    Parameters
    ----------
    path
        The desk's ``keys.json``.
    key
        The first characters of the key's id.

    Raises
    ------
    KeyFileError
        If no key or several begin so, it has ended already, or it is the log's: a log whose key has ended takes no more
        records, and its readers need another one.
    LedgerError
        If the ledger does not verify, or refuses the record.
    """
    known = read_keys(path).public
    found = [name for name in known if name.startswith(key)]
    if len(found) != 1 or not key:
        raise KeyFileError(f"{len(found)} keys of {path} begin with {key!r}: `r2p keys list` shows them")
    (name,) = found
    entry, now = known[name], to_utc_millis(now)
    if entry.role is KeyRole.LOG:
        raise KeyFileError(f"{name} is the log's key: ended, the log takes no more records; start another log instead")
    if entry.valid_to is not None:
        raise KeyFileError(f"key {name} of {entry.person} ends at {entry.valid_to} already")
    recorded = [each for each in ledger.verify().changes if each.key_id == name and each.key and each.key.valid_to]
    if recorded:
        ends = min(each.key.valid_to for each in recorded if each.key and each.key.valid_to)
    else:
        ends = now
        told = KeyEntry.model_validate(entry.model_dump() | {"valid_to": ends})
        ledger.record_change(
            Change(
                type=RecordType.KEY_CHANGE,
                decision_id=f"key_change:{name[:16]}:{ends.isoformat()}",
                recorded_at=ends,
                author=by,
                reasons=(reason,),
                key_id=name,
                key=told,
            )
        )
    ended = PublicKey.model_validate(entry.model_dump() | {"valid_to": ends})
    replace_file(path, public_entries(Keys({**known, name: ended})))
    return name, ended
