"""One shard of a study: all cells of one set of problems and one seed, in one process.

Problems go through in chunks. All cells of a chunk share one memo of the models' answers, which is
forgotten with it; the largest budget of a method comes first, so that the smaller ones find most of
what they ask. A record is on disk the moment its search is finished, so a killed shard goes on
where it was, and ends with the same files.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from ...aio import together
from ...errors import InvalidArgumentError, RunStoreError
from ...evaluation.data import Item
from ...evaluation.grade import Grader
from ...search.options import Budget, SearchOptions
from ...search.records import SearchResult
from ...search.searcher import Searcher
from ..batch import grade_result, record_key
from ..memo import MemoPolicy, MemoReward, MemoStats
from ..store import RunStore
from .grid import Cell

__all__ = ["Setup", "ShardProgress", "run_shard"]


@dataclass(frozen=True, slots=True)
class Setup:
    """What the searches of a cell run with; its seed comes from the cell.

    Attributes
    ----------
    policy, reward : MemoPolicy, MemoReward
        Shared by all cells that ask the same models.
    options : SearchOptions
    splitter : str
    weights : str
        Tells models of the same name apart, as a hash of their files does.
    sequences : int
    """

    policy: MemoPolicy
    reward: MemoReward
    options: SearchOptions
    splitter: str = "labelled"
    weights: str = ""
    sequences: int = 128


@dataclass(frozen=True, slots=True)
class ShardProgress:
    """How far a shard is: problems done of all, and the tokens of this session."""

    done: int
    total: int
    generated: int
    from_memo: int


@dataclass(slots=True)
class _Run:
    """A cell with its searcher, its journal and the keys of its records."""

    cell: Cell
    searcher: Searcher
    store: RunStore
    keys: dict[str, str]  # unique_id -> key


async def run_shard(
    cells: Sequence[Cell],
    items: Sequence[Item],
    setup: Callable[[Cell], Setup],
    folder: Path,
    grader: Grader,
    *,
    limit: int | None = None,
    chunk: int = 50,
    on_chunk: Callable[[ShardProgress], None] | None = None,
) -> None:
    """Search all problems in all cells that have no record of them yet.

    Parameters
    ----------
    cells : sequence of Cell
        Of one set of problems.
    items : sequence of Item
        The problems, all of them; each must be graded.
    setup : callable
        Gives what a cell runs with.
    folder : Path
        Of the journals.
    limit : int, optional
        Search the first so many problems only.
    chunk : int
        Problems that are in the memo at once.

    Raises
    ------
    RunStoreError
        A journal is in use, or of other settings, models or problems.
    """
    if chunk < 1:
        raise InvalidArgumentError(f"chunk={chunk}: must be at least 1")
    if limit is not None and limit < 1:
        raise InvalidArgumentError(f"limit={limit}: must be at least 1")
    setups = {cell: setup(cell) for cell in cells}
    memos = {id(m): m for s in setups.values() for m in (s.policy, s.reward)}
    wanted = list(items[:limit])
    grading = asyncio.Lock()  # the grader serves one thread at a time

    async def work(run: _Run, todo: Sequence[Item]) -> None:
        by_problem = {id(item.problem): item for item in todo}
        problems = [item.problem for item in todo]
        async with aclosing(run.searcher.stream(problems)) as results:
            async for result in results:
                item = by_problem[id(result.problem)]
                async with grading:
                    grades = await asyncio.to_thread(grade_result, grader, result, item)
                record = _record(run.cell, result, grades)
                run.store.append(run.keys[item.problem.unique_id], record)

    async def chain(runs: Sequence[_Run], part: Sequence[Item]) -> None:
        for run in runs:
            if todo := [i for i in part if run.keys[i.problem.unique_id] not in run.store.done]:
                await work(run, todo)

    with ExitStack() as stack:
        runs = [_open(cell, setups[cell], items, folder, stack) for cell in cells]
        chains: defaultdict[tuple[str, str], list[_Run]] = defaultdict(list)
        for run in sorted(runs, key=lambda run: -run.cell.budget):
            chains[run.cell.variant, run.cell.method].append(run)
        done = 0
        for part in _chunks(wanted, chunk):
            await together(chain(each, part) for each in chains.values())
            done += len(part)
            for memo in memos.values():
                memo.clear()
            if on_chunk is not None:
                stats = [memo.stats for memo in memos.values()]
                on_chunk(_progress(done, len(wanted), stats))
        for run in runs:
            run.store.finalize(run.keys.values())


def _open(cell: Cell, setup: Setup, items: Sequence[Item], folder: Path, stack: ExitStack) -> _Run:
    searcher = Searcher(
        setup.policy,
        setup.reward,
        method=cell.method,
        budget=Budget(tokens=cell.budget),
        options=replace(setup.options, seed=cell.seed),
        splitter=setup.splitter,
        sequences=setup.sequences,
    )
    keys = {
        item.problem.unique_id: record_key(searcher, item, weights=setup.weights) for item in items
    }
    path = cell.journal(folder)
    store = stack.enter_context(RunStore(path, resume=True))
    if strange := set(store.done) - set(keys.values()):
        raise RunStoreError(
            f"{path}: holds {len(strange)} records of other settings, models or problems: delete "
            "it, or choose another output"
        )
    return _Run(cell, searcher, store, keys)


def _record(cell: Cell, result: SearchResult, grades: dict[str, Any]) -> dict[str, Any]:
    """What the report needs of a search; its solutions would fill the disk."""
    return {
        **asdict(cell),
        "unique_id": result.problem.unique_id,
        "pred": result.answer,
        "correct": grades["correct"],
        "found": grades["found"],
        "candidates": len(result.candidates),
        "finished": sum(candidate.finished for candidate in result.candidates),
        "usage": asdict(result.usage),
        "stop_reason": result.stop_reason,
        "signature": result.signature,
    }


def _chunks(items: Sequence[Item], size: int) -> Iterable[list[Item]]:
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


def _progress(done: int, total: int, stats: Sequence[MemoStats]) -> ShardProgress:
    asked, known = sum(s.asked_tokens for s in stats), sum(s.known_tokens for s in stats)
    return ShardProgress(done, total, asked, known)
