"""The results file of a run: append-only JSONL, safe against kill, resumable, byte-reproducible.

One line a finished problem, ``{"key": ..., **record}``. A line is on disk when `append` returns,
so whatever kills a run costs only what was in flight. `finalize` sorts the lines at the end: a
run killed and resumed any number of times leaves the same bytes as one left in peace. Hence
nothing that differs between two runs may be in a record: wall times go to a second file,
``<path>.timing.jsonl``, which is kept up by best effort and never compared.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from ..errors import InvalidArgumentError, RunStoreError
from ..search.records import Problem
from .files import append_whole, json_line, lock_file, reporting, sync_folder, write_whole

__all__ = ["RunStore", "content_key"]

_HEAD = b'{"key": "'  # how every line starts, by which a torn one is told from a foreign file


def content_key(
    problem: Problem,
    method: str,
    options: Mapping[str, Any],
    policy_name: str,
    reward_name: str | None,
    **more: Any,
) -> str:
    """The identity of a record: 32 hex digits over all that determines it.

    Resuming with other settings thus computes anew instead of mixing results.

    Examples
    --------
    >>> content_key(Problem("1", "1 + 1 = ?"), "cot", {"seed": 0}, "model", None)
    '8c5f8d3da7752c808f90f634c26c0b8d'
    """
    names = {"method": method, "policy": policy_name, "reward": reward_name}
    content = [problem.unique_id, problem.problem, names, dict(options), more]
    try:
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"options must be plain JSON values: {error}") from None
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class RunStore:
    """The results file of one run, locked for one writer. Use it as a context manager.

    Whatever stands in the way (in use, there already, damaged, disk full) is a `RunStoreError`.

    Parameters
    ----------
    path : path-like
        The JSONL file; its folder is made if need be.
    header : mapping, optional
        The settings of this session, noted in the timing file for human readers.
    resume : bool
        Go on with a file that holds records already, instead of refusing it.

    Attributes
    ----------
    done : dict of str to dict
        The records written so far, by key, in the order of the file.
    warning : str or None
        What had to be repaired on opening.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        header: Mapping[str, Any] | None = None,
        resume: bool = False,
    ) -> None:
        self._path = os.path.realpath(path)  # a link stays a link when the file is replaced
        self._timing_path = f"{self._path}.timing.jsonl"
        self.done: dict[str, dict[str, Any]] = {}
        self.warning: str | None = None
        self._fd = self._open()
        try:
            self._read(resume)
            if not self.done:
                with suppress(OSError):
                    os.remove(self._timing_path)  # the times of a run that is no more
            if header is not None:
                self._note({"header": dict(header)})
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> RunStore:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Unlock and close the file; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def expect(self, keys: Iterable[str]) -> None:
        """Records of other settings may stand in the same file."""

    def log(self, keys: Mapping[str, str]) -> None:
        """A file of results keeps no events."""

    def record(self, key: str) -> dict[str, Any]:
        """The record of a finished problem."""
        return self.done[key]

    def append(self, key: str, record: Mapping[str, Any]) -> None:
        """Write one record; it is on disk when this returns.

        If it cannot be written, e.g. for want of space, all earlier ones are kept and the store
        is closed.
        """
        if key in self.done:
            raise InvalidArgumentError(f"{self._path}: key {key} is written already")
        if "key" in record:
            raise InvalidArgumentError("a record must not have a field named key")
        line = json_line({"key": key, **record})
        kept = f"its {len(self.done)} records are kept, make room and go on with --resume"
        with reporting(f"{self._path}: cannot write (%s); {kept}"):
            try:
                append_whole(self._fd, line)
                os.fsync(self._fd)
            except BaseException:
                self.close()  # where the file ends now only reopening tells
                raise
        self.done[key] = _record(line)[1]  # as a resumed run would read it

    def finalize(self, order: Iterable[str]) -> None:
        """Sort the file: records of `order` first, then all others as they are.

        Keys of `order` without a record are passed over. The sorted file takes the place of the
        old one in one step.
        """
        keys = list(dict.fromkeys(key for key in (*order, *self.done) if key in self.done))
        kept = f"its {len(self.done)} records are kept unsorted, make room and use --resume"
        with reporting(f"{self._path}: cannot be sorted (%s); {kept}"):
            lines = {_record(line)[0]: line for line in reversed(self._lines())}  # first ones stay
            fd = self._replace(b"".join(lines[key] for key in keys))
        os.close(self._fd)
        self._fd = fd
        self.done = {key: self.done[key] for key in keys}

    def _replace(self, data: bytes) -> int:
        """Put a new file with `data` in the place of the old one; locked before it has the name."""
        temporary = f"{self._path}.tmp"
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try:
            os.fchmod(fd, stat.S_IMODE(os.fstat(self._fd).st_mode))
            self._lock(fd)
            write_whole(fd, data)
            os.fsync(fd)
            os.replace(temporary, self._path)
        except BaseException:
            os.close(fd)
            os.remove(temporary)
            raise
        sync_folder(self._path)
        return fd

    def append_timing(self, key: str, timing: Mapping[str, Any]) -> None:
        """Note wall times of a record in the timing file. Failures to write are passed over."""
        self._note({"key": key, **timing})

    def timings(self) -> dict[str, dict[str, Any]]:
        """The wall times noted so far, by key; of two notes on one key the later."""
        timings = {}
        with suppress(OSError), open(self._timing_path, "rb") as file:
            for line in file:
                with suppress(ValueError):
                    key, timing = _record(line)
                    timings[key] = timing
        return timings

    def _note(self, entry: dict[str, Any]) -> None:
        # The leading newline ends a line that a kill may have torn.
        with suppress(OSError), open(self._timing_path, "ab") as file:
            file.write(b"\n" + json_line(entry))

    def _open(self) -> int:
        """Open and lock the file that bears the name now, not one that was just replaced."""
        with reporting(f"{self._path}: cannot be opened (%s); choose another --output"):
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            while True:
                fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
                try:
                    self._lock(fd)
                    if os.path.samestat(os.fstat(fd), os.stat(self._path)):
                        sync_folder(self._path)
                        return fd
                except BaseException:
                    os.close(fd)
                    raise
                os.close(fd)

    def _lock(self, fd: int) -> None:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise RunStoreError(f"{self._path}: not a plain file; choose another --output")
        if not lock_file(fd):
            advice = "wait for that run to end or choose another --output"
            raise RunStoreError(f"{self._path}: another process is writing it; {advice}")

    def _lines(self) -> list[bytes]:
        with open(self._path, "rb") as file:
            return file.readlines()

    def _read(self, resume: bool) -> None:
        with reporting(f"{self._path}: cannot be read (%s)"):
            lines = self._lines()
        if lines and not resume:
            advice = "pass --resume to continue it or choose another --output"
            raise RunStoreError(f"{self._path}: exists; {advice}")
        for number, line in enumerate(lines, start=1):
            try:
                key, record = _record(line)
            except ValueError as error:
                if number == len(lines) and _is_torn(line):
                    self._cut_off(len(line))
                    return
                raise RunStoreError(
                    f"{self._path}, line {number}: not a record ({error}); mend or delete the "
                    "line, or choose another --output"
                ) from None
            self.done.setdefault(key, record)

    def _cut_off(self, excess: int) -> None:
        with reporting(f"{self._path}: cannot be mended (%s)"):
            os.ftruncate(self._fd, os.fstat(self._fd).st_size - excess)
            os.fsync(self._fd)
        self.warning = (
            f"{self._path}: removed {excess} bytes of a last record that was cut off when the "
            "run was stopped; it will be computed again"
        )


def _record(line: bytes) -> tuple[str, dict[str, Any]]:
    """Key and record of one line; ValueError if it is not one."""
    if not line.endswith(b"\n"):
        raise ValueError("the line has no end")
    try:
        value = json.loads(line.decode())
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict) or not isinstance(value.get("key"), str):
        raise ValueError("no object with a key")
    return value.pop("key"), value


def _is_torn(line: bytes) -> bool:
    """Whether this last line is one of ours, cut off, or blocks that were never filled."""
    return line.startswith(_HEAD) or _HEAD.startswith(line) or not line.strip(b"\0\n")
