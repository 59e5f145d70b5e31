"""Where the problems of a co-training come from: families without end, or files."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...evaluation.data import Item, load_problems
from ...search.records import Problem
from ...steps import make_splitter
from ...tasks import Example, examples
from ..data import SFT, read_rows
from .settings import CotrainSettings

__all__ = ["dev_questions", "known_solutions", "questions", "solved_problems"]

#: Families are asked for other problems in each round: the seeds of the rounds lie so far apart.
_ROUND = 1000
_DEV = 77


def solved_problems(settings: CotrainSettings) -> list[dict[str, Any]]:
    """Rows of problem and solution for the first policy."""
    if settings.data:
        return [dict(row) for row in read_rows(settings.data, SFT)]
    made: list[Example] = []
    for name in settings.families:
        made += examples(name, split="train", count=settings.solutions, seed=settings.seed)
    random.Random(settings.seed).shuffle(made)
    return [
        {
            "unique_id": e.unique_id,
            "problem": e.problem,
            "solution": e.solution,
            "answer": e.answer,
            "check": e.unique_id.partition("/")[0],
        }
        for e in made
    ]


def questions(settings: CotrainSettings, round_number: int) -> list[Item]:
    """The problems that are sampled in a round."""
    if settings.data:
        items = _load(settings.data)
        random.Random(f"{settings.seed}/{round_number}").shuffle(items)
        return items[: settings.questions]
    return [_item(example) for example in _examples(settings, round_number)]


def known_solutions(
    settings: CotrainSettings, round_number: int, items: Sequence[Item]
) -> dict[str, tuple[str, ...]]:
    """A right solution of each of these problems that was known before: its steps, by its id."""
    wanted = {item.problem.unique_id for item in items}
    if settings.data:
        split = make_splitter("labelled").split
        by_text = {row["problem"]: row["solution"] for row in read_rows(settings.data, SFT)}
        return {
            item.problem.unique_id: tuple(split(by_text[item.problem.problem]))
            for item in items
            if item.problem.problem in by_text
        }
    return {
        e.unique_id: e.steps for e in _examples(settings, round_number) if e.unique_id in wanted
    }


def dev_questions(settings: CotrainSettings) -> list[Item]:
    """Held-out problems; never the ones that `rtsearch study` takes by default."""
    if settings.dev_data:
        return _load(settings.dev_data)[: settings.dev]
    seed = settings.seed + _DEV
    return [
        _item(example)
        for name in settings.families
        for example in examples(name, split="heldout", count=settings.dev, seed=seed)
    ]


def _examples(settings: CotrainSettings, round_number: int) -> Iterator[Example]:
    seed = settings.seed + _ROUND * round_number
    for name in settings.families:
        yield from examples(name, split="train", count=settings.questions, seed=seed)


def _item(example: Example) -> Item:
    problem = Problem(example.unique_id, example.problem)
    return Item(problem, example.answer, example.unique_id.partition("/")[0])


def _load(paths: Sequence[Path]) -> list[Item]:
    items = [item for path in paths for item in load_problems(path)]
    for item in items:
        if not item.is_graded:
            raise DataError(
                f"problem {item.problem.unique_id}: has no answer to grade against: add it"
            )
    return items
