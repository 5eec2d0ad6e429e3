"""The content hash of logical rows: the data version that a promotion cites.

Two tables with the same columns, types and values in the same order have the same hash, whatever their chunks, row
groups, compression, slices or validity bitmaps look like. Belongs here: hashing. Doesn't: storage.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


def content_hash(rows: pa.Table) -> str:
    """Return the SHA-256 (hexadecimal) of the logical rows, in their order.

    Raises
    ------
    TypeError
        For a column type whose logical bytes are not defined here.
    """
    sha = hashlib.sha256(f"rows:{rows.num_rows}\n".encode())
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        sha.update(f"{len(name)}:{name}:{_type_name(column.type)}\n".encode())
        _update(sha, column)
    return sha.hexdigest()


def _type_name(kind: pa.DataType) -> str:
    # Parquet names a list's field "element", Arrow "item"; the values are the same.
    return f"list<{_type_name(kind.value_type)}>" if pa.types.is_list(kind) else str(kind)


def _update(sha: hashlib._Hash, column: pa.ChunkedArray) -> None:
    values = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    sha.update(np.packbits(np.asarray(values.is_valid(), dtype=bool)).data)
    kind = values.type
    if pa.types.is_string(kind):
        text = values.fill_null("")
        sha.update(_little(pc.binary_length(text), "<i8").data)
        sha.update(_text_bytes(text))
    elif pa.types.is_list(kind):
        filled = pc.fill_null(pc.list_value_length(values), 0)
        sha.update(_little(filled, "<i8").data)
        _update(sha, pa.chunked_array([values.flatten()]))
    elif pa.types.is_decimal128(kind):
        # A fresh copy has offset 0 and its own 16-byte slots; null slots may hold anything, so they are filled.
        filled = values.fill_null(0).take(pa.array(np.arange(len(values))))
        sha.update(filled.buffers()[1].to_pybytes()[: 16 * len(filled)] if len(filled) else b"")
    elif pa.types.is_boolean(kind):
        sha.update(np.packbits(values.fill_null(False).to_numpy(zero_copy_only=False)).data)  # noqa: FBT003
    elif pa.types.is_timestamp(kind):
        sha.update(_little(values.cast(pa.int64()).fill_null(0), "<i8").data)
    elif pa.types.is_integer(kind):
        sha.update(_little(values.fill_null(0), "<i8").data)
    elif pa.types.is_floating(kind):
        floats = _little(values.fill_null(0.0), "<f8")
        # NaN has many bit patterns and is one value.
        unknown = np.isnan(floats)
        sha.update((np.where(unknown, np.float64("nan"), floats) if unknown.any() else floats).data)
    else:
        raise TypeError(f"no logical bytes are defined for columns of type {kind}")


def _little(values: pa.Array, kind: str) -> npt.NDArray[Any]:
    """Return the values as numbers of one width and byte order, without a copy where they are that already."""
    return np.ascontiguousarray(values.to_numpy(zero_copy_only=False), kind)


def _text_bytes(text: pa.Array) -> pa.Buffer | bytes:
    if len(text) == 0:
        return b""
    large = text.cast(pa.large_string())
    offsets = np.frombuffer(large.buffers()[1], dtype="<i8")[large.offset : large.offset + len(large) + 1]
    data = large.buffers()[2]
    return b"" if data is None else data.slice(int(offsets[0]), int(offsets[-1] - offsets[0]))
