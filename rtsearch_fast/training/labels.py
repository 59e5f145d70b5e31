"""Labels of steps: what the solutions through a step came to, or what its node in a tree is worth.

Of graded solutions a step's label is a Monte-Carlo estimate: the share of right ones among the
finished solutions that went through it. In a tree the search decided where more of them were drawn,
so the estimate of a step is fair to what the policy does after it, while steps differ in how sure
theirs is: `counts`. Of a tree itself it is the mean of what the reward model made of the
simulations through the node, and needs no right answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..errors import InvalidArgumentError
from ..search.records import Problem, SearchTree
from .samples import Sampled, by_question

__all__ = ["StepLabels", "label_steps", "label_trees"]


@dataclass(frozen=True, slots=True)
class StepLabels:
    """The steps of a solution, each with its value.

    Attributes
    ----------
    unique_id : str
        Of the question.
    problem : str
    steps : tuple of str
    values : tuple of float
        Per step the share of right ones among the finished solutions through it; in a tree the mean
        value of its node.
    counts : tuple of int
        Per step how many solutions these were; in a tree the visits of its node.
    answer : str or None
        A right answer to the question, None where none is known.
    """

    unique_id: str
    problem: str
    steps: tuple[str, ...]
    values: tuple[float, ...]
    counts: tuple[int, ...]
    answer: str | None = None


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
    _check(min_count)
    finished = [sample for sample in samples if sample.finish != "length" and sample.solution]
    return [
        labels
        for group in by_question(finished).values()
        for labels in _label_group(group, min_count)
    ]


def label_trees(
    problem: Problem,
    trees: Iterable[SearchTree],
    *,
    min_count: int = 1,
    answer: str | None = None,
) -> list[StepLabels]:
    """Label the steps of a problem's trees by the mean values of their nodes.

    Parameters
    ----------
    problem : Problem
    trees : iterable of SearchTree
        A step that several have gets the mean over the visits of all.
    min_count : int
        A path is cut before the first step with fewer visits.
    answer : str, optional
        The right answer, which is passed on.

    Returns
    -------
    list of StepLabels
        One for each path from the root that is not the beginning of another.

    Examples
    --------
    >>> tree = SearchTree((-1, 0, 0, 1), ("", "a", "b", "c"), (4, 3, 1, 1), (0.6, 0.7, 0.25, 0.5),
    ...                   (1.0, 0.5, 0.5, 1.0), (False, False, True, True))
    >>> for found in label_trees(Problem("1", "1 + 1"), [tree]):
    ...     print(found.steps, [round(value, 2) for value in found.values], found.counts)
    ('b',) [0.25] (1,)
    ('a', 'c') [0.7, 0.5] (3, 1)
    """
    _check(min_count)
    tally = _Tally()
    for tree in trees:
        steps: list[tuple[str, ...]] = [()]
        paths: list[_Path] = [()]
        inner = set(tree.parent)
        for node in range(1, len(tree.parent)):
            parent = tree.parent[node]
            steps.append((*steps[parent], tree.step[node]))
            paths.append((*paths[parent], tree.step[node].strip()))
            count, mean = tree.visit_count[node], tree.mean_value[node]
            tally.add(paths[node], mean * count if count else 0.0, count)
            if node not in inner:
                tally.end(paths[node], steps[node])
    return tally.labels(problem.unique_id, problem.problem, answer, min_count)


#: The steps of a beginning of a solution, without white space around: the last step of a solution
#: has no blank line after it, the same step on the way has.
_Path = tuple[str, ...]


class _Tally:
    """Sums up what is known of the steps of one question."""

    def __init__(self) -> None:
        self._sum: dict[_Path, float] = {}
        self._count: dict[_Path, int] = {}
        self._ends: dict[_Path, tuple[str, ...]] = {}

    def add(self, path: _Path, value_sum: float, count: int) -> None:
        """Count what is known of the last step of a path."""
        self._sum[path] = self._sum.get(path, 0) + value_sum
        self._count[path] = self._count.get(path, 0) + count

    def end(self, path: _Path, steps: tuple[str, ...]) -> None:
        """Note a whole path; each step of it is counted."""
        self._ends.setdefault(path, steps)

    def labels(
        self, unique_id: str, problem: str, answer: str | None, min_count: int
    ) -> list[StepLabels]:
        """The labels of all paths, cut before the first step with a lower count."""
        kept: dict[_Path, tuple[str, ...]] = {}
        for path, steps in self._ends.items():
            length = sum(self._count[prefix] >= min_count for prefix in _prefixes(path))
            if length:
                kept.setdefault(path[:length], steps[:length])
        inner = {prefix for path in kept for prefix in _prefixes(path)[:-1]}
        found = []
        for path, steps in kept.items():
            if path not in inner:
                beginnings = _prefixes(path)
                counts = tuple(self._count[prefix] for prefix in beginnings)
                values = tuple(self._sum[prefix] / self._count[prefix] for prefix in beginnings)
                found.append(StepLabels(unique_id, problem, steps, values, counts, answer))
        return found


def _label_group(group: Sequence[Sampled], min_count: int) -> list[StepLabels]:
    """The labels of one question's solutions."""
    tally = _Tally()
    for sample in group:
        path = tuple(step.strip() for step in sample.solution)
        tally.end(path, sample.solution)
        for prefix in _prefixes(path):
            tally.add(prefix, sample.right, 1)
    answer = next((sample.answer for sample in group if sample.right), None)
    return tally.labels(group[0].unique_id, group[0].problem, answer, min_count)


def _prefixes(path: _Path) -> list[_Path]:
    return [path[: i + 1] for i in range(len(path))]


def _check(min_count: int) -> None:
    if min_count < 1:
        raise InvalidArgumentError(f"min_count={min_count}: at least 1 solution makes a label")
