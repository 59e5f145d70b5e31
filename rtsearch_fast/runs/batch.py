"""Run searchers over a set of problems, keep every finished result, grade it, and sum up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from ..evaluation.data import Item
from ..evaluation.grade import Grader
from ..evaluation.table import Row
from ..search.records import SearchResult
from ..search.searcher import Searcher
from ..search.task import Task
from .store import RunStore, content_key

__all__ = ["Observer", "grade_result", "record_key", "run_batch", "summarise"]


class Observer:
    """Is told of everything that happens; the default does nothing with it."""

    def started(self, method: str, total: int, done: int) -> None:
        """A method begins; `done` of its `total` problems were finished in an earlier session."""

    def committed(self, method: str, task: Task) -> None:
        """A simulation of `task` was committed."""

    def finished(self, method: str, item: Item, record: Mapping[str, Any]) -> None:
        """A problem is finished and its record written."""


def record_key(searcher: Searcher, item: Item, **more: Any) -> str:
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


async def run_batch(
    items: Sequence[Item],
    searchers: Sequence[Searcher],
    store: RunStore | None,
    grader: Grader,
    observer: Observer | None = None,
    on_result: Callable[[SearchResult], None] | None = None,
    *,
    keep_trees: bool = False,
) -> dict[str, list[dict[str, Any]]]:
    """Solve the items with each searcher in turn.

    Problems whose record is in the store are not solved again. When all is done, the store's file
    is put into the order of searchers and items. With `keep_trees` records hold the search's tree,
    and those without are not taken for them.

    Returns
    -------
    dict of str to list of dict
        Per method, the records in the order of the items.
    """
    observer = observer or Observer()
    records: dict[str, dict[str, Any]] = dict(store.done) if store else {}
    more = {"trees": True} if keep_trees else {}
    keys = {
        searcher.method: [record_key(searcher, item, **more) for item in items]
        for searcher in searchers
    }
    for searcher in searchers:
        method = searcher.method
        by_problem = {
            id(item.problem): (key, item) for key, item in zip(keys[method], items, strict=True)
        }
        left = [item.problem for key, item in by_problem.values() if key not in records]
        observer.started(method, len(items), len(items) - len(left))

        def on_commit(task: Task, method: str = method) -> None:
            observer.committed(method, task)

        async with aclosing(searcher.stream(left, on_commit)) as results:
            async for result in results:
                key, item = by_problem[id(result.problem)]
                record = result.to_record(with_tree=keep_trees)
                if item.is_graded:
                    # in a thread: the other searches go on while an answer is graded
                    record |= await asyncio.to_thread(grade_result, grader, result, item)
                if store is not None:
                    store.append(key, record)
                    timing = {"method": method, "seconds": round(result.seconds, 3)}
                    store.append_timing(key, timing)
                records[key] = record
                observer.finished(method, item, record)
                if on_result is not None:
                    on_result(result)
    if store is not None:
        store.finalize(key for method in keys for key in keys[method])
    return {method: [records[key] for key in keys[method]] for method in keys}


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
    records: Mapping[str, Sequence[Mapping[str, Any]]],
    seconds: Mapping[str, float] | None = None,
) -> list[Row]:
    """One row a method over the graded records; `seconds` is the wall time of each method."""
    rows = []
    for method, all_records in records.items():
        graded = [record for record in all_records if "correct" in record]
        rows.append(
            Row(
                method=method,
                n=len(graded),
                correct=sum(record["correct"] for record in graded),
                correct_relative=sum(record["correct_relative"] for record in graded),
                found=sum(record["found"] for record in graded),
                policy_tokens=sum(record["usage"]["policy_tokens"] for record in graded),
                reward_tokens=sum(record["usage"]["reward_tokens"] for record in graded),
                seconds=(seconds or {}).get(method, float("nan")),
            )
        )
    return rows
