"""Columns in Arrow's memory format: what their types mean, and how they become native arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from galcli.sky.notes import WORDS
from galcli.sky.table import NULLABLE_BOOL, TEXT, Field, null_of

if TYPE_CHECKING:
    import pyarrow as pa


def arrow_field(column: pa.Field, noted: Mapping[str, str]) -> Field:
    """What a column of an Arrow schema means.

    Parameters
    ----------
    column : pyarrow.Field
        Its metadata may hold ``unit``, ``description`` and ``ucd``.
    noted : mapping of str to str
        The same, where they stand elsewhere in the file.

    Returns
    -------
    Field
        ``null`` of whole numbers is the value that stands for nulls, should there be any.
    """
    said = {key.decode("utf-8", "replace").lower(): value for key, value in (column.metadata or {}).items()}
    words = {key: said.get(key, b"").decode("utf-8", "replace") for key in WORDS} | dict(noted)
    dtype, shape = _numpy_type(column.type)
    if dtype is None:
        return Field(column.name, np.dtype("V1"), **words, refused=f"holds {column.type} values")
    return Field(column.name, dtype, shape, **words, null=null_of(dtype) if dtype.kind in "iu" else None)


def _numpy_type(kind: pa.DataType) -> tuple[np.dtype[Any] | None, tuple[int, ...]]:
    """Native type and shape per row; None for what has neither."""
    import pyarrow.types as types

    if isinstance(kind, _tensor_type()):
        return _numpy_type(kind.storage_type)[0], tuple(kind.shape[axis] for axis in _axes(kind))
    if types.is_fixed_size_list(kind):
        dtype, shape = _numpy_type(kind.value_type)
        return (None, ()) if dtype is None or dtype.kind in "Sb" else (dtype, (kind.list_size, *shape))
    if types.is_dictionary(kind):
        return _numpy_type(kind.value_type)
    if types.is_integer(kind) or types.is_floating(kind):
        dtype = np.dtype(kind.to_pandas_dtype())
        return np.dtype(np.float32) if dtype == np.float16 else dtype, ()
    if types.is_decimal(kind):  # what databases export; whole numbers are exact as long as they fit
        return np.dtype(np.int64 if kind.scale == 0 and kind.precision <= 18 else np.float64), ()
    if types.is_boolean(kind):
        return np.dtype(bool), ()
    if is_text(kind):
        return TEXT, ()
    return (np.dtype(np.float64), ()) if types.is_null(kind) else (None, ())


def _tensor_type() -> Any:
    import pyarrow as pa

    return pa.FixedShapeTensorType


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is text, or bytes, which is how some programs write text."""
    import pyarrow.types as types

    checks = (
        types.is_string, types.is_large_string, types.is_string_view, types.is_binary, types.is_large_binary,
        types.is_binary_view, types.is_fixed_size_binary,
    )  # fmt: skip
    return any(check(kind) for check in checks)


def to_numpy(array: pa.Array, field: Field) -> NDArray[Any]:
    """Values of a column, nulls as NaN, ``field.null`` or empty text.

    Parameters
    ----------
    array : pyarrow.Array (N,)
    field : Field
        From `arrow_field`.

    Returns
    -------
    ndarray (N, *shape)
        Text as wide as these values need; true and false as `NULLABLE_BOOL` if there are nulls among them.
    """
    import pyarrow as pa

    if isinstance(array.type, pa.DictionaryType):
        array = array.dictionary_decode()
    if isinstance(array.type, _tensor_type()):
        return _tensor(array, field)
    if isinstance(array.type, pa.FixedSizeListType):
        return _list(array, field)
    if field.dtype.kind == "S":
        return text_to_numpy(array)
    if field.dtype.kind == "b":
        if not array.null_count:
            return np.asarray(array.to_numpy(zero_copy_only=False), bool)
        whole = array.cast(pa.uint8()).fill_null(null_of(NULLABLE_BOOL))
        return np.asarray(whole.to_numpy(), NULLABLE_BOOL)
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.string()).cast(pa.from_numpy_dtype(field.dtype))  # straight, Arrow rounds twice
    if array.null_count:
        if pa.types.is_null(array.type):
            return np.full(len(array), np.nan)
        array = array.fill_null(pa.scalar(np.nan if field.null is None else field.null, array.type))
    return np.asarray(array.to_numpy(zero_copy_only=False)).astype(field.dtype, copy=False)


def _tensor(array: Any, field: Field) -> NDArray[Any]:
    """Rows of arrays of one shape, whose axes may be stored in another order."""
    kind = array.type
    flat = _list(array.storage, Field(field.name, field.dtype, (int(np.prod(kind.shape)),), null=field.null))
    return flat.reshape(len(array), *kind.shape).transpose(0, *(1 + axis for axis in _axes(kind)))


def _axes(kind: Any) -> list[int]:
    """Stored axes in the order in which they are meant."""
    return list(kind.permutation or range(len(kind.shape)))


def _list(array: Any, field: Field) -> NDArray[Any]:
    """Rows of arrays of one length; a row that is null is filled with nulls."""
    size = array.type.list_size
    inside = Field(field.name, field.dtype, field.shape[1:], null=field.null)
    values = to_numpy(array.values.slice(array.offset * size, len(array) * size), inside)
    values = values.reshape(len(array), *field.shape)
    if array.null_count:
        values = values.copy()
        values[np.asarray(array.is_null())] = np.nan if field.null is None else field.null
    return values


def has_nulls(array: pa.Array) -> bool:
    """Whether a value is null, or one inside of an array per row."""
    import pyarrow as pa

    if isinstance(array.type, _tensor_type()):
        array = array.storage
    inside = isinstance(array.type, pa.FixedSizeListType) and has_nulls(array.flatten())
    return bool(array.null_count) or inside


def text_to_numpy(array: pa.Array) -> NDArray[np.bytes_]:
    """Text as bytes (N,), as wide as the widest; nulls are empty."""
    import pyarrow as pa

    values = array.cast(pa.large_binary()).fill_null(b"")
    _, offset_buffer, letters = values.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[values.offset : values.offset + len(values) + 1]
    lengths = np.diff(offsets)
    width = max(1, int(lengths.max(initial=0)))
    out = np.zeros((len(values), width), np.uint8)
    if letters is not None and len(values):
        out[np.arange(width) < lengths[:, None]] = np.frombuffer(letters, np.uint8)[offsets[0] : offsets[-1]]
    return out.view(f"S{width}").reshape(-1)
