"""A run folder, to look at."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...evaluation.data import Item
from ..files import lock_file
from .about import RUN, About, read_problems
from .journal import Journal, Place
from .packed import unpack

__all__ = ["JOURNAL", "LOCK", "Done", "RunReader", "is_run", "place_event"]

JOURNAL, LOCK = "journal.jsonl", "rtsearch.lock"


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
    about : About, optional
        What is in it, if that is known.

    Attributes
    ----------
    path : Path
    about : About
    done : dict of str to Done
        Finished problems by key.
    damage : list of str
        What was found to be damaged, a sentence each.

    Raises
    ------
    RunStoreError
        It is no run folder, or its settings are damaged.
    """

    def __init__(self, path: str | os.PathLike[str], about: About | None = None) -> None:
        self.path = Path(path)
        self.about = About.read(self.path) if about is None else about
        self.done: dict[str, Done] = {}
        self._events: dict[str, list[Place]] = {}
        self._journal = self._open_journal()
        try:
            self._read_journal()
        except BaseException:
            self.close()
            raise

    def _open_journal(self) -> Journal:
        return Journal(self.path / JOURNAL)

    def _read_journal(self) -> None:
        for line in self._journal.lines():
            entry = line.entry
            if "done" in entry:
                record = entry["record"]
                self.done[entry["done"]] = Done(line.place, record["method"], record["unique_id"])
                self._events.pop(entry["done"], None)
            elif entry["of"] not in self.done:
                place_event(self._events.setdefault(entry["of"], []), entry["event"], line.place)

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
        return list(self.about.settings["methods"])

    def is_running(self) -> bool:
        """Whether a process is writing it now."""
        try:
            fd = os.open(self.path / LOCK, os.O_RDWR)
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
        return read_problems(self.path, self.about)

    def total(self) -> int:
        """Problems of the shard, once for each method."""
        own = self.about.shard.take(range(self.about.settings["num_problems"]))
        return len(self.methods) * len(own)

    def record(self, key: str, *, with_tree: bool = False) -> dict[str, Any]:
        """The record of a finished problem; with its tree, if it has one and that is wanted."""
        entry = self._journal.read(self.done[key].place)
        record: dict[str, Any] = entry["record"]
        if with_tree and "tree" in entry:
            record["tree"] = unpack(entry["tree"])
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


def is_run(path: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a run."""
    return (Path(path) / RUN).is_file()


def place_event(places: list[Place], number: int, place: Place) -> None:
    """Of events with one number the latest counts, and nothing that followed an earlier one."""
    if number <= len(places):  # after a gap, where a line was damaged, nothing can be used
        places[number:] = [place]
