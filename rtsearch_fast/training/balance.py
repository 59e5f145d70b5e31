"""Balance of right and wrong samples: per question, and in their lengths.

A judge that is trained on data where wrong solutions are longer learns to measure, not to read.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from .filtered import Filtered
from .samples import Sampled, by_question
from .wording import shuffle_key

__all__ = ["balance_classes", "balance_lengths", "drop_one_sided", "length_auc"]

#: Edges of the classes of length differences, as ratios of the longer to the shorter.
_RATIOS = (1.02, 1.05, 1.1, 1.2, 1.4, 1.7, 2.0, 3.0)


def drop_one_sided(samples: Sequence[Sampled]) -> Filtered:
    """Drop questions whose samples are all right, or all wrong: they are too easy or too hard.

    Examples
    --------
    >>> drop_one_sided([Sampled("1", "1 + 1", ("2",), "2", True)]).dropped
    {'all right': 1}
    """
    dropped: Counter[str] = Counter()
    keep = set()
    for unique_id, group in by_question(samples).items():
        if len({sample.right for sample in group}) == 2:
            keep.add(unique_id)
        else:
            dropped["all right" if group[0].right else "all wrong"] += len(group)
    return Filtered([sample for sample in samples if sample.unique_id in keep], dict(dropped))


def balance_classes(samples: Sequence[Sampled], *, seed: int = 0) -> Filtered:
    """Keep, per question, as many right samples as wrong ones, chosen at random."""

    def choose(right: list[Sampled], wrong: list[Sampled]) -> list[tuple[Sampled, Sampled]]:
        order = partial(_random_place, seed)
        return list(zip(sorted(right, key=order), sorted(wrong, key=order), strict=False))

    pairs = [pair for group in by_question(samples).values() for pair in choose(*_classes(group))]
    return _keep(samples, pairs, "more of the other class")


def balance_lengths(samples: Sequence[Sampled], *, seed: int = 0) -> Filtered:
    """Drop samples until length alone does not tell right ones from wrong ones.

    The rule: within each question, right and wrong samples are paired, those of the most similar
    length first. Pairs are sorted by the ratio of their lengths into classes (up to 1.02, 1.05,
    1.1, ... 3, more); of each class as many pairs stay in which the right one is the longer as
    pairs in which the wrong one is, chosen at random. Pairs of equal length stay. So the difference
    in length between the right and the wrong sample of a question is as often up as down, whatever
    its size; and each question keeps as many right samples as wrong ones.

    The length is `num_tokens`, or, where a sample does not tell it, that of the text.

    Examples
    --------
    >>> right, wrong = (Sampled("1", "?", ("a" * n,), "2", n < 9, num_tokens=n) for n in (5, 9))
    >>> balance_lengths([right, wrong]).dropped
    {'length tells the class': 2}
    """
    measure = _measure(samples)
    pairs = [
        pair
        for group in by_question(samples).values()
        for pair in _closest_pairs(*_classes(group), measure)
    ]
    kept, longer = [], _Sides()
    for right, wrong in pairs:
        a, b = max(1, measure(right)), max(1, measure(wrong))
        if a == b:
            kept.append((right, wrong))
        else:
            size = sum(max(a, b) / min(a, b) > ratio for ratio in _RATIOS)
            longer.add(size, a > b, (right, wrong))
    kept += longer.even(lambda pair: _random_place(seed, pair[0]))
    paired = 2 * len(pairs)
    result = _keep(samples, kept, "length tells the class")
    dropped = Counter(result.dropped)
    if len(samples) > paired:
        dropped["no partner"] = len(samples) - paired
        dropped["length tells the class"] -= len(samples) - paired
    return Filtered(result.kept, {reason: count for reason, count in dropped.items() if count})


def length_auc(samples: Sequence[Sampled]) -> float:
    """How well length alone tells wrong from right: the AUC of "the longer one is wrong".

    0.5 is chance; near 1, wrong ones are longer; near 0, shorter. NaN if a class is empty.

    Examples
    --------
    >>> length_auc([Sampled("1", "?", ("a" * n,), "2", n < 3) for n in (1, 2, 3, 4)])
    1.0
    """
    measure = _measure(samples)
    right = np.sort([measure(sample) for sample in samples if sample.right])
    wrong = np.array([measure(sample) for sample in samples if not sample.right])
    if not len(right) or not len(wrong):
        return math.nan
    below = np.searchsorted(right, wrong, "left") + np.searchsorted(right, wrong, "right")
    return float(below.sum()) / (2 * len(right) * len(wrong))


Pair = tuple[Sampled, Sampled]


class _Sides:
    """Pairs by the class of their length ratio and by which of the two is longer."""

    def __init__(self) -> None:
        self._sides: dict[int, tuple[list[Pair], list[Pair]]] = {}

    def add(self, size: int, right_is_longer: bool, pair: Pair) -> None:
        self._sides.setdefault(size, ([], []))[right_is_longer].append(pair)

    def even(self, order: Callable[[Pair], int]) -> list[Pair]:
        """As many of one side as of the other."""
        kept = []
        for a, b in self._sides.values():
            count = min(len(a), len(b))
            kept += sorted(a, key=order)[:count] + sorted(b, key=order)[:count]
        return kept


def _classes(group: Sequence[Sampled]) -> tuple[list[Sampled], list[Sampled]]:
    right = [sample for sample in group if sample.right]
    return right, [sample for sample in group if not sample.right]


def _closest_pairs(
    right: list[Sampled], wrong: list[Sampled], measure: Callable[[Sampled], int]
) -> list[Pair]:
    """Pairs of similar length; samples of the larger class stay without a partner."""
    few, many = sorted((right, wrong), key=len)
    few, many = sorted(few, key=measure), sorted(many, key=measure)
    lengths = [measure(sample) for sample in many]
    pairs, low = [], 0
    for number, sample in enumerate(few):
        high = len(many) - (len(few) - number)  # leave one for each that comes after
        size = measure(sample)
        place = min(max(bisect_left(lengths, size), low), high)
        before = place > low and size - lengths[place - 1] < lengths[place] - size
        best = place - before
        low = best + 1
        pair = (sample, many[best])
        pairs.append(pair if sample.right else pair[::-1])
    return pairs


def _measure(samples: Sequence[Sampled]) -> Callable[[Sampled], int]:
    if all(sample.num_tokens for sample in samples):
        return lambda sample: sample.num_tokens
    return lambda sample: len(sample.text)


def _random_place(seed: int, sample: Sampled) -> int:
    return shuffle_key(seed, sample.unique_id, sample.text)


def _keep(samples: Sequence[Sampled], pairs: list[Pair], reason: str) -> Filtered:
    """The samples that are in pairs, in their old order."""
    left = Counter(sample for pair in pairs for sample in pair)
    kept = []
    for sample in samples:
        if left[sample]:
            left[sample] -= 1
            kept.append(sample)
    dropped = len(samples) - len(kept)
    return Filtered(kept, {reason: dropped} if dropped else {})
