"""The journal of a run: an append-only file of checked lines, readable after whatever befell it.

A line is one JSON object whose first field is the CRC-32 of the rest, so any tool reads the file
and a flipped bit does not go unnoticed. A line that was cut off at the end is removed when writing
goes on; one that is damaged in the midst is passed over, and no other is lost with it.

SQLite was the other choice. It survives kills and power cuts as well, but a flipped bit in one of
its pages may cost the whole database, or pass unseen.
"""

from __future__ import annotations

import json
import os
import re
import stat
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from ...errors import RunStoreError
from ..files import append_whole, json_line, replace_file, reporting, sync_folder

__all__ = ["Journal", "Line", "Place", "encode"]

_HEAD = re.compile(rb'\{"crc":"([0-9a-f]{8})",')
_HEAD_SIZE = 18
#: What is not said to be lasting lasts after so many seconds.
_SYNC_EVERY = 1.0
#: No line is longer: what claims to be is damage (a newline that was lost), not an entry.
_MAX_LINE = 1 << 30


@dataclass(frozen=True, slots=True)
class Place:
    """Where a line is in its file, in bytes."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a journal and what it says."""

    place: Place
    entry: dict[str, Any]


class Journal:
    """A file of checked lines.

    Parameters
    ----------
    path : path-like
    writable : bool
        Append to it. The caller sees to it that there is one writer.

    Attributes
    ----------
    damage : list of str
        What was found to be damaged, a sentence each.
    """

    def __init__(self, path: str | os.PathLike[str], *, writable: bool = False) -> None:
        self.path = os.fspath(path)
        self.damage: list[str] = []
        self._writable = writable
        self._synced_at = monotonic()
        self._fd = self._open()

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND if self._writable else os.O_RDONLY
        with reporting(f"{self.path}: cannot be opened (%s)"):
            # a pipe would make whoever opens it wait
            fd = os.open(self.path, flags | os.O_NONBLOCK, 0o666)
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                os.close(fd)
                raise RunStoreError(f"{self.path}: is not a plain file; put the journal back")
            if self._writable:
                sync_folder(self.path)
            return fd

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def lines(self) -> Iterator[Line]:
        """All sound lines in order; notes what is damaged.

        If the journal is writable, a last line that was cut off is removed.
        """
        offset = 0
        with (
            reporting(f"{self.path}: cannot be read (%s)"),
            open(self.path, "rb") as file,
        ):
            while data := file.readline(_MAX_LINE):
                place = Place(offset, len(data))
                offset += len(data)
                try:
                    yield Line(place, _decode(data))
                except ValueError as error:
                    if not data.endswith(b"\n"):
                        self._cut_off(place)
                        return
                    self.damage.append(
                        f"{self.path}: the line at byte {place.offset} is damaged ({error}); it "
                        "is passed over, and what it held is computed again on --resume"
                    )

    def read(self, place: Place) -> dict[str, Any]:
        """The entry at a place that `lines` or `append` gave."""
        with reporting(f"{self.path}: cannot be read (%s)"):
            data = os.pread(self._fd, place.length, place.offset)
        try:
            return _decode(data)
        except ValueError as error:
            raise RunStoreError(
                f"{self.path}: the line at byte {place.offset} was sound and is damaged now "
                f"({error}); check the disk, then go on with --resume"
            ) from None

    def raw(self, place: Place) -> bytes:
        """The bytes of a line."""
        with reporting(f"{self.path}: cannot be read (%s)"):
            return os.pread(self._fd, place.length, place.offset)

    def append(self, entry: Mapping[str, Any], *, lasting: bool = True) -> Place:
        """Write one entry.

        Parameters
        ----------
        entry : mapping
            Plain JSON.
        lasting : bool
            It is on disk when this returns. Otherwise it outlives the process at once, and a power
            cut after a second.

        Raises
        ------
        RunStoreError
            It cannot be written, e.g. for want of space. All before it is kept, and the journal is
            closed.
        """
        data = encode(entry)
        with reporting(f"{self.path}: cannot write (%s); {_KEPT}"):
            if self._fd < 0:
                raise RunStoreError(f"{self.path}: is closed since a write failed; {_KEPT}")
            place = Place(os.fstat(self._fd).st_size, len(data))
            try:
                append_whole(self._fd, data)
                if lasting or monotonic() - self._synced_at >= _SYNC_EVERY:
                    os.fsync(self._fd)
                    self._synced_at = monotonic()
            except BaseException:
                self.close()  # where the file ends now only reopening tells
                raise
        return place

    def rewrite(self, lines: Iterable[bytes]) -> list[Place]:
        """Put these lines in the place of all; returns their places."""
        places: list[Place] = []

        def noted() -> Iterator[bytes]:
            offset = 0
            for line in lines:
                places.append(Place(offset, len(line)))
                offset += len(line)
                yield line

        with reporting(f"{self.path}: cannot be put in order (%s); {_KEPT}"):
            replace_file(self.path, noted())
        self.close()
        self._fd = self._open()
        return places

    def _cut_off(self, place: Place) -> None:
        if self._writable:
            with reporting(f"{self.path}: cannot be mended (%s)"):
                os.ftruncate(self._fd, place.offset)
                os.fsync(self._fd)
        self.damage.append(
            f"{self.path}: the last {place.length} bytes are a line that was cut off when the run "
            "was stopped; what it held is computed again on --resume"
        )


_KEPT = "what was written before is kept, make room and go on with --resume"


def encode(entry: Mapping[str, Any]) -> bytes:
    """An entry as a line with its checksum."""
    rest = json_line(entry, compact=True)[1:]
    return b'{"crc":"%08x",' % zlib.crc32(rest) + rest


def _decode(data: bytes) -> dict[str, Any]:
    """The entry of a line, without the checksum; ValueError if it is not sound."""
    if not data.endswith(b"\n"):
        raise ValueError("the line has no end")
    head = _HEAD.match(data)
    if head is None:
        raise ValueError("no checksum")
    if zlib.crc32(memoryview(data)[_HEAD_SIZE:]) != int(head[1], 16):
        raise ValueError("its checksum differs")
    try:
        entry: dict[str, Any] = json.loads(b"{" + data[_HEAD_SIZE:])
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return entry
