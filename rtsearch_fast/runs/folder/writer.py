"""A run folder, to write."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from ...errors import InvalidArgumentError, RunStoreError
from ...evaluation.data import Item
from ...search.events import Event, EventLog
from ...search.records import Problem
from ..files import append_whole, json_line, lock_file, replace_file, reporting
from .about import RUN, About, Shard, problem_lines
from .journal import Journal
from .packed import pack
from .reader import JOURNAL, LOCK, Done, RunReader, place_event

__all__ = ["RunFolder", "write_merged"]

RESULTS, TIMING = "results.jsonl", "timing.jsonl"


class RunFolder(RunReader):
    """A run folder with its one writer. Use it as a context manager.

    Whatever stands in the way (in use, there already, of other settings, disk full) is a
    `RunStoreError`.

    Parameters
    ----------
    path : path-like
        Is made if need be.
    settings : mapping
        Plain JSON: what the results depend on. ``methods`` must be among it.
    items : sequence of Item
        All problems of the run, whatever the shard.
    shard : Shard, optional
    resume : bool
        Go on with a run, instead of refusing it.
    note : str
        For human readers: where the problems come from.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        settings: Mapping[str, Any],
        items: Sequence[Item],
        *,
        shard: Shard | None = None,
        resume: bool = False,
        note: str = "",
    ) -> None:
        path = Path(path)
        self._problems = problem_lines(items)
        about = About.of(settings, self._problems, shard or Shard(), note)
        self._lock_fd = _lock(path)
        try:
            if not resume and ((path / RUN).exists() or (path / JOURNAL).exists()):
                raise RunStoreError(
                    f"{path}: holds a run; pass --resume to go on with it or choose another "
                    "--output"
                )
            there = About.read(path) if (path / RUN).exists() else None
            if there is not None:
                about.check_continues(there, path, self._problems)
            # lost settings are replaced when the records' keys have told that these are the same
            self._has_lost_settings = there is None and (path / JOURNAL).exists()
            if not self._has_lost_settings and (there is None or there.settings != about.settings):
                about.write(path, self._problems)
            super().__init__(path, about)
        except BaseException:
            self._unlock()
            raise

    def _open_journal(self) -> Journal:
        return Journal(self.path / JOURNAL, writable=True)

    def __enter__(self) -> RunFolder:
        return self

    def close(self) -> None:
        super().close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def expect(self, keys: Iterable[str]) -> None:
        """Refuse a journal with records of problems under other keys than these."""
        if strange := self.done.keys() - set(keys):
            raise RunStoreError(
                f"{self.path}: holds {len(strange)} records of other settings, models or problems; "
                "use the same to go on, or choose another --output"
            )
        if self._has_lost_settings:
            self.about.write(self.path, self._problems)
            self._has_lost_settings = False

    def append(self, key: str, record: Mapping[str, Any]) -> None:
        """Write the record of a finished problem, its tree compressed; it is on disk on return."""
        if key in self.done:
            raise InvalidArgumentError(f"{self.path}: key {key} is written already")
        record = dict(record)
        tree = record.pop("tree", None)
        packed = {} if tree is None else {"tree": pack(tree)}
        place = self._journal.append({"done": key, "record": record, **packed})
        self.done[key] = Done(place, record["method"], record["unique_id"])
        self._events.pop(key, None)

    def append_event(self, key: str, number: int, event: Event) -> None:
        """Write simulation `number` of a problem; what was known from there on is void."""
        place = self._journal.append({"event": number, "of": key, **event}, lasting=False)
        place_event(self._events.setdefault(key, []), number, place)

    def append_timing(self, key: str, timing: Mapping[str, Any]) -> None:
        """Note wall times of a record. Failures to write are passed over."""
        # the leading newline ends a line that a kill may have torn
        line = b"\n" + json.dumps({"key": key, **timing}).encode() + b"\n"
        with suppress(OSError), open(self.path / TIMING, "ab", buffering=0) as file:
            append_whole(file.fileno(), line)

    def log(self, keys: Mapping[str, str]) -> EventLog:
        """Where a searcher keeps its events; `keys` are those of its problems' ids."""
        return _Log(self, keys)

    def finalize(self, order: Iterable[str]) -> None:
        """Write the results in order, and put the journal in order, without what is done with."""
        order = [key for key in order if key in self.done]
        with reporting(f"{self.path}: the results cannot be written (%s); make room, --resume"):
            records = (json_line({"key": key, **self.record(key)}) for key in order)
            replace_file(self.path / RESULTS, records)
        begun = sorted(self._events)
        events = (line for key in begun for line in self.raw_events(key))
        places = iter(self._journal.rewrite(chain(map(self.raw, order), events)))
        self.done = {key: replace(self.done[key], place=next(places)) for key in order}
        self._events = {key: [next(places) for _ in self._events[key]] for key in begun}


class _Log:
    """The events of one searcher's problems, in the journal."""

    def __init__(self, folder: RunFolder, keys: Mapping[str, str]) -> None:
        self._folder = folder
        self._keys = keys

    def known(self, problem: Problem) -> Sequence[Event]:
        return self._folder.events(self._keys[problem.unique_id])

    def committed(self, problem: Problem, number: int, event: Event) -> None:
        self._folder.append_event(self._keys[problem.unique_id], number, event)


def write_merged(
    path: Path,
    settings: Mapping[str, Any],
    items: Iterable[Item],
    lines: Iterable[bytes],
    note: str,
) -> None:
    """Make a run folder of journal lines that others wrote."""
    fd = _lock(path)
    try:
        if (path / RUN).exists():
            raise RunStoreError(f"{path}: holds a run; choose another folder to merge into")
        with reporting(f"{path}: cannot be written (%s)"):
            replace_file(path / JOURNAL, lines)
        problems = problem_lines(items)
        About.of(settings, problems, Shard(), note).write(path, problems)
    finally:
        os.close(fd)


def _lock(path: Path) -> int:
    with reporting(f"{path}: cannot be made (%s); choose another --output"):
        path.mkdir(parents=True, exist_ok=True)
        # what is in a folder that never was a run's must not be written over
        strange = [] if (path / LOCK).exists() else sorted(entry.name for entry in path.iterdir())
    if strange:
        raise RunStoreError(
            f"{path}: holds {strange[0]!r} and is no run folder; choose another --output"
        )
    with reporting(f"{path}: cannot be written (%s); choose another --output"):
        fd = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    for _ in range(4):  # who only looks whether it is locked holds it for a moment
        if lock_file(fd):
            return fd
        time.sleep(0.05)
    os.close(fd)
    raise RunStoreError(
        f"{path}: another process is writing this run; wait for it to end or choose another "
        "--output"
    )
