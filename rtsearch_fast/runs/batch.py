"""Run searchers over a set of problems, keep every finished result, grade it, and sum up."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict
from typing import Any, Protocol, overload

from ..evaluation.data import Item
from ..evaluation.grade import Grader
from ..evaluation.table import Row
from ..search.events import EventLog
from ..search.options import Budget, SearchOptions
from ..search.records import Problem, SearchResult
from ..search.task import Task
from .store import content_key

__all__ = [
    "AnySearcher",
    "Observer",
    "Records",
    "Results",
    "grade_result",
    "record_key",
    "run_batch",
    "summarise",
]


class Observer:
    """Is told of everything that happens; the default does nothing with it."""

    def started(self, method: str, total: int, done: int) -> None:
        """A method begins; `done` of its `total` problems were finished in an earlier session."""

    def committed(self, method: str, task: Task) -> None:
        """A simulation of `task` was committed."""

    def finished(self, method: str, item: Item, record: Mapping[str, Any]) -> None:
        """A problem is finished and its record written."""


class Named(Protocol):
    """A model or splitter, of which only the name matters."""

    @property
    def name(self) -> str: ...


class AnySearcher(Protocol):
    """A `Searcher`, or what stands for searchers elsewhere."""

    @property
    def method(self) -> str: ...
    @property
    def options(self) -> SearchOptions: ...
    @property
    def budget(self) -> Budget: ...
    @property
    def splitter(self) -> Named: ...
    @property
    def policy(self) -> Named: ...
    @property
    def reward(self) -> Named: ...

    def stream(
        self,
        problems: Sequence[Problem],
        on_commit: Callable[[Task], None] | None = None,
        events: EventLog | None = None,
    ) -> AsyncGenerator[SearchResult, None]: ...


def record_key(searcher: AnySearcher, item: Item, **more: Any) -> str:
    """The content key of a problem's record under these settings, and what else decides it."""
    options = asdict(searcher.options)
    # left out where off, so that files of a time before it can be resumed
    if not options["narrow"]:
        del options["narrow"]
    settings = {
        "options": options,
        "budget": asdict(searcher.budget),
        "splitter": searcher.splitter.name,
    }
    return content_key(
        item.problem,
        searcher.method,
        settings,
        searcher.policy.name,
        searcher.reward.name,
        gold=item.gold,
        # left out where there is none, so that older files can be resumed
        **({} if item.check is None else {"check": item.check}),
        **more,
    )


class Results(Protocol):
    """Where finished problems are kept; `RunStore` and `RunFolder` are such."""

    @property
    def done(self) -> Mapping[str, Any]:
        """What is finished, by key."""
        ...

    def expect(self, keys: Iterable[str]) -> None:
        """Refuse, if need be, what is finished under other keys than these."""
        ...

    def log(self, keys: Mapping[str, str]) -> EventLog | None:
        """Where events are kept of the problems with these ids and keys, if anywhere."""
        ...

    def record(self, key: str) -> dict[str, Any]:
        """The record of a finished problem."""
        ...

    def append(self, key: str, record: Mapping[str, Any]) -> None:
        """Keep the record of a finished problem."""
        ...

    def append_timing(self, key: str, timing: Mapping[str, Any]) -> None:
        """Keep its wall times."""
        ...

    def finalize(self, order: Iterable[str]) -> None:
        """All is done: put the records in order."""
        ...


class _InMemory:
    """Results that nobody wants to keep."""

    def __init__(self) -> None:
        self.done: dict[str, dict[str, Any]] = {}

    def expect(self, keys: Iterable[str]) -> None:
        pass

    def log(self, keys: Mapping[str, str]) -> None:
        pass

    def record(self, key: str) -> dict[str, Any]:
        return self.done[key]

    def append(self, key: str, record: Mapping[str, Any]) -> None:
        self.done[key] = dict(record)

    def append_timing(self, key: str, timing: Mapping[str, Any]) -> None:
        pass

    def finalize(self, order: Iterable[str]) -> None:
        pass


class Records(Sequence[dict[str, Any]]):
    """The records of one method, each read when it is looked at."""

    def __init__(self, store: Results, keys: Sequence[str]) -> None:
        self._store = store
        self._keys = keys

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Records: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | Records:
        if isinstance(index, slice):
            return Records(self._store, self._keys[index])
        return self._store.record(self._keys[index])


async def run_batch(
    items: Sequence[Item],
    searchers: Sequence[AnySearcher],
    store: Results | None,
    grader: Grader,
    observer: Observer | None = None,
    on_result: Callable[[SearchResult], None] | None = None,
    *,
    keep_trees: bool = False,
) -> dict[str, Records]:
    """Solve the items with each searcher in turn.

    Problems whose record is in the store are not solved again, and of those that were begun, what
    the store has of their trees. When all is done, the records are put into the order of searchers
    and items. With `keep_trees` records hold the search's tree, and those without are not taken for
    them.

    Returns
    -------
    dict of str to Records
        Per method, the records in the order of the items.
    """
    observer = observer or Observer()
    store = _InMemory() if store is None else store
    more = {"trees": True} if keep_trees else {}
    keys = {
        searcher.method: [record_key(searcher, item, **more) for item in items]
        for searcher in searchers
    }
    order = [key for method in keys for key in keys[method]]
    store.expect(order)
    for searcher in searchers:
        method = searcher.method
        by_problem = {
            id(item.problem): (key, item) for key, item in zip(keys[method], items, strict=True)
        }
        left = [item.problem for key, item in by_problem.values() if key not in store.done]
        observer.started(method, len(items), len(items) - len(left))
        events = store.log({item.problem.unique_id: key for key, item in by_problem.values()})

        def on_commit(task: Task, method: str = method) -> None:
            observer.committed(method, task)

        async with aclosing(searcher.stream(left, on_commit, events)) as results:
            async for result in results:
                key, item = by_problem[id(result.problem)]
                record = result.to_record(with_tree=keep_trees)
                if item.is_graded:
                    # in a thread: the other searches go on while an answer is graded
                    record |= await asyncio.to_thread(grade_result, grader, result, item)
                store.append(key, record)
                timing = {"method": method, "seconds": round(result.seconds, 3)}
                store.append_timing(key, timing)
                observer.finished(method, item, record)
                if on_result is not None:
                    on_result(result)
    store.finalize(order)
    return {method: Records(store, keys[method]) for method in keys}


def grade_result(grader: Grader, result: SearchResult, item: Item) -> dict[str, Any]:
    """Fields on the result's rightness; the only place where search and right answer meet."""
    answers = [candidate.answer for candidate in result.candidates]
    grades = grader.grade_item(item, [result.answer, *answers])
    return {
        "answer": item.gold,
        "correct": grades[0].correct,
        "correct_relative": grades[0].relative,
        "found": any(grade.correct for grade in grades[1:]),
    }


def summarise(
    records: Mapping[str, Iterable[Mapping[str, Any]]],
    seconds: Mapping[str, float] | None = None,
) -> list[Row]:
    """One row a method over the graded records; `seconds` is the wall time of each method."""
    return [
        _row(method, method_records, (seconds or {}).get(method, math.nan))
        for method, method_records in records.items()
    ]


def _row(method: str, records: Iterable[Mapping[str, Any]], seconds: float) -> Row:
    """Sums over the graded of a method's records, each looked at once."""
    counts: Counter[str] = Counter()
    for record in records:
        if "correct" in record:
            usage = record["usage"]
            counts["n"] += 1
            counts.update({name: record[name] for name in ("correct", "correct_relative", "found")})
            counts.update({name: usage[name] for name in ("policy_tokens", "reward_tokens")})
    names = ("n", "correct", "correct_relative", "found", "policy_tokens", "reward_tokens")
    return Row(method, **{name: counts[name] for name in names}, seconds=seconds)
