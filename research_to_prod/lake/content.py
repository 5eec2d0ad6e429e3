"""The content hash of logical rows: the data version that a promotion cites.

Two tables with the same columns, types and values in the same order have the same hash, whatever their chunks, row
groups, compression, slices or validity bitmaps look like. Belongs here: hashing. Doesn't: storage.
"""

from __future__ import annotations

import hashlib

import numpy as np
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
    sha.update(np.packbits(np.asarray(values.is_valid(), dtype=bool)).tobytes())
    kind = values.type
    if pa.types.is_string(kind):
        text = values.fill_null("")
        sha.update(pc.binary_length(text).to_numpy(zero_copy_only=False).astype("<i8").tobytes())
        sha.update(_text_bytes(text))
    elif pa.types.is_list(kind):
        filled = pc.fill_null(pc.list_value_length(values), 0)
        sha.update(filled.to_numpy(zero_copy_only=False).astype("<i8").tobytes())
        _update(sha, pa.chunked_array([values.flatten()]))
    elif pa.types.is_decimal128(kind):
        # A fresh copy has offset 0 and its own 16-byte slots; null slots may hold anything, so they are filled.
        filled = values.fill_null(0).take(pa.array(np.arange(len(values))))
        sha.update(filled.buffers()[1].to_pybytes()[: 16 * len(filled)] if len(filled) else b"")
    elif pa.types.is_boolean(kind):
        sha.update(np.packbits(values.fill_null(False).to_numpy(zero_copy_only=False)).tobytes())  # noqa: FBT003
    elif pa.types.is_timestamp(kind):
        sha.update(values.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False).astype("<i8").tobytes())
    elif pa.types.is_integer(kind):
        sha.update(values.fill_null(0).to_numpy(zero_copy_only=False).astype("<i8").tobytes())
    elif pa.types.is_floating(kind):
        floats = values.fill_null(0.0).to_numpy(zero_copy_only=False).astype("<f8")
        # NaN has many bit patterns and is one value.
        sha.update(np.where(np.isnan(floats), np.float64("nan"), floats).tobytes())
    else:
        raise TypeError(f"no logical bytes are defined for columns of type {kind}")


def _text_bytes(text: pa.Array) -> bytes:
    if len(text) == 0:
        return b""
    large = text.cast(pa.large_string())
    offsets = np.frombuffer(large.buffers()[1], dtype="<i8")[large.offset : large.offset + len(large) + 1]
    data = large.buffers()[2]
    return b"" if data is None else data.slice(int(offsets[0]), int(offsets[-1] - offsets[0])).to_pybytes()
