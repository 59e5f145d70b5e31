"""Files that outlive kills and power cuts: whole writes, names that last, and errors that help."""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from ..errors import InvalidArgumentError, RunStoreError

__all__ = [
    "append_whole",
    "json_line",
    "lock_file",
    "replace_file",
    "reporting",
    "sync_folder",
    "write_whole",
]

_SURROGATE = re.compile(r"[\ud800-\udfff]")


@contextmanager
def reporting(message: str) -> Iterator[None]:
    """Turn what the system refuses into the one error that the user sees; `%s` is the reason."""
    try:
        yield
    except RunStoreError:  # an OSError too
        raise
    except OSError as error:
        raise RunStoreError(message.replace("%s", str(error.strerror or error))) from error


def write_whole(fd: int, data: bytes) -> None:
    """Write all of `data`; a full disk may take a part of it before it refuses the rest."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def append_whole(fd: int, data: bytes) -> None:
    """Append all of `data`, or nothing."""
    size = os.fstat(fd).st_size
    try:
        write_whole(fd, data)
    except BaseException:
        with suppress(OSError):
            os.ftruncate(fd, size)
        raise


def lock_file(fd: int) -> bool:
    """Lock an open file for its process; False if another process has it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def replace_file(path: str | os.PathLike[str], chunks: Iterable[bytes]) -> None:
    """Put a new file in the place of an old one, or none, in one step; it is on disk on return."""
    path = os.path.realpath(path)  # a link stays a link
    temporary = f"{path}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        with suppress(FileNotFoundError):
            os.fchmod(fd, stat.S_IMODE(os.stat(path).st_mode))
        for chunk in chunks:
            write_whole(fd, chunk)
        os.fsync(fd)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.remove(temporary)
        raise
    finally:
        os.close(fd)
    sync_folder(path)


def sync_folder(path: str | os.PathLike[str]) -> None:
    """Make a new or replaced name in the folder last. Some file systems cannot."""
    with suppress(OSError):
        fd = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def json_line(value: Mapping[str, Any], *, compact: bool = False) -> bytes:
    """One line of JSON, its end included.

    Raises
    ------
    InvalidArgumentError
        It is not plain JSON.
    """
    separators = (",", ":") if compact else None
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=separators)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"a record must be plain JSON: {error}") from None
    # A model may emit half of a surrogate pair, which UTF-8 cannot hold but a JSON escape can.
    return _SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", text).encode() + b"\n"
