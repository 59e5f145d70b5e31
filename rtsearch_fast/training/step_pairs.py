"""Preference pairs of single steps: siblings under the same beginning, the better and the worse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from .labels import StepLabels
from .pairs import check_margin
from .wording import normal

__all__ = ["StepPair", "make_step_pairs"]


@dataclass(frozen=True, slots=True)
class StepPair:
    """A preference among the ways to go on.

    Attributes
    ----------
    unique_id : str
        Of the question.
    problem : str
    prefix : tuple of str
        The steps before.
    chosen, rejected : str
        One step each.
    chosen_value, rejected_value : float
        Their labels.
    """

    unique_id: str
    problem: str
    prefix: tuple[str, ...]
    chosen: str
    rejected: str
    chosen_value: float
    rejected_value: float


def make_step_pairs(labels: Iterable[StepLabels], *, min_margin: float = 0.0) -> Iterator[StepPair]:
    """Pair the best with the worst of the steps that follow the same beginning.

    Among equal values the step with more visits, or solutions, is taken, since its value is surer.

    Parameters
    ----------
    labels : iterable of StepLabels
        Those of a question follow each other, as `label_steps` and `label_trees` give them.
    min_margin : float
        Least difference of their values, in [0, 1]; with 0 any will do. Small ones are mostly noise
        of the reward model, or of few solutions.

    Examples
    --------
    >>> from rtsearch_fast.training.labels import StepLabels
    >>> labels = [
    ...     StepLabels("1", "1 + 1", ("a", "b", "2"), (0.5, 0.75, 1.0), (8, 4, 2)),
    ...     StepLabels("1", "1 + 1", ("a", "c", "3"), (0.5, 0.25, 0.0), (8, 4, 2)),
    ... ]
    >>> for pair in make_step_pairs(labels):
    ...     print(pair.prefix, pair.chosen, pair.rejected)
    ('a',) b c
    """
    check_margin(min_margin)
    for _, group in groupby(labels, key=lambda found: (found.unique_id, found.problem)):
        for depth, ways in _siblings(group):
            # the first of equals
            chosen = max(ways, key=lambda way: (way.value, way.count))
            rejected = min(ways, key=lambda way: (way.value, -way.count))
            margin = chosen.value - rejected.value
            same = normal(chosen.step) == normal(rejected.step)
            if margin > 0 and margin >= min_margin and not same:
                yield StepPair(
                    chosen.found.unique_id,
                    chosen.found.problem,
                    chosen.found.steps[:depth],
                    chosen.step,
                    rejected.step,
                    chosen.value,
                    rejected.value,
                )


@dataclass(frozen=True, slots=True)
class _Way:
    """A step that follows a beginning."""

    found: StepLabels
    step: str
    value: float
    count: int


def _siblings(group: Iterable[StepLabels]) -> Iterator[tuple[int, list[_Way]]]:
    """Of each beginning how many steps it has, and the steps that follow it, each once."""
    following: dict[tuple[str, ...], dict[str, _Way]] = {}
    for found in group:
        path = tuple(step.strip() for step in found.steps)
        labels = zip(found.steps, found.values, found.counts, strict=True)
        for depth, (step, value, count) in enumerate(labels):
            ways = following.setdefault(path[:depth], {})
            ways.setdefault(path[depth], _Way(found, step, value, count))
    for beginning, ways in following.items():
        yield len(beginning), list(ways.values())
