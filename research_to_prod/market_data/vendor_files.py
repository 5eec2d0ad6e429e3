"""The folder of vendor files: which files a pattern names, what each covers, and its rows, typed.

Ten thousand files are common (one a day and market), and a month needs thirty of them: what a file covers is read from
its Parquet footer, or remembered once its rows were read, by path, time of change and size.

Belongs here: one file as it stands, and errors that name file, row and remedy. Doesn't: repairing, and choosing the
rows of a market (``files``).
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from research_to_prod.market_data.file_times import Times, TimesError, first_refused, times
from research_to_prod.market_data.progress import Progress, silent
from research_to_prod.values import sha256_hex

_SHOWN_EVERY = 1000
_AHEAD = 4
_AT_ONCE = 500

# The lowest and the highest values that a column's row groups state, as text.
Bounds = tuple[Sequence[str], Sequence[str]]


class FileSourceError(ValueError):
    """A vendor file can't be used; the message names the file, what is wrong and the remedy."""


@dataclass(frozen=True)
class Layout:
    """The columns that are read of a file, besides ``ts``; others are left out.

    Parameters
    ----------
    key
        Text columns that name the market.
    values
        Columns of numbers.
    texts
        Text columns that a file may lack; they are null then.
    """

    key: tuple[str, ...]
    values: tuple[str, ...]
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Covered:
    """What a file covers: first and last time (UTC microseconds), form of its times, and bounds of its key columns.

    A file without rows has no first time.
    """

    first: int | None
    last: int | None
    form: str
    lowest: tuple[str | None, ...]
    highest: tuple[str | None, ...]

    def may_hold(self, identity: Mapping[str, str]) -> bool:
        """Tell whether the file may hold a row of the market."""
        bounds = zip(identity.values(), self.lowest, self.highest, strict=True)
        return self.first is not None and all(
            low is not None and high is not None and low <= value <= high for value, low, high in bounds
        )

    def overlaps(self, start: int, end: int) -> bool:
        """Tell whether the file may hold a row in ``[start, end)``, microseconds."""
        return self.first is not None and self.last is not None and self.first < end and self.last >= start


@dataclass(frozen=True)
class FileRows:
    """A file's rows: the layout's columns, ``ts`` and ``row`` (position from 0); and the SHA-256 of its bytes."""

    rows: pa.Table
    sha256: str
    covered: Covered


class VendorFiles:
    """The vendor files under one folder. Nothing outside of it is ever read.

    Parameters
    ----------
    folder
        The folder that the universe's patterns are relative to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[tuple[Path, int, int, Layout], Covered] = {}

    def matching(self, pattern: str) -> list[Path]:
        """Return the files that ``pattern`` names, sorted.

        Raises
        ------
        FileSourceError
            If there are none, or one is a link that leaves the folder.
        """
        try:
            paths = sorted(path for path in self.folder.glob(pattern) if path.is_file())
            root = self.folder.resolve()
            outside = [path for path in paths if not path.resolve().is_relative_to(root)]
        # pathlib raises IndexError for the pattern ".".
        except (OSError, ValueError, NotImplementedError, IndexError) as error:
            raise FileSourceError(f"{pattern!r} in {self.folder}: {error}; correct universe.yaml") from error
        if outside:
            raise FileSourceError(
                f"{outside[0]} leads to {outside[0].resolve()}, outside of {root}; copy the file into the folder"
            )
        if not paths:
            raise FileSourceError(
                f"no file matches {pattern!r} in {self.folder}; correct universe.yaml or add the file"
            )
        return paths

    def covering(
        self,
        pattern: str,
        layout: Layout,
        span: tuple[int, int],
        identity: Mapping[str, str],
        progress: Progress = silent,
    ) -> Iterator[FileRows]:
        """Yield, by name, the files that may hold rows of the market in ``span`` (microseconds, end exclusive).

        Raises
        ------
        FileSourceError
            If a file is unusable, or two files write their times in different forms.
        """
        paths = self.matching(pattern)
        forms: dict[str, Path] = {}
        for number, (path, (covered, loaded)) in enumerate(self._looked_into(paths, layout), start=1):
            if covered.form and forms.setdefault(covered.form, path) is path and len(forms) > 1:
                form, other = next(iter(forms.items()))
                raise FileSourceError(
                    f"{path}: its times are {covered.form}, those of {other} are {form}; write the times of all files "
                    f"of {pattern!r} in one form, best in UTC"
                )
            if covered.may_hold(identity) and covered.overlaps(*span):
                yield loaded or load(path, layout)
            if number % _SHOWN_EVERY == 0:
                progress(f"files of {pattern}", number, len(paths))

    def _looked_into(
        self, paths: Sequence[Path], layout: Layout
    ) -> Iterator[tuple[Path, tuple[Covered, FileRows | None]]]:
        """Yield, in order, what each file covers, and its rows where only they could tell."""
        waiting: deque[tuple[Path, Future[tuple[Covered, FileRows | None]]]] = deque()
        # Reading a small file is mostly waiting: two threads halve the time of ten thousand. Few files wait in memory.
        with ThreadPoolExecutor(2) as pool:
            for start in range(0, len(paths), _AT_ONCE):
                some = paths[start : start + _AT_ONCE]
                bounds = _bounds([path for path in some if self._unread(path, layout)], layout)
                for path in some:
                    waiting.append((path, pool.submit(self._look_into, path, layout, bounds.get(path, {}))))
                    if len(waiting) > _AHEAD:
                        first, look = waiting.popleft()
                        yield first, look.result()
            for first, look in waiting:
                yield first, look.result()

    def _unread(self, path: Path, layout: Layout) -> bool:
        return _is_parquet(path) and _identified(path, layout) not in self._known

    def _look_into(self, path: Path, layout: Layout, bounds: Mapping[str, Bounds]) -> tuple[Covered, FileRows | None]:
        key = _identified(path, layout)
        covered, loaded = self._known.get(key), None
        if covered is None and _is_parquet(path):
            with _readable(path):
                covered = _footer(path, layout, bounds)
        if covered is None:
            loaded = load(path, layout)
            covered = loaded.covered
        self._known[key] = covered
        return covered, loaded

    def holding(self, pattern: str, layout: Layout, identity: Mapping[str, str]) -> Iterator[FileRows]:
        """Yield the files that may hold rows of the market at any time; for after :meth:`covering`."""
        for path in self.matching(pattern):
            covered = self._known.get(_identified(path, layout))
            if covered is None or covered.may_hold(identity):
                yield load(path, layout)


def load(path: Path, layout: Layout) -> FileRows:
    """Read one file whole.

    Raises
    ------
    FileSourceError
        If it can't be read, lacks or repeats a column, or has a time or number that can't be read.
    """
    with _readable(path):
        return _load(path, layout)


def _load(path: Path, layout: Layout) -> FileRows:
    body = path.read_bytes()
    if not body:
        raise FileSourceError(f"{path}: is empty, not even a header; deliver it again")
    table = _reader(path)(path, body, layout)
    columns = {name: _cast(path, name, table[name], pa.string()) for name in layout.key}
    for name in layout.texts:
        there = name in table.column_names
        columns[name] = _cast(path, name, table[name], pa.string()) if there else pa.nulls(len(table), pa.string())
    columns |= {name: _cast(path, name, table[name], pa.float64()) for name in layout.values}
    read = _times(path, table["ts"])
    columns["ts"] = read.ts
    columns["row"] = pa.array(range(table.num_rows), pa.int64())
    bounds = [pc.min_max(columns[name]).as_py() for name in layout.key]
    micros = pc.min_max(read.ts.cast(pa.int64())).as_py()
    covered = Covered(
        micros["min"],
        micros["max"],
        read.form,
        tuple(each["min"] for each in bounds),
        tuple(each["max"] for each in bounds),
    )
    return FileRows(pa.table(columns), sha256_hex(body), covered)


def _identified(path: Path, layout: Layout) -> tuple[Path, int, int, Layout]:
    with _readable(path):
        found = path.stat()
    return path, found.st_mtime_ns, found.st_size, layout


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileSourceError(f"{path}: cannot be read: {error}; deliver it again, CSV as UTF-8") from error


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() == ".parquet"


def _bounds(paths: Sequence[Path], layout: Layout) -> dict[Path, dict[str, Bounds]]:
    """Return, by file and column, the bounds that the footers state; without what DuckDB can't read or they leave out.

    Arrow ends the process on some damaged footers: behind its doors to a column's statistics its own exceptions pass
    uncaught (89 of 21,700 single flips). DuckDB refuses all of them, and reads 10,000 footers in a second when it is
    asked for many at once. A new database each time, because one remembers a file's footer after the file changed.
    """
    import duckdb

    if not paths:
        return {}
    with duckdb.connect(":memory:") as connection:
        try:
            found = connection.execute(
                "SELECT file_name, path_in_schema, list(stats_min_value), list(stats_max_value)"
                " FROM parquet_metadata($1) WHERE list_contains($2, path_in_schema) GROUP BY ALL"
                " HAVING count(*) = count(*) FILTER (stats_null_count = 0) AND count(*) = count(stats_min_value)"
                " AND count(*) = count(stats_max_value)",
                [[str(path) for path in paths], ["ts", *layout.key]],
            ).fetchall()
        except (duckdb.Error, UnicodeDecodeError):
            halves = [paths[: len(paths) // 2], paths[len(paths) // 2 :]] if len(paths) > 1 else []
            return {path: each for half in halves for path, each in _bounds(half, layout).items()}
    bounds: dict[Path, dict[str, Bounds]] = {}
    for name, column, lows, highs in found:
        bounds.setdefault(Path(name), {})[column] = (lows, highs)
    return bounds


def _footer(path: Path, layout: Layout, bounds: Mapping[str, Bounds]) -> Covered | None:
    """Return what a Parquet file covers by the bounds in its footer, or None where only its rows tell."""
    schema = pq.read_schema(path)
    _require(path, schema.names, layout)
    kind = schema.field("ts").type
    if not (pa.types.is_timestamp(kind) or pa.types.is_integer(kind)):
        return None
    if not all(name in bounds for name in ("ts", *layout.key)):
        return None
    if not all(pa.types.is_string(schema.field(name).type) for name in layout.key):
        return None
    lows, highs = bounds["ts"]
    try:
        stated = pa.array([*lows, *highs], pa.string()).cast(kind)
    except pa.ArrowInvalid:
        return None
    read = _times(path, pa.chunked_array([stated]))
    micros = pc.min_max(read.ts.cast(pa.int64())).as_py()
    key = [bounds[name] for name in layout.key]
    return Covered(
        micros["min"], micros["max"], read.form, tuple(min(low) for low, _ in key), tuple(max(high) for _, high in key)
    )


def _reader(path: Path) -> Callable[[Path, bytes, Layout], pa.Table]:
    readers = {".parquet": _parquet, ".csv": _csv}
    if path.suffix.lower() not in readers:
        raise FileSourceError(f"{path}: is neither .parquet nor .csv; name the files more narrowly in universe.yaml")
    return readers[path.suffix.lower()]


def _parquet(path: Path, body: bytes, layout: Layout) -> pa.Table:
    file = pq.ParquetFile(pa.BufferReader(body), page_checksum_verification=True)
    table = file.read(columns=_require(path, file.schema_arrow.names, layout))
    if table.num_rows != file.metadata.num_rows:
        raise FileSourceError(
            f"{path}: has {table.num_rows} rows and a footer that states {file.metadata.num_rows}; deliver it again"
        )
    return table


def _csv(path: Path, body: bytes, layout: Layout) -> pa.Table:
    """Read the declared columns, numbers as numbers and the rest as text."""
    line = body.partition(b"\n")[0].decode("utf-8-sig")
    wanted = _require(path, next(csv.reader([line.rstrip("\r")]), []), layout)
    ragged: list[pa_csv.InvalidRow] = []

    def note(row: pa_csv.InvalidRow) -> str:
        ragged.append(row)
        return "skip"

    def read(numbers: Sequence[str]) -> pa.Table:
        ragged.clear()
        types = {name: pa.float64() if name in numbers else pa.string() for name in wanted}
        return pa_csv.read_csv(
            pa.BufferReader(body),
            read_options=pa_csv.ReadOptions(use_threads=False),
            parse_options=pa_csv.ParseOptions(invalid_row_handler=note),
            convert_options=pa_csv.ConvertOptions(include_columns=wanted, column_types=types, strings_can_be_null=True),
        )

    try:
        table = read(layout.values)
    except pa.ArrowInvalid:
        # As text, so that the column's cast can name the row.
        table = read(())
    if ragged:
        # Arrow counts lines from 1, the header included.
        first = ragged[0]
        raise FileSourceError(
            f"{path}: cannot be read: row {(first.number or 2) - 2} has {first.actual_columns} cells, the header has "
            f"{first.expected_columns}; deliver it again whole"
        )
    return table


def _require(path: Path, names: list[str], layout: Layout) -> list[str]:
    """Return the columns to read, or refuse a file that lacks or repeats one."""
    needed = (*layout.key, "ts", *layout.values)
    missing = [name for name in needed if name not in names]
    repeated = [name for name in (*needed, *layout.texts) if names.count(name) > 1]
    problems = [f"lacks the columns {', '.join(missing)}"] if missing else []
    problems += [f"has the columns {', '.join(repeated)} more than once"] if repeated else []
    if problems:
        raise FileSourceError(
            f"{path}: {' and '.join(problems)}; it has {', '.join(names)}; it must have {', '.join(needed)}, each once"
        )
    return [name for name in (*needed, *layout.texts) if name in names]


def _times(path: Path, values: pa.ChunkedArray) -> Times:
    try:
        return times(values)
    except TimesError as error:
        raise FileSourceError(f"{path}: {error}") from error


def _cast(path: Path, name: str, values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Return the column as text or numbers; a number written as text is read, a truth value is no number."""
    what = "text" if pa.types.is_string(kind) else "a number"
    if pa.types.is_boolean(values.type) or pa.types.is_temporal(values.type):
        raise FileSourceError(f"{path}: column {name} is {values.type} and not {what}; correct the file")
    try:
        return values if values.type == kind else values.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        row = first_refused(values, lambda part: part.cast(kind))
        found = f"in row {row} is {values[row].as_py()!r}" if len(values) else f"is {values.type}"
        raise FileSourceError(f"{path}: column {name} {found} and not {what}: {error}; correct the file") from error
