"""Training data out of finished searches: solutions with their outcomes, and trees."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import DataError
from ..evaluation.data import Item
from ..evaluation.grade import Grader
from ..search.records import Problem, SearchResult, SearchTree
from ..steps import make_splitter
from .jsonl import read_grouped
from .samples import Sampled

__all__ = ["Grown", "harvest_records", "harvest_results", "read_trees"]


def harvest_results(
    results: Iterable[SearchResult], items: Iterable[Item], grader: Grader
) -> list[Sampled]:
    """All solutions of finished searches, graded.

    Parameters
    ----------
    results : iterable of SearchResult
    items : iterable of Item
        Their problems, with what decides on right answers; there may be more of them.
    grader : Grader

    Raises
    ------
    DataError
        A problem has nothing to grade against.
    """
    known = _graded(items)
    found = []
    for result in results:
        problem = result.problem
        if problem.unique_id not in known:
            raise DataError(
                f"problem {problem.unique_id}: has no right answer to grade against: add it"
            )
        answers = [c.answer for c in result.candidates]
        grades = grader.grade_item(known[problem.unique_id], answers)
        found += [
            _sampled(
                problem,
                c.steps,
                _Solution(c.answer, c.score, c.num_tokens, c.finished),
                grade.correct,
            )
            for c, grade in zip(result.candidates, grades, strict=True)
        ]
    return found


def harvest_records(
    records: Iterable[tuple[str, Mapping[str, Any]]],
    grader: Grader,
    *,
    items: Iterable[Item] = (),
    splitter: str = "labelled",
    methods: Collection[str] | None = None,
) -> list[Sampled]:
    """All solutions in the records that `rtsearch eval` writes, graded.

    Sampling methods draw the same solutions from the same seeds: of records of one problem with the
    same solutions, the first is taken.

    Parameters
    ----------
    records : iterable of (str, mapping)
        Where each record stands, and the record: what `jsonl.read_jsonl` gives.
    grader : Grader
    items : iterable of Item
        What decides on right answers where a record does not tell it: `rtsearch solve` without
        answers, and problems that have a check instead of one right answer.
    splitter : str
        What a step was in that run: the records hold whole texts.
    methods : collection of str, optional
        Take the records of these methods alone.

    Raises
    ------
    DataError
        A record is none, or has no right answer; or nothing is left.
    """
    split = make_splitter(splitter).split
    known = _graded(items)
    samples: list[Sampled] = []
    seen: set[tuple[str, tuple[str, ...]]] = set()
    met: set[str] = set()
    for where, record in records:
        row = _read(record, where)
        met.add(row.method)
        if methods is not None and row.method not in methods:
            continue
        if (row.problem.unique_id, row.texts) in seen:
            continue
        seen.add((row.problem.unique_id, row.texts))
        item = known.get(row.problem.unique_id, Item(row.problem, row.gold))
        if not item.is_graded:
            raise DataError(
                f"{where}: the record has no right answer to grade against: name the file of its "
                "problems"
            )
        grades = grader.grade_item(item, [solution.answer for solution in row.solutions])
        samples += [
            _sampled(row.problem, tuple(split(text)), solution, grade.correct)
            for text, solution, grade in zip(row.texts, row.solutions, grades, strict=True)
        ]
    if not samples:
        asked = "" if methods is None else f" of {', '.join(sorted(methods))}"
        raise DataError(
            f"no solution in the records{asked} (there are records of "
            f"{', '.join(sorted(met)) or 'no method'}): give a file that rtsearch eval wrote"
        )
    return samples


class Grown(NamedTuple):
    """What searches for one problem grew.

    Attributes
    ----------
    problem : Problem
    gold : str or None
        Its right answer, where the records tell it.
    trees : list of SearchTree
    """

    problem: Problem
    gold: str | None
    trees: list[SearchTree]


def read_trees(
    path: str | os.PathLike[str],
    groups: Iterable[Sequence[tuple[str, Mapping[str, Any]]]] | None = None,
) -> Iterator[Grown]:
    """The trees in a file of records, problem by problem, with those of one problem in memory.

    Records without a tree are passed over, and those of a search that was met before.

    Parameters
    ----------
    path : path-like
    groups : iterable of sequence of (str, mapping), optional
        The records of each problem, each with where it stands, if `path` is not a JSONL file.

    Raises
    ------
    DataError
        The file cannot be read, a line is no record or its tree is damaged, or there is no tree.
    """
    records = trees = 0
    found: Iterable[Sequence[tuple[str, Mapping[str, Any]]]]
    found = read_grouped(path, "unique_id") if groups is None else groups
    for group in found:
        records += len(group)
        grown: dict[Problem, Grown] = {}  # problems of rtsearch solve "..." all have the same id
        met: set[tuple[Problem, str]] = set()
        for where, record in group:
            signature, *names = (
                _field(record, name, str, where) for name in ("signature", "unique_id", "problem")
            )
            problem = Problem(*names)
            if "tree" not in record or (problem, signature) in met:
                continue
            met.add((problem, signature))
            try:
                tree = SearchTree.from_record(record["tree"])
            except DataError as error:
                raise DataError(f"{where}: the record's tree is damaged: {error}") from None
            grown.setdefault(problem, Grown(problem, _gold(record), [])).trees.append(tree)
            trees += 1
        yield from grown.values()
    if not trees:
        raise DataError(
            f"{os.fspath(path)}: none of {records} records has a tree: take a run of rtsearch "
            "eval, or rtsearch solve --keep-trees, of a method that grows one (mcts, mcts_g)"
        )


class _Solution(NamedTuple):
    """What is told of a solution, beside its text."""

    answer: str | None
    score: float
    num_tokens: int
    finished: bool


class _Record(NamedTuple):
    """A line of a results file."""

    problem: Problem
    method: str
    gold: str | None
    texts: tuple[str, ...]
    solutions: list[_Solution]


def _graded(items: Iterable[Item]) -> dict[str, Item]:
    return {item.problem.unique_id: item for item in items if item.is_graded}


def _sampled(problem: Problem, steps: tuple[str, ...], solution: _Solution, right: bool) -> Sampled:
    return Sampled(
        problem.unique_id,
        problem.problem,
        steps,
        solution.answer,
        right,
        solution.score,
        solution.num_tokens,
        "eos" if solution.finished else "length",
    )


def _read(record: Mapping[str, Any], where: str) -> _Record:
    texts = _field(record, "completions", list, where)
    names = ("answers", "scores", "completion_tokens", "finished")
    lists = [_field(record, name, list, where) for name in names]
    if any(len(values) != len(texts) for values in lists):
        raise DataError(f"{where}: its lists differ in length; the record is damaged")
    try:
        solutions = [
            _Solution(answer, math.nan if score is None else float(score), int(count), bool(end))
            for answer, score, count, end in zip(*lists, strict=True)
        ]
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: the record is damaged ({error})") from None
    unique_id, problem = (_field(record, name, str, where) for name in ("unique_id", "problem"))
    return _Record(
        Problem(unique_id, problem),
        _field(record, "method", str, where),
        _gold(record),
        tuple(map(str, texts)),
        solutions,
    )


def _gold(record: Mapping[str, Any]) -> str | None:
    gold = record.get("answer")
    return None if gold is None else str(gold)


def _field(record: Mapping[str, Any], name: str, kind: type, where: str) -> Any:
    value = record.get(name)
    if not isinstance(value, kind):
        raise DataError(
            f"{where}: {name} is {str(value)[:40]!r}: no record that rtsearch eval wrote; use its "
            "--output"
        )
    return value
