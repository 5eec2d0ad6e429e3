"""The lake: Delta tables, one ACID commit per write, every version readable for ever.

Belongs here: writing, reading, versions, SQL over the tables. Doesn't: what the tables mean (the rooms declare
their schemas), Dagster (``io_manager.py``), the published warehouse (``warehouse.py``).
"""

from __future__ import annotations

import random
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from research_to_prod.lake import change, evolution, files, log
from research_to_prod.lake.change import Change
from research_to_prod.lake.handles import Handles
from research_to_prod.lake.log import LakeError, Version
from research_to_prod.lake.schema import Schema
from research_to_prod.lake.slices import partition_hash

_SAFE_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SAFE_TABLE = re.compile(r"[a-z][a-z0-9_]{0,63}")
# Tried with three processes on one partition: no writer needed more than 6 attempts; 30 leaves room for 50 writers.
_ATTEMPTS = 30


@dataclass(frozen=True)
class Snapshot:
    """Rows as read, in (partition, key) order, with the exact versions that they came from."""

    rows: pa.Table
    versions: tuple[Version, ...]

    @property
    def pandas(self) -> pd.DataFrame:
        """The rows as a data frame."""
        frame: pd.DataFrame = self.rows.to_pandas()
        return frame


@contextmanager
def _memory_connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        yield connection


def _anybody() -> None:
    """Let every writer write."""


class Lake:
    """Delta tables under one root, local or remote.

    Parameters
    ----------
    root
        Folder or URI that holds one Delta table a directory.
    connect
        Gives a fresh in-memory DuckDB connection; Dagster hands in its ``DuckDBResource``'s.
    admit
        Asked before each commit; raises when this writer must not write any more.
    """

    def __init__(
        self,
        root: Path | str,
        connect: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]] = _memory_connection,
        admit: Callable[[], None] = _anybody,
    ) -> None:
        self.root = str(root)
        self._connect = connect
        self._admit = admit
        self._handles = Handles()

    def write(self, table: str, partition: str | None, rows: pa.Table | pd.DataFrame, schema: Schema) -> Version:
        """Replace one partition (or the whole unpartitioned table) in one commit.

        Columns are matched by name. A writer that loses the commit race runs again whole, after a random pause. Of a
        table that is stored in slices, files whose rows are as they should be stay.

        Raises
        ------
        SchemaError
            Unknown, missing or mistyped columns, rows outside the partition, repeated keys: nothing is written.
        LakeError
            If the commit lost its race too often.
        """
        conformed = schema.conform(rows, partition)
        whole = change.whole(conformed, partition, schema)

        def changed(target: DeltaTable) -> Change:
            if whole.slices is None:
                return whole
            return change.sparing(whole, conformed, schema, target, log.versions(table, target).get(partition))

        return self._commit(table, partition, schema, changed)

    def write_span(
        self,
        table: str,
        partition: str,
        span: tuple[datetime, datetime],
        rows: pa.Table | pd.DataFrame,
        schema: Schema,
    ) -> Version:
        """Replace the rows of a partition from ``span[0]`` until before ``span[1]`` in one commit, and no others.

        The partition then has the rows, and the content hash, that writing it whole would have given it. Only the files
        that hold some of the span are written anew, so the table must be stored in slices
        (``PartitionBy.slice_days``).

        Raises
        ------
        SchemaError
            As `write`; also rows outside the span, and a table without slices.
        LakeError
            If the partition was never written, the files that the span touches were changed since, or the commit lost
            its race too often.
        """
        conformed = schema.conform(rows, partition)
        self.version(table, partition)
        return self._commit(
            table,
            partition,
            schema,
            lambda target: change.within(span, conformed, schema, target, log.versions(table, target)[partition]),
        )

    def upgrade(self, table: str, schema: Schema) -> list[str]:
        """Make a stored table what ``schema`` declares; return the columns that it was not.

        Columns are added, nullable and behind the others, or allowed to be null. Files and versions stay as they are:
        rows from before are null where a column came later.

        Raises
        ------
        SchemaError
            If anything else has changed; the table stays as it was.
        LakeError
            If there is no such table, or others kept committing to it.
        """
        for _ in range(_ATTEMPTS):
            with suppress(CommitFailedError):
                return evolution.upgrade(table, self._open(table), schema)
        raise LakeError(f"upgrading {table} lost its commit race {_ATTEMPTS} times; stop its writers")

    def outdated_columns(self, table: str, schema: Schema) -> list[str]:
        """Return what `upgrade` would change, and refuse what it would refuse."""
        return evolution.outdated_columns(table, self._open(table), schema)

    def _commit(
        self, table: str, partition: str | None, schema: Schema, changed: Callable[[DeltaTable], Change]
    ) -> Version:
        if partition is not None:
            _check(_SAFE_KEY, "partition key", partition)
        # The commit's own name: after a race delta-rs reports a version that may be another writer's.
        commit_id = uuid.uuid4().hex
        for attempt in range(_ATTEMPTS):
            try:
                target = self._open_or_create(table, schema)
                done = changed(target)
                metadata = log.commit_metadata(commit_id, partition, done.content_sha256, done.rows, done.slices)
                # Two spans of a partition touch other files, which Delta takes for no conflict; yet each commit says
                # what the whole partition holds. Commits that name one transaction do conflict.
                told = [] if done.slices is None else [Transaction(partition or "", target.version())]
                self._admit()
                write_deltalake(
                    target,
                    done.stored,
                    mode="overwrite",
                    predicate=done.replaces,
                    writer_properties=files.parquet(schema),
                    commit_properties=CommitProperties(
                        metadata | log.summary_metadata(table, target), app_transactions=told
                    ),
                )
            except CommitFailedError:
                # Jitter only spreads contenders; it never reaches the data, so it need not be an input.
                time.sleep(random.uniform(0.01, 0.05) * min(attempt + 1, 10))  # noqa: S311
                continue
            version = log.committed(table, target, commit_id) or log.committed(table, self._open(table), commit_id)
            if version is None:
                raise LakeError(f"the commit of {table} {partition or ''} is not in the table's log; write it again")
            return version
        raise LakeError(f"writing {table} {partition or ''} lost its commit race {_ATTEMPTS} times; write it again")

    def read(
        self,
        table: str,
        partitions: str | Sequence[str] | None = None,
        version: int | None = None,
        where: Mapping[str, str] | None = None,
    ) -> Snapshot:
        """Read partitions of a table, as of now or of a Delta version.

        Parameters
        ----------
        partitions
            One key, several, or None for all.
        version
            The Delta version to read as of; None reads the newest.
        where
            Only the rows with these values in these key columns, such as one market of a month; of the files only
            the parts that may hold them are read.

        Raises
        ------
        LakeError
            If the table, the version, or one of the named partitions was never written, or a column of ``where`` is
            not of the key.
        """
        return _read(table, self._open(table, version), partitions, where or {})

    def read_version(self, version: Version) -> pa.Table:
        """Read exactly what ``version`` committed, and prove it by its hash.

        Columns that the table was given later are null in it.

        Raises
        ------
        LakeError
            If the stored rows can't be read any more, or no longer have the recorded content hash.
        """
        delta = self._open(version.table, version.version)
        try:
            rows = _read(version.table, delta, version.partition, {}).rows
        except (OSError, pa.ArrowInvalid) as error:
            raise LakeError(
                f"{version.table} {version.partition or ''} version {version.version} cannot be read: {error}"
            ) from error
        found = partition_hash(rows, evolution.slicing_of(delta))
        if found != version.content_sha256:
            raise LakeError(
                f"{version.table} {version.partition or ''} version {version.version} has content {found}, "
                f"recorded was {version.content_sha256}: the stored files were changed"
            )
        return evolution.with_later_columns(rows, self._open(version.table))

    def pieces(self, version: Version, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield some columns of what ``version`` committed, as stored, a row group or less at a time.

        For what is too large to hold at once. Texts come dictionary-encoded: decoding two of twenty million rows takes
        as long as reading all else.
        """
        delta = self._open(version.table, version.version)
        for stored in files.datasets(delta, [version.partition], encoded=True):
            for batch in stored.to_batches(columns=list(columns)):
                yield pa.Table.from_batches([batch])

    def version(self, table: str, partition: str | None) -> Version:
        """Return the current version of one partition."""
        versions = log.versions(table, self._open(table))
        _refuse_missing(table, versions, [partition])
        return versions[partition]

    def versions(self, table: str) -> dict[str | None, Version]:
        """Return the current version of every partition of a table."""
        return log.versions(table, self._open(table))

    def history(self, table: str, partition: str | None) -> tuple[Version, ...]:
        """Return every version that one partition ever had, oldest first."""
        return tuple(log.history(table, self._open(table), partition))[::-1]

    def partitions(self, table: str) -> tuple[str, ...]:
        """Return the names of a table's partitions, sorted; none of a table that was never written."""
        delta = self._handles.newest(self._uri(table))
        found = {} if delta is None else log.versions(table, delta)
        return tuple(sorted(each for each in found if each is not None))

    def has(self, table: str, partition: str | None = None) -> bool:
        """Tell whether the partition (or unpartitioned table) was ever written."""
        if _SAFE_TABLE.fullmatch(table) is None:
            return False
        delta = self._handles.newest(self._uri(table))
        return delta is not None and partition in log.versions(table, delta)

    def tables(self) -> list[str]:
        """Return the names of all tables, sorted."""
        return [name for name in files.folders(self.root) if DeltaTable.is_deltatable(f"{self.root}/{name}")]

    def relation(self, table: str, partitions: Sequence[str] | None = None) -> duckdb.DuckDBPyRelation:
        """Return a lazy relation over the current rows; nothing is read before it is asked for rows.

        Raises
        ------
        LakeError
            If the table or one of the named partitions was never written.
        """
        delta = self._open(table)
        if partitions is not None:
            _refuse_missing(table, log.versions(table, delta), partitions)
        return files.relation(duckdb.connect(":memory:"), delta, partitions)

    @contextmanager
    def connection(self, tables: Sequence[str] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield an in-memory DuckDB connection with a view per table, locked to the lake's files."""
        with self._connect() as connection:
            for table in self.tables() if tables is None else tables:
                files.relation(connection, self._open(table)).create_view(table)
            self._lock(connection)
            yield connection

    def sql(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> pa.Table:
        """Run one SELECT over the current tables; values are bound, never pasted into the text.

        Raises
        ------
        duckdb.Error
            For wrong SQL, and for any access outside the lake.
        """
        with self.connection() as connection:
            return connection.execute(query, parameters).to_arrow_table()

    def _lock(self, connection: duckdb.DuckDBPyConnection) -> None:
        folders = [] if files.is_remote(self.root) else [str(Path(self.root).resolve())]
        connection.execute("SET allowed_directories = ?", [folders])
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")

    def _uri(self, table: str) -> str:
        _check(_SAFE_TABLE, "table name", table)
        return f"{self.root}/{table}"

    def _open(self, table: str, version: int | None = None) -> DeltaTable:
        uri = self._uri(table)
        try:
            delta = self._handles.newest(uri) if version is None else DeltaTable(uri, version=version)
        except TableNotFoundError:
            delta = None
        except DeltaError as error:
            raise LakeError(f"{table} cannot be read at version {version}: {error}") from error
        if delta is None:
            raise LakeError(f"the lake at {self.root} has no table {table!r}; materialize it first")
        return delta

    def _open_or_create(self, table: str, schema: Schema) -> DeltaTable:
        delta = self._handles.newest(self._uri(table))
        if delta is not None:
            evolution.refuse_other_storage(table, delta, schema)
            return delta
        return DeltaTable.create(
            self._uri(table),
            schema.stored,
            mode="ignore",
            partition_by=schema.hive or None,
            description=schema.description,
            # Superseded versions stay readable: an audit re-reads what the gate read.
            # A write re-reads the log since the last checkpoint: 17 ms after 10 commits, 63 ms after 100.
            configuration={
                evolution.KEY_PROPERTY: ",".join(schema.key),
                evolution.SLICING_PROPERTY: str(schema.slicing or ""),
                "delta.enableExpiredLogCleanup": "false",
                "delta.checkpointInterval": "20",
            },
            raise_if_key_not_exists=False,
            # Of writers that create at once delta-rs lets the later ones commit a second creation, under another table
            # id, in a third of the tries. Without its own retries they lose the race, and find the table next time.
            commit_properties=CommitProperties(max_commit_retries=0),
        )


def _read(table: str, delta: DeltaTable, partitions: str | Sequence[str] | None, where: Mapping[str, str]) -> Snapshot:
    wanted = [partitions] if isinstance(partitions, str) else partitions
    versions = log.versions(table, delta)
    if wanted is not None:
        _refuse_missing(table, versions, wanted)
    if not versions or wanted == []:
        raise LakeError(f"nothing of {table} was asked for, or nothing was written; name a partition that was")
    key = delta.metadata().configuration[evolution.KEY_PROPERTY].split(",")
    if not set(where) <= set(key):
        raise LakeError(f"rows of {table} can be chosen by {', '.join(key)}; not by {', '.join(where)}")
    chosen = tuple(versions[name] for name in sorted(versions, key=str) if wanted is None or name in wanted)
    # Partitions one after the other: the order is (partition, key), and no sort sees more than one.
    parts = files.rows(delta, [each.partition for each in chosen], key, where)
    return Snapshot(pa.concat_tables(parts), chosen)


def _refuse_missing(table: str, versions: Mapping[str | None, Version], wanted: Sequence[str | None]) -> None:
    missing = [str(key) for key in wanted if key not in versions]
    if missing:
        raise LakeError(f"{table} has no partition {', '.join(missing)}; materialize it first")


def _check(pattern: re.Pattern[str], what: str, value: str) -> None:
    if pattern.fullmatch(value) is None:
        raise LakeError(f"{what} {value!r} has characters outside {pattern.pattern}")
