"""Where the problems of a co-training come from: families without end, or files."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...evaluation.data import Item, load_problems
from ...search.records import Problem
from ...tasks import Example, examples
from ..data import SFT, read_rows
from .settings import CotrainSettings

__all__ = ["dev_questions", "questions", "solved_problems"]

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
    seed = settings.seed + _ROUND * round_number
    return _items(settings.families, "train", settings.questions, seed)


def dev_questions(settings: CotrainSettings) -> list[Item]:
    """Held-out problems; never the ones that `rtsearch study` takes by default."""
    if settings.dev_data:
        return _load(settings.dev_data)[: settings.dev]
    return _items(settings.families, "heldout", settings.dev, settings.seed + _DEV)


def _items(families: Iterable[str], split: Any, count: int, seed: int) -> list[Item]:
    return [
        Item(Problem(e.unique_id, e.problem), e.answer, name)
        for name in families
        for e in examples(name, split=split, count=count, seed=seed)
    ]


def _load(paths: Sequence[Path]) -> list[Item]:
    items = [item for path in paths for item in load_problems(path)]
    for item in items:
        if not item.is_graded:
            raise DataError(
                f"problem {item.problem.unique_id}: has no answer to grade against: add it"
            )
    return items
