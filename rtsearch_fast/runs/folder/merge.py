"""Shards of one run, put together."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from ...errors import InvalidArgumentError, RunStoreError
from .about import first_difference
from .reader import RunReader
from .writer import write_merged

__all__ = ["merge_runs"]


def merge_runs(
    output: str | os.PathLike[str], folders: Sequence[str | os.PathLike[str]]
) -> tuple[int, int]:
    """Make one run folder of several of the same settings and problems.

    Unfinished trees come along: the merged run goes on with ``--resume``.

    Parameters
    ----------
    output : path-like
        The new folder.
    folders : sequence of path-like
        At least one. A problem that several have finished must have the same record in each.

    Returns
    -------
    int, int
        Records merged, and how many there are when all is finished.

    Raises
    ------
    RunStoreError
        Folders are of different runs, contradict each other or are being written; or the output
        cannot be written.
    """
    if not folders:
        raise InvalidArgumentError("name the run folders to merge")
    with ExitStack() as stack:
        readers = [stack.enter_context(RunReader(folder)) for folder in folders]
        first = readers[0]
        owner: dict[str, RunReader] = {}
        for reader in readers:
            _check(first, reader)
            for key in reader.done:
                known = owner.setdefault(key, reader)
                if known.raw(key) != reader.raw(key):
                    raise RunStoreError(
                        f"{reader.path}: its record of problem {reader.done[key].unique_id!r} by "
                        f"{reader.done[key].method} is not that of {known.path}; leave one out"
                    )
        begun: dict[str, RunReader] = {}
        for reader in readers:
            for key, events in reader.unfinished().items():
                if key not in owner and (key not in begun or begun[key].unfinished()[key] < events):
                    begun[key] = reader

        def lines() -> Iterator[bytes]:
            for key in first.ordered({key: reader.done[key] for key, reader in owner.items()}):
                yield owner[key].raw(key)
            for key in sorted(begun):
                yield from begun[key].raw_events(key)

        write_merged(Path(output), first.about.settings, first.items(), lines(), first.about.note)
        return len(owner), len(first.methods) * first.about.settings["num_problems"]


def _check(first: RunReader, reader: RunReader) -> None:
    if reader.is_running():
        raise RunStoreError(f"{reader.path}: is being written; wait for that process to end")
    if difference := first_difference(first.about.settings, reader.about.settings):
        name, there, here = difference
        raise RunStoreError(
            f"{reader.path}: has {name} {here}, {first.path} has {there}: they are not of one run"
        )
    if reader.about.version != first.about.version:
        raise RunStoreError(
            f"{reader.path}: is of rtsearch {reader.about.version}, {first.path} of "
            f"{first.about.version}: they are not of one run"
        )
