"""The unit of training data: one solution that the policy wrote, and whether it is right."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from ..errors import DataError
from .jsonl import read_grouped, read_jsonl, write_jsonl

__all__ = ["Sampled", "by_question", "read_questions", "read_samples", "write_samples"]


@dataclass(frozen=True, slots=True)
class Sampled:
    """A sampled solution with its outcome.

    Attributes
    ----------
    unique_id : str
        Of the question; the samples of one question share it.
    problem : str
    solution : tuple of str
        Its steps; joined they are the text.
    answer : str or None
        The final answer as written, None where there is none.
    right : bool
        Whether that is the right answer.
    score : float
        The reward model's judgement in [0, 1]; NaN where there is none.
    num_tokens : int
        Tokens that the policy generated; 0 where that is not known.
    finish : str
        How generation ended: "eos", "stop" or "length" (cut off).

    Examples
    --------
    >>> Sampled("7", "1 + 1 = ?", ("## Answer\\n", "\\\\boxed{2}"), "2", True).text
    '## Answer\\n\\\\boxed{2}'
    """

    unique_id: str
    problem: str
    solution: tuple[str, ...]
    answer: str | None
    right: bool
    score: float = math.nan
    num_tokens: int = 0
    finish: str = "eos"

    @property
    def text(self) -> str:
        """The whole solution."""
        return "".join(self.solution)

    @property
    def scored(self) -> bool:
        """Whether the reward model judged it."""
        return not math.isnan(self.score)


def by_question(samples: Iterable[Sampled]) -> dict[str, list[Sampled]]:
    """The samples of each question, in the order in which they came."""
    questions: dict[str, list[Sampled]] = defaultdict(list)
    for sample in samples:
        questions[sample.unique_id].append(sample)
    return dict(questions)


def write_samples(path: str | os.PathLike[str], samples: Iterable[Sampled]) -> int:
    """Write samples as JSONL, all or nothing; returns how many."""
    return write_jsonl(path, map(_to_row, samples))


def read_samples(path: str | os.PathLike[str]) -> list[Sampled]:
    """Read samples that `write_samples` wrote.

    A `solution` that is one text is taken as one step; `score`, `num_tokens` and `finish` may be
    missing.

    Raises
    ------
    DataError
        The file cannot be read or holds no sample, or a line is none. The message names both.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "samples.jsonl")
    >>> write_samples(path, [Sampled("7", "1 + 1 = ?", ("\\\\boxed{2}",), "2", True, 0.75)])
    1
    >>> [(sample.answer, sample.right, sample.score) for sample in read_samples(path)]
    [('2', True, 0.75)]
    """
    samples = [_from_row(row, where) for where, row in read_jsonl(path)]
    if not samples:
        _refuse_empty(path)
    return samples


def read_questions(path: str | os.PathLike[str]) -> Iterator[list[Sampled]]:
    """Read the samples of one question after the other, in the order of `by_question`.

    Raises
    ------
    DataError
        As `read_samples`.
    """
    found = False
    for group in read_grouped(path, "unique_id"):
        found = True
        yield [_from_row(row, where) for where, row in group]
    if not found:
        _refuse_empty(path)


def _to_row(sample: Sampled) -> dict[str, Any]:
    return {
        "unique_id": sample.unique_id,
        "problem": sample.problem,
        "solution": list(sample.solution),
        "answer": sample.answer,
        "right": sample.right,
        "score": sample.score if sample.scored else None,  # JSON has no NaN
        "num_tokens": sample.num_tokens,
        "finish": sample.finish,
    }


def _from_row(row: dict[str, Any], where: str) -> Sampled:
    unique_id, problem = _text(row, "unique_id", where), _text(row, "problem", where)
    solution = row.get("solution")
    steps = [solution] if isinstance(solution, str) else solution
    if not isinstance(steps, list) or not all(isinstance(step, str) for step in steps):
        _refuse(row, "solution", where, "a list of texts, its steps")
    answer = row.get("answer")
    if answer is not None and not isinstance(answer, str):
        _refuse(row, "answer", where, "a text, or null")
    right = row.get("right")
    if not isinstance(right, bool):
        _refuse(row, "right", where, "true or false")
    score = row.get("score")
    if score is None:
        score = math.nan
    elif isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        _refuse(row, "score", where, "a number in [0, 1], or null")
    num_tokens = row.get("num_tokens", 0)
    if isinstance(num_tokens, bool) or not isinstance(num_tokens, int) or num_tokens < 0:
        _refuse(row, "num_tokens", where, "a count")
    finish = row.get("finish", "eos")
    if finish not in ("eos", "stop", "length"):
        _refuse(row, "finish", where, '"eos", "stop" or "length"')
    return Sampled(
        unique_id, problem, tuple(steps), answer, right, float(score), num_tokens, finish
    )


def _refuse_empty(path: str | os.PathLike[str]) -> NoReturn:
    raise DataError(f"{os.fspath(path)}: holds no sample; rtsearch data harvest writes such files")


def _text(row: dict[str, Any], name: str, where: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        _refuse(row, name, where, "a text that is not empty")
    return str(value)


def _refuse(row: dict[str, Any], name: str, where: str, wanted: str) -> NoReturn:
    found = repr(row[name])[:60] if name in row else "missing"
    raise DataError(f"{where}: {name} is {found}; it must be {wanted}")
