"""A run as a folder: what it is, its problems, and a journal of all that it finished and committed.

::

    run.json        settings, with a hash; a run goes on with the same settings only
    problems.jsonl  the problems and their right answers, in their order
    journal.jsonl   one truth: finished records with their trees, and events of unfinished trees
    results.jsonl   records in order, without trees, for other tools: made when all is finished
    timing.jsonl    wall times, by best effort; nothing else differs between two runs
    rtsearch.lock   held by the one process that writes

When a run is finished its journal is put in order, too, and events go. So a run that was killed and
resumed any number of times ends with the bytes of one left in peace.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import DataError, InvalidArgumentError, RunStoreError
from ..evaluation.data import Item
from ..search.events import Event, EventLog
from ..search.records import Problem
from .files import append_whole, json_line, lock_file, replace_file, reporting
from .journal import Journal, Place

__all__ = [
    "Done",
    "RunFolder",
    "RunReader",
    "Shard",
    "first_difference",
    "is_run",
    "write_merged",
]

_FORMAT = "rtsearch-run-1"
#: Folders hold these and nothing that is named by a problem or a model.
_RUN, _PROBLEMS, _JOURNAL, _LOCK = "run.json", "problems.jsonl", "journal.jsonl", "rtsearch.lock"
_RESULTS, _TIMING = "results.jsonl", "timing.jsonl"


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `number` (from 1) of `count`: each `count`-th problem.

    Examples
    --------
    >>> Shard.parse("2/3").take([0, 1, 2, 3, 4])
    [1, 4]
    """

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read "i/n"."""
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise InvalidArgumentError(
                f"shard {text!r}: write i/n with 1 <= i <= n, such as 2/8 for the second of 8 parts"
            )
        return cls(int(match[1]), int(match[2]))

    def take(self, items: Sequence[Any]) -> list[Any]:
        """The shard's own of these."""
        return list(items[self.number - 1 :: self.count])

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True, slots=True)
class Done:
    """A finished problem: where its record is, and what tells its place in the order."""

    place: Place
    method: str
    unique_id: str


class RunReader:
    """A run folder, to look at; somebody else may be writing it.

    Parameters
    ----------
    path : path-like

    Attributes
    ----------
    path : Path
    settings : dict
    version : str
        Of the rtsearch that made it.
    note : str
        Where the problems come from.
    shard : Shard
    done : dict of str to Done
        Finished problems by key.
    damage : list of str
        What was found to be damaged, a sentence each.

    Raises
    ------
    RunStoreError
        It is no run folder, or its settings are damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        about = _read_about(self.path)
        self.settings: dict[str, Any] = about["settings"]
        self.version: str = about["version"]
        self.note: str = about["note"]
        self.shard = Shard.parse(about["shard"])
        self.done: dict[str, Done] = {}
        self._events: dict[str, list[Place]] = {}
        self._journal = self._open_journal()
        try:
            self._read_journal()
        except BaseException:
            self.close()
            raise

    def _open_journal(self) -> Journal:
        return Journal(self.path / _JOURNAL)

    def _read_journal(self) -> None:
        for line in self._journal.lines():
            entry = line.entry
            if "done" in entry:
                record = entry["record"]
                self.done[entry["done"]] = Done(line.place, record["method"], record["unique_id"])
                self._events.pop(entry["done"], None)
            elif entry["of"] not in self.done:
                _place_event(self._events.setdefault(entry["of"], []), entry["event"], line.place)

    def __enter__(self) -> RunReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        self._journal.close()

    @property
    def damage(self) -> list[str]:
        return self._journal.damage

    @property
    def methods(self) -> list[str]:
        return list(self.settings["methods"])

    def is_running(self) -> bool:
        """Whether a process is writing it now."""
        try:
            fd = os.open(self.path / _LOCK, os.O_RDWR)
        except OSError:
            return False
        try:
            return not lock_file(fd)
        finally:
            os.close(fd)

    def items(self) -> list[Item]:
        """All problems of the run, whatever the shard, in their order.

        Raises
        ------
        RunStoreError
            They are missing, or not those that the run began with.
        """
        path = self.path / _PROBLEMS
        with reporting(f"{path}: cannot be read (%s)"):
            data = path.read_bytes()
        if hashlib.blake2b(data, digest_size=16).hexdigest() != self.settings["problems"]:
            raise RunStoreError(
                f"{path}: holds other problems than the run began with; put the file back, or "
                "choose another --output"
            )
        return [_item(json.loads(line)) for line in data.splitlines()]

    def total(self) -> int:
        """Problems of the shard, once for each method."""
        return len(self.methods) * len(self.shard.take(range(self.settings["num_problems"])))

    def record(self, key: str, *, with_tree: bool = False) -> dict[str, Any]:
        """The record of a finished problem; with its tree, if it has one and that is wanted."""
        entry = self._journal.read(self.done[key].place)
        record: dict[str, Any] = entry["record"]
        if with_tree and "tree" in entry:
            record["tree"] = _unpack(entry["tree"])
        return record

    def records(self, *, with_trees: bool = False) -> Iterator[dict[str, Any]]:
        """All records, by method and in the order of the problems."""
        for key in self.ordered():
            yield self.record(key, with_tree=with_trees)

    def grouped(self) -> Iterator[list[tuple[str, dict[str, Any]]]]:
        """All records with their trees, those of one problem together, each with its place."""
        groups: dict[str, list[str]] = {}
        for key in self.ordered():
            groups.setdefault(self.done[key].unique_id, []).append(key)
        for unique_id, keys in groups.items():
            where = f"{self.path}, problem {unique_id}"
            yield [(where, self.record(key, with_tree=True)) for key in keys]

    def ordered(self, done: Mapping[str, Done] | None = None) -> list[str]:
        """The keys of finished problems, by method and in the order of the problems.

        Those of this folder, if `done` does not name others of the same run.
        """
        done = self.done if done is None else done
        methods = {method: number for number, method in enumerate(self.methods)}
        places = {item.problem.unique_id: number for number, item in enumerate(self.items())}

        def rank(key: str) -> tuple[int, int]:
            method, unique_id = done[key].method, done[key].unique_id
            # of other settings, where these were lost: last
            return methods.get(method, len(methods)), places.get(unique_id, len(places))

        return sorted(done, key=rank)

    def unfinished(self) -> dict[str, int]:
        """Of problems that are begun, by key, the simulations that are kept."""
        return {key: len(places) for key, places in self._events.items()}

    def events(self, key: str) -> list[dict[str, Any]]:
        """The events of a problem that is begun, in order."""
        return [self._journal.read(place) for place in self._events.get(key, ())]

    def raw(self, key: str) -> bytes:
        """The journal's line of a finished problem."""
        return self._journal.raw(self.done[key].place)

    def raw_events(self, key: str) -> list[bytes]:
        """The journal's lines of a problem that is begun."""
        return [self._journal.raw(place) for place in self._events.get(key, ())]


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
        problems = b"".join(_problem_line(item) for item in items)
        settings = {
            **json.loads(json.dumps(settings)),
            "problems": hashlib.blake2b(problems, digest_size=16).hexdigest(),
            "num_problems": len(items),
        }
        self._lock_fd = _lock(path)
        try:
            if not resume and ((path / _RUN).exists() or (path / _JOURNAL).exists()):
                raise RunStoreError(
                    f"{path}: holds a run; pass --resume to go on with it or choose another "
                    "--output"
                )
            if not (path / _RUN).exists() or _grows(path, settings, shard or Shard(), problems):
                _write_about(path, settings, shard or Shard(), problems, note)
            super().__init__(path)
        except BaseException:
            self._unlock()
            raise

    def _open_journal(self) -> Journal:
        return Journal(self.path / _JOURNAL, writable=True)

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

    def append(self, key: str, record: Mapping[str, Any]) -> None:
        """Write the record of a finished problem, its tree compressed; it is on disk on return."""
        if key in self.done:
            raise InvalidArgumentError(f"{self.path}: key {key} is written already")
        record = dict(record)
        tree = record.pop("tree", None)
        packed = {} if tree is None else {"tree": _pack(tree)}
        place = self._journal.append({"done": key, "record": record, **packed})
        self.done[key] = Done(place, record["method"], record["unique_id"])
        self._events.pop(key, None)

    def append_event(self, key: str, number: int, event: Event) -> None:
        """Write simulation `number` of a problem; what was known from there on is void."""
        place = self._journal.append({"event": number, "of": key, **event}, lasting=False)
        _place_event(self._events.setdefault(key, []), number, place)

    def append_timing(self, key: str, timing: Mapping[str, Any]) -> None:
        """Note wall times of a record. Failures to write are passed over."""
        # the leading newline ends a line that a kill may have torn
        line = b"\n" + json.dumps({"key": key, **timing}).encode() + b"\n"
        with suppress(OSError), open(self.path / _TIMING, "ab", buffering=0) as file:
            append_whole(file.fileno(), line)

    def log(self, keys: Mapping[str, str]) -> EventLog:
        """Where a searcher keeps its events; `keys` are those of its problems' ids."""
        return _Log(self, keys)

    def finalize(self, order: Iterable[str]) -> None:
        """Write the results in order, and put the journal in order, without what is done with."""
        order = [key for key in order if key in self.done]
        with reporting(f"{self.path}: the results cannot be written (%s); make room, --resume"):
            records = (json_line({"key": key, **self.record(key)}) for key in order)
            replace_file(self.path / _RESULTS, records)
        events = (line for key in sorted(self._events) for line in self.raw_events(key))
        self._journal.rewrite(line for lines in (map(self.raw, order), events) for line in lines)
        self.done.clear()
        self._events.clear()
        self._read_journal()


class _Log:
    """The events of one searcher's problems, in the journal."""

    def __init__(self, folder: RunFolder, keys: Mapping[str, str]) -> None:
        self._folder = folder
        self._keys = keys

    def known(self, problem: Problem) -> Sequence[Event]:
        return self._folder.events(self._keys[problem.unique_id])

    def committed(self, problem: Problem, number: int, event: Event) -> None:
        self._folder.append_event(self._keys[problem.unique_id], number, event)


def is_run(path: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a run."""
    return (Path(path) / _RUN).is_file()


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
        if (path / _RUN).exists():
            raise RunStoreError(f"{path}: holds a run; choose another folder to merge into")
        problems = b"".join(map(_problem_line, items))
        with reporting(f"{path}: cannot be written (%s)"):
            replace_file(path / _JOURNAL, lines)
        _write_about(path, settings, Shard(), problems, note)
    finally:
        os.close(fd)


def _place_event(places: list[Place], number: int, place: Place) -> None:
    """Of events with one number the latest counts, and nothing that followed an earlier one."""
    if number <= len(places):  # after a gap, where a line was damaged, nothing can be used
        places[number:] = [place]


def _lock(path: Path) -> int:
    with reporting(f"{path}: cannot be made (%s); choose another --output"):
        path.mkdir(parents=True, exist_ok=True)
        # what is in a folder that never was a run's must not be written over
        strange = [] if (path / _LOCK).exists() else sorted(entry.name for entry in path.iterdir())
    if strange:
        raise RunStoreError(
            f"{path}: holds {strange[0]!r} and is no run folder; choose another --output"
        )
    with reporting(f"{path}: cannot be written (%s); choose another --output"):
        fd = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    for _ in range(4):  # who only looks whether it is locked holds it for a moment
        if lock_file(fd):
            return fd
        time.sleep(0.05)
    os.close(fd)
    raise RunStoreError(
        f"{path}: another process is writing this run; wait for it to end or choose another "
        "--output"
    )


def _write_about(
    path: Path, settings: Mapping[str, Any], shard: Shard, problems: bytes, note: str
) -> None:
    """The settings last: a folder without them has not begun."""
    about = {
        "format": _FORMAT,
        "version": __version__,
        "note": note,
        "shard": str(shard),
        "settings": settings,
        "hash": _hash(settings),
    }
    with reporting(f"{path}: cannot be written (%s); choose another --output"):
        replace_file(path / _PROBLEMS, [problems])
        replace_file(path / _RUN, [json.dumps(about, indent=2).encode() + b"\n"])


def _read_about(path: Path) -> dict[str, Any]:
    file = path / _RUN
    try:
        about: dict[str, Any] = json.loads(file.read_bytes())
        form, version, settings = about["format"], about["version"], about["settings"]
        shard, digest, note = about["shard"], about["hash"], about["note"]
    except FileNotFoundError:
        hint = "rtsearch eval --output makes one"
        raise RunStoreError(f"{path}: is no run folder (it has no {_RUN}); {hint}") from None
    except NotADirectoryError:
        raise RunStoreError(f"{path}: is a file, not a run folder; name the folder") from None
    except OSError as error:
        raise RunStoreError(f"{file}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise RunStoreError(
            f"{file}: is damaged; if you know that the settings are the same, delete it and go on "
            "with --resume: the journal has the records' keys, which tell other settings"
        ) from None
    if form != _FORMAT:
        raise RunStoreError(
            f"{path}: has the format {form!r} of rtsearch {version}, this one reads {_FORMAT!r}; "
            "use that version, or choose another --output"
        )
    if (
        not isinstance(settings, dict)
        or digest != _hash(settings)
        or not (isinstance(shard, str) and isinstance(note, str))
    ):
        raise RunStoreError(
            f"{file}: was changed by hand (its hash differs); put the settings back, or choose "
            "another --output"
        )
    return about


def _grows(path: Path, settings: Mapping[str, Any], shard: Shard, problems: bytes) -> bool:
    """Whether methods or problems were added to those of a run; other differences are refused."""
    about = _read_about(path)
    if about["version"] != __version__:
        raise RunStoreError(
            f"{path}: was begun by rtsearch {about['version']}, this is {__version__}, and a "
            "search may differ between them; go on with that version, or choose another --output"
        )
    advice = "use the same to go on, or choose another --output"
    there = about["settings"]
    known = {**settings, **{name: there.get(name) for name in _GROWING}}
    if difference := first_difference(there, known):
        name, before, now = difference
        raise RunStoreError(f"{path}: was begun with {name} {before}, now it is {now}; {advice}")
    if about["shard"] != str(shard):
        raise RunStoreError(
            f"{path}: holds shard {about['shard']}, not {shard}; give each shard a folder of its "
            "own, then rtsearch merge"
        )
    methods = there["methods"]
    if settings["methods"][: len(methods)] != methods:
        names = ",".join(methods)
        raise RunStoreError(f"{path}: was begun with the methods {names}; name them first")
    with reporting(f"{path / _PROBLEMS}: cannot be read (%s)"):
        earlier = (path / _PROBLEMS).read_bytes()
    if not problems.startswith(earlier):
        raise RunStoreError(
            f"{path}: was begun with {there['num_problems']} other problems; {advice}"
        )
    return bool(there != settings)


#: What may be more when a run is resumed.
_GROWING = ("methods", "problems", "num_problems")


def first_difference(there: Any, here: Any, name: str = "") -> tuple[str, str, str] | None:
    """The first setting that differs: its dotted name, and both values in short.

    Examples
    --------
    >>> first_difference({"budget": {"tokens": 100}}, {"budget": {"tokens": 200}})
    ('budget.tokens', '100', '200')
    """
    if isinstance(there, dict) and isinstance(here, dict):
        for key in dict.fromkeys((*there, *here)):
            inner = f"{name}.{key}" if name else str(key)
            if found := first_difference(there.get(key), here.get(key), inner):
                return found
        return None
    return None if there == here else (name, _short(there), _short(here))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _hash(settings: Any) -> str:
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _problem_line(item: Item) -> bytes:
    entry = {"unique_id": item.problem.unique_id, "problem": item.problem.problem}
    entry |= {} if item.gold is None else {"answer": item.gold}
    entry |= {} if item.check is None else {"check": item.check}
    return json_line(entry)


def _item(entry: dict[str, Any]) -> Item:
    problem = Problem(entry["unique_id"], entry["problem"])
    return Item(problem, entry.get("answer"), entry.get("check"))


def _pack(tree: Mapping[str, Any]) -> str:
    data = json.dumps(tree, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()
    return base64.b64encode(zlib.compress(data)).decode()


#: A tree of a million nodes with long steps stays below.
_MAX_TREE = 1 << 30


def _unpack(packed: str) -> Any:
    engine = zlib.decompressobj()
    try:
        data = engine.decompress(base64.b64decode(packed), _MAX_TREE)
        if engine.eof:
            return json.loads(data)
    except (zlib.error, ValueError, RecursionError):
        pass
    raise DataError(f"a tree is damaged, or has more than {_MAX_TREE} bytes")
