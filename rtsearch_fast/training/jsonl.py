"""JSONL files of training data: errors name the line; a file is written whole or not at all."""

from __future__ import annotations

import json
import os
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from ..bounds import bounded_lines
from ..errors import DataError

__all__ = ["read_grouped", "read_jsonl", "replacing", "without_surrogates", "write_jsonl"]

_SURROGATE = re.compile("[\ud800-\udfff]")


def read_jsonl(path: str | os.PathLike[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a file, one a line; blank lines are skipped.

    Yields
    ------
    (str, dict)
        Where the object stands ("file, line 3", for messages), and the object.

    Raises
    ------
    DataError
        The file cannot be read, or a line is no JSON object.
    """
    name = os.fspath(path)
    with _reading(name), open(path, "rb") as file:
        for number, line in enumerate(bounded_lines(file, name), start=1):
            if line.strip():
                where = f"{name}, line {number}"
                yield where, _object(line, where)


def read_grouped(
    path: str | os.PathLike[str], field: str
) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """The objects of a file, those with the same value of a field together.

    The file is read twice: what is kept of it all is where its lines begin.

    Yields
    ------
    list of (str, dict)
        What `read_jsonl` gives; groups are in the order of their first lines.

    Raises
    ------
    DataError
        As `read_jsonl`.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "rows.jsonl")
    >>> write_jsonl(path, [{"id": "a", "n": 1}, {"id": "b", "n": 2}, {"id": "a", "n": 3}])
    3
    >>> [[row["n"] for _, row in group] for group in read_grouped(path, "id")]
    [[1, 3], [2]]
    """
    name = os.fspath(path)
    groups: dict[str, array[int]] = {}  # per value: number and place of each line, by turns
    with _reading(name), open(path, "rb") as file:
        place = 0
        for number, line in enumerate(bounded_lines(file, name), start=1):
            if line.strip():
                value = _object(line, f"{name}, line {number}").get(field)
                groups.setdefault(json.dumps(value), array("q")).extend((number, place))
            place += len(line)
        for lines in groups.values():
            group = []
            for number, place in zip(lines[::2], lines[1::2], strict=True):
                file.seek(place)
                where = f"{name}, line {number}"
                group.append((where, _object(file.readline(), where)))
            yield group


def write_jsonl(path: str | os.PathLike[str], rows: Iterable[Mapping[str, Any]]) -> int:
    """Write one object a line; the file appears when all are written, and replaces an older one.

    Half of a surrogate pair, which a model may emit and no tokenizer takes, becomes U+FFFD.

    Returns
    -------
    int
        How many were written.

    Raises
    ------
    DataError
        The file cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "rows.jsonl")
    >>> write_jsonl(path, [{"prompt": "1 + 1", "completion": "2"}])
    1
    >>> path.read_text()
    '{"prompt": "1 + 1", "completion": "2"}\\n'
    """
    count = 0
    with replacing(path) as file:
        for row in rows:
            text = json.dumps(row, ensure_ascii=False, allow_nan=False)
            file.write(without_surrogates(text).encode() + b"\n")
            count += 1
    return count


def without_surrogates(text: str) -> str:
    """The text with U+FFFD for each half of a surrogate pair."""
    return _SURROGATE.sub("\ufffd", text)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write; it takes the place of `path` at the end, and an error leaves nothing of it.

    Raises
    ------
    DataError
        The file cannot be written.
    """
    name = os.fspath(path)
    temporary = f"{name}.{os.getpid()}.tmp"
    try:
        os.makedirs(os.path.dirname(os.path.abspath(name)), exist_ok=True)
        if os.path.exists(name) and not os.path.isfile(name):
            raise DataError(f"{name}: not a plain file; choose another output")
        try:
            with open(temporary, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, name)
        except BaseException:
            with suppress(OSError):
                os.remove(temporary)
            raise
    except OSError as error:
        raise DataError(
            f"{name}: cannot be written ({error.strerror or error}); choose another output"
        ) from None


@contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{name}: cannot be read ({error.strerror or error}); give a JSONL file"
        ) from None


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line.decode("utf-8-sig"), parse_constant=_refuse)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}: byte {error.start + 1} is not UTF-8; save the file as UTF-8"
        ) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({error}); write one object a line") from None
    if not isinstance(value, dict):
        raise DataError(f"{where}: found {str(value)[:40]!r}, not an object; write one a line")
    return value


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
