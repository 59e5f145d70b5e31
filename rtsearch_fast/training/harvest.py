"""Training data out of finished searches: solutions with their outcomes, and labels of steps.

A step's label is a Monte-Carlo estimate: the share of right ones among the finished solutions that
went through it. In a tree the search decided where more of them were drawn, so the estimate of a
step is fair to what the policy does after it, while steps differ in how sure theirs is: `counts`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import DataError, InvalidArgumentError
from ..evaluation.data import Item
from ..evaluation.grade import Grader
from ..search.records import Problem, SearchResult
from ..steps import make_splitter
from .samples import Sampled, by_question

__all__ = ["StepLabels", "harvest_records", "harvest_results", "label_steps"]


@dataclass(frozen=True, slots=True)
class StepLabels:
    """The steps of a solution, each with how often it led to a right answer.

    Attributes
    ----------
    unique_id : str
        Of the question.
    problem : str
    steps : tuple of str
    values : tuple of float
        Per step the share of right ones among the finished solutions through it.
    counts : tuple of int
        Per step how many these were.
    """

    unique_id: str
    problem: str
    steps: tuple[str, ...]
    values: tuple[float, ...]
    counts: tuple[int, ...]


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


def label_steps(samples: Iterable[Sampled], *, min_count: int = 1) -> list[StepLabels]:
    """Label the steps of each question's finished solutions by what they led to.

    Parameters
    ----------
    samples : iterable of Sampled
        Solutions that share their first steps share these labels. Those that were cut off do not
        count.
    min_count : int
        A solution is cut before the first step that fewer finished solutions went through.

    Returns
    -------
    list of StepLabels
        One for each solution that is not the beginning of another.

    Examples
    --------
    >>> texts = [("a", "b", "2"), ("a", "c", "3"), ("a", "b", "2")]
    >>> samples = [Sampled("1", "1 + 1", text, text[-1], text[-1] == "2") for text in texts]
    >>> for found in label_steps(samples):
    ...     print(found.steps, [round(value, 2) for value in found.values], found.counts)
    ('a', 'b', '2') [0.67, 1.0, 1.0] (3, 2, 2)
    ('a', 'c', '3') [0.67, 0.0, 0.0] (3, 1, 1)
    """
    if min_count < 1:
        raise InvalidArgumentError(f"min_count={min_count}: at least 1 solution makes a label")
    finished = [sample for sample in samples if sample.finish != "length" and sample.solution]
    return [
        labels
        for group in by_question(finished).values()
        for labels in _label_group(group, min_count)
    ]


_Path = tuple[str, ...]


def _label_group(group: Sequence[Sampled], min_count: int) -> list[StepLabels]:
    """The labels of one question's solutions."""
    right: dict[_Path, int] = {}
    count: dict[_Path, int] = {}
    paths: dict[_Path, Sampled] = {}
    for sample in group:
        path = _path(sample)
        paths.setdefault(path, sample)
        for prefix in _prefixes(path):
            right[prefix] = right.get(prefix, 0) + sample.right
            count[prefix] = count.get(prefix, 0) + 1
    kept: dict[_Path, Sampled] = {}
    for path, sample in paths.items():
        length = sum(count[prefix] >= min_count for prefix in _prefixes(path))
        if length:
            kept.setdefault(path[:length], sample)
    inner = {prefix for path in kept for prefix in _prefixes(path)[:-1]}
    return [
        StepLabels(
            sample.unique_id,
            sample.problem,
            sample.solution[: len(path)],
            tuple(right[prefix] / count[prefix] for prefix in _prefixes(path)),
            tuple(count[prefix] for prefix in _prefixes(path)),
        )
        for path, sample in kept.items()
        if path not in inner
    ]


def _path(sample: Sampled) -> _Path:
    # the last step of a solution has no blank line after it, the same step on the way has
    return tuple(step.strip() for step in sample.solution)


def _prefixes(path: _Path) -> list[_Path]:
    return [path[: i + 1] for i in range(len(path))]


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
    gold = record.get("answer")
    return _Record(
        Problem(unique_id, problem),
        _field(record, "method", str, where),
        None if gold is None else str(gold),
        tuple(map(str, texts)),
        solutions,
    )


def _field(record: Mapping[str, Any], name: str, kind: type, where: str) -> Any:
    value = record.get(name)
    if not isinstance(value, kind):
        raise DataError(
            f"{where}: {name} is {str(value)[:40]!r}: no record that rtsearch eval wrote; use its "
            "--output"
        )
    return value
