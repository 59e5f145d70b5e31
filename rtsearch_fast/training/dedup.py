"""Duplicates and near-duplicates among samples.

Near-duplicates are found exactly, by prefix filtering: if two sets have a Jaccard index of at least
t, then under any common order of their elements the first ``n - ceil(t n) + 1`` of one and of the
other have an element in common. With the rarest n-grams first, an inverted index over these
prefixes brings up hardly any pair in vain, and nothing is missed, as MinHash would.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InvalidArgumentError
from .filtered import Filtered, drop_for_reason
from .samples import Sampled
from .wording import normal, tokens

__all__ = ["drop_duplicates", "drop_near_duplicates"]

_Grams = npt.NDArray[Any]
_MIX = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def drop_duplicates(samples: Sequence[Sampled]) -> Filtered:
    """Keep the first of samples with the same problem and solution, but for case and white space.

    Examples
    --------
    >>> a = Sampled("1", "1 + 1", ("It is \\\\boxed{2}.",), "2", True)
    >>> b = Sampled("1", "1 + 1", ("It  is ", "\\\\boxed{2}."), "2", True)
    >>> drop_duplicates([a, b]).dropped
    {'duplicate': 1}
    """
    seen: set[tuple[str, str]] = set()

    def fault(sample: Sampled) -> str | None:
        key = normal(sample.problem), normal(sample.text)
        if key in seen:
            return "duplicate"
        seen.add(key)
        return None

    return drop_for_reason(samples, fault)


def drop_near_duplicates(
    samples: Sequence[Sampled], *, threshold: float = 0.8, n: int = 3, across: bool = False
) -> Filtered:
    """Drop samples whose n-grams have a Jaccard index above `threshold` with one that is kept.

    Only right ones are compared with right ones and wrong with wrong: a wrong solution that differs
    from a right one in one number is no duplicate, but the best there is to learn from.

    Parameters
    ----------
    samples : sequence of Sampled
        Of two that are alike the first is kept.
    threshold : float
        In (0, 1).
    n : int
        Words and signs an n-gram; a shorter solution is one n-gram.
    across : bool
        Compare the samples of all questions, not only those of the same one.

    Examples
    --------
    >>> text = " ".join(f"word{i}" for i in range(40))
    >>> a, b = (Sampled("1", "?", (text, end), "2", True) for end in (" a", " b"))
    >>> drop_near_duplicates([a, b]).dropped
    {'near-duplicate': 1}
    """
    if not 0 < threshold < 1:
        raise InvalidArgumentError(f"threshold={threshold}: give a Jaccard index in (0, 1)")
    if n < 1:
        raise InvalidArgumentError(f"n={n}: an n-gram has at least 1 word")
    alike = iter(_alike(_ranked(_gram_sets(samples, n, across)), threshold))
    return drop_for_reason(samples, lambda _: "near-duplicate" if next(alike) else None)


def _gram_sets(samples: Sequence[Sampled], n: int, across: bool) -> list[_Grams]:
    """The n-grams of each solution as 64-bit hashes, which differ between groups."""
    vocabulary: dict[str, int] = {}
    groups: dict[tuple[str, bool], int] = {}
    sets = []
    for sample in samples:
        group = groups.setdefault(("" if across else sample.unique_id, sample.right), len(groups))
        found = [vocabulary.setdefault(token, len(vocabulary)) for token in tokens(sample.text)]
        ids = np.array(found, dtype=np.uint64)
        width = max(1, min(n, len(ids)))
        hashes = np.full(max(0, len(ids) - width + 1), _mix(np.uint64(group + 1)), dtype=np.uint64)
        for offset in range(width):
            hashes = _mix(hashes + ids[offset : offset + len(hashes)])
        sets.append(np.unique(hashes))
    return sets


def _mix(values: Any) -> Any:
    """Scramble 64-bit numbers (the finaliser of splitmix64)."""
    with np.errstate(over="ignore"):
        values = (values + np.uint64(_MIX[0])) ^ (values >> np.uint64(30))
        values = values * np.uint64(_MIX[1])
        values = (values ^ (values >> np.uint64(27))) * np.uint64(_MIX[2])
        return values ^ (values >> np.uint64(31))


def _ranked(sets: list[_Grams]) -> list[_Grams]:
    """The same sets with numbers for elements, the rarest lowest, each sorted."""
    if not sets:
        return []
    _, place, counts = np.unique(np.concatenate(sets), return_inverse=True, return_counts=True)
    rank = np.empty(len(counts), dtype=np.int64)
    rank[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    ends = np.cumsum([len(grams) for grams in sets])[:-1]
    return [np.sort(part) for part in np.split(rank[place], ends)]


def _alike(sets: list[_Grams], threshold: float) -> list[bool]:
    """Per set, whether it is above the threshold with an earlier one that is not."""
    index: dict[int, list[int]] = defaultdict(list)
    verdicts = []
    for number, grams in enumerate(sets):
        size = len(grams)
        prefix = grams[: size - math.ceil(threshold * size) + 1].tolist()
        near = sorted(
            {
                other
                for gram in prefix
                for other in index.get(gram, ())
                if threshold * size <= len(sets[other]) <= size / threshold
            }
        )
        verdicts.append(bool(near) and _any_alike(grams, [sets[i] for i in near], threshold))
        if not verdicts[-1]:
            for gram in prefix:
                index[gram].append(number)
    return verdicts


def _any_alike(grams: _Grams, others: list[_Grams], threshold: float) -> bool:
    sizes = np.array([len(other) for other in others])
    joined = np.concatenate(others)
    place = np.minimum(np.searchsorted(grams, joined), len(grams) - 1)
    hits = (grams[place] == joined).astype(np.int64)
    common = np.add.reduceat(hits, np.cumsum(sizes) - sizes)
    return bool(np.any(common > threshold * (len(grams) + sizes - common)))
