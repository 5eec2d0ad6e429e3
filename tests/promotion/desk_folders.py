"""A desk's keys, ledger and approvals in a folder, and the people who approve, each with a key of their own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from research_to_prod.promotion.keys import PUBLIC_FILE, Keys, new_approver, open_keys, public_entries, trust
from research_to_prod.promotion.ledger import Ledger
from research_to_prod.promotion.waiting import ApprovalFolder

# The command line has the real clock, so the tests with approvals live now.
NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)


class DeskFolders:
    """What the pipeline and the people who approve see of a desk."""

    def __init__(self, root: Path) -> None:
        self.root, self.data = root, root / "data"
        open_keys(self.data / "keys", NOW - timedelta(minutes=10))
        self.folder = ApprovalFolder(self.data / "approvals")

    @property
    def keys(self) -> Keys:
        return open_keys(self.data / "keys", NOW)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.data / "ledger", self.keys)

    def approver(self, name: str) -> Keys:
        """Make a key for somebody, whom the desk trusts from then on."""
        key = new_approver(self.root / f"{name}.key", f"user:{name}", NOW)
        (self.root / f"{name}.json").write_bytes(public_entries(key))
        trust(self.data / "keys" / PUBLIC_FILE, self.root / f"{name}.json")
        return key
