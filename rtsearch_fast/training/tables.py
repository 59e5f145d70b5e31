"""Rows of training data in a file: JSONL or Parquet, as its name ends; whole or not at all."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import PurePath
from typing import Any

from ..errors import InvalidArgumentError, MissingExtraError
from .jsonl import replacing, without_surrogates, write_jsonl

__all__ = ["Columns", "check_format", "schema", "write_rows"]

#: Per column the type of its values: the name of one of Arrow's, ``[type]`` for a list, or a
#: mapping for a struct.
Columns = Mapping[str, Any]

#: Rows that are in memory at once, and those of a row group.
_CHUNK = 1000


def check_format(path: str | os.PathLike[str]) -> str:
    """The format that a file's name asks for: ".jsonl" or ".parquet".

    Raises
    ------
    InvalidArgumentError
        It ends in something else.
    MissingExtraError
        Parquet is asked for, and pyarrow is not installed.
    """
    suffix = PurePath(path).suffix
    if suffix not in (".jsonl", ".parquet"):
        raise InvalidArgumentError(
            f"{os.fspath(path)}: ends in {suffix!r}; name the output .jsonl or .parquet"
        )
    if suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise MissingExtraError('Parquet needs pyarrow: pip install "rtsearch-fast[train]"')
    return suffix


def write_rows(
    path: str | os.PathLike[str], rows: Iterable[Mapping[str, Any]], columns: Columns
) -> int:
    """Write rows one after the other; the file appears when all are written.

    Parameters
    ----------
    path : path-like
        Ends in ``.jsonl`` or ``.parquet``.
    rows : iterable of mapping
    columns : mapping
        Of each row, with the types that a Parquet file declares.

    Returns
    -------
    int
        How many were written.

    Raises
    ------
    DataError, InvalidArgumentError, MissingExtraError
        The file cannot be written, its name has another end, or pyarrow is missing.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "rows.jsonl")
    >>> write_rows(path, [{"steps": ["a"], "labels": [0.5]}],
    ...            {"steps": ["string"], "labels": ["float64"]})
    1
    """
    if check_format(path) == ".jsonl":
        return write_jsonl(path, rows)
    from pyarrow import RecordBatch
    from pyarrow.parquet import ParquetWriter

    types, count, source = schema(columns), 0, iter(rows)
    with replacing(path) as file, ParquetWriter(file, types) as writer:
        while chunk := [_clean(row) for row in islice(source, _CHUNK)]:
            writer.write_batch(RecordBatch.from_pylist(chunk, schema=types))
            count += len(chunk)
    return count


def schema(columns: Columns) -> Any:
    """The Arrow schema of these columns."""
    import pyarrow

    return pyarrow.schema(list(_fields(columns)))


def _fields(columns: Columns) -> Iterator[tuple[str, Any]]:
    import pyarrow

    def kind(found: Any) -> Any:
        if isinstance(found, list):
            return pyarrow.list_(kind(found[0]))
        if isinstance(found, Mapping):
            return pyarrow.struct(list(_fields(found)))
        return pyarrow.type_for_alias(found)

    for name, found in columns.items():
        yield name, kind(found)


def _clean(value: Any) -> Any:
    """The value as `write_jsonl` writes it."""
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, Mapping):
        return {name: _clean(item) for name, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list) else value
