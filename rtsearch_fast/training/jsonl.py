"""JSONL files of training data: errors name the line; a file is written whole or not at all."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from ..errors import DataError

__all__ = ["read_jsonl", "write_jsonl"]

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
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    where = f"{name}, line {number}"
                    yield where, _object(line, where)
    except OSError as error:
        raise DataError(
            f"{name}: cannot be read ({error.strerror or error}); give a JSONL file"
        ) from None


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
    name = os.fspath(path)
    temporary = f"{name}.{os.getpid()}.tmp"
    count = 0
    try:
        os.makedirs(os.path.dirname(os.path.abspath(name)), exist_ok=True)
        if os.path.exists(name) and not os.path.isfile(name):
            raise DataError(f"{name}: not a plain file; choose another output")
        try:
            with open(temporary, "w", encoding="utf-8", newline="\n") as file:
                for row in rows:
                    text = json.dumps(row, ensure_ascii=False, allow_nan=False)
                    file.write(_SURROGATE.sub("\ufffd", text) + "\n")
                    count += 1
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
    return count


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
