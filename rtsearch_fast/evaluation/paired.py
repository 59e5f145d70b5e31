"""Shares and differences with intervals, where a problem is searched with several seeds.

Searches of one problem are not independent: it is easy or hard for all of them. So problems are the
units here, never single searches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InvalidArgumentError
from .table import wilson_interval

__all__ = ["Difference", "Share", "mcnemar", "paired_difference", "share_of"]

_RESAMPLES = 10_000
_BLOCK = 500  # resamples at once; bounds the memory


@dataclass(frozen=True, slots=True)
class Share:
    """A share of right answers and its 95 % interval; all in [0, 1]."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """What one method is better than another on the same problems and seeds.

    Attributes
    ----------
    value, low, high : float
        Mean difference, and its 95 % interval by the paired bootstrap over problems.
    better, worse : int
        Searches that only the first, and only the second method solved.
    p : float
        McNemar's exact two-sided p-value of these two counts. It takes searches for independent,
        so with several seeds it is too small.
    """

    value: float
    low: float
    high: float
    better: int
    worse: int
    p: float


def share_of(right: Sequence[Sequence[bool]]) -> Share:
    """The share of right answers, with the Wilson interval of the effective number of searches.

    The effective number is that of independent searches whose mean varies as much as the mean over
    these problems does: the number of problems if all seeds of a problem agree, of all searches if
    they have nothing in common.

    Parameters
    ----------
    right : sequence of sequence of bool
        One entry a problem, which has one a seed.

    Examples
    --------
    >>> agree = share_of([[True, True]] * 8 + [[False, False]] * 2)
    >>> alone = share_of([[True]] * 8 + [[False]] * 2)
    >>> (agree.value, round(agree.low, 3)) == (alone.value, round(alone.low, 3)) == (0.8, 0.49)
    True
    """
    total = sum(map(len, right))
    if total == 0:
        return Share(math.nan, 0.0, 1.0)
    number, hits = float(total), sum(map(sum, right))
    share = hits / total
    problems = [(sum(seeds), len(seeds)) for seeds in right if seeds]
    if 0 < hits < total:
        # variance of a ratio of sums over problems
        variance = sum((r - share * n) ** 2 for r, n in problems) / total**2
        number = share * (1 - share) / variance if variance > 0 else float(total)
        number = min(float(total), max(float(len(problems)), number))
    else:
        number = float(len(problems))
    low, high = wilson_interval(share * number, number)
    return Share(share, low, high)


def paired_difference(
    first: Sequence[Sequence[bool]], second: Sequence[Sequence[bool]], *, seed: int = 0
) -> Difference:
    """Compare two methods problem by problem and seed by seed.

    Parameters
    ----------
    first, second : sequence of sequence of bool
        As for `share_of`, of the same problems and seeds in the same order.
    seed : int
        Of the bootstrap.
    """
    if [len(seeds) for seeds in first] != [len(seeds) for seeds in second] or not any(first):
        raise InvalidArgumentError("both must have the same problems and seeds, at least one")
    gains = np.array([sum(a) - sum(b) for a, b in zip(first, second, strict=True)], np.float64)
    counts = np.array([len(seeds) for seeds in first], np.float64)
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(_RESAMPLES // _BLOCK):
        drawn = rng.integers(0, len(gains), (_BLOCK, len(gains)))
        means.append(gains[drawn].sum(1) / np.maximum(1, counts[drawn].sum(1)))
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    pairs = [p for a, b in zip(first, second, strict=True) for p in zip(a, b, strict=True)]
    better = sum(a and not b for a, b in pairs)
    worse = sum(b and not a for a, b in pairs)
    value = float(gains.sum() / counts.sum())
    return Difference(value, float(low), float(high), better, worse, mcnemar(better, worse))


def mcnemar(better: int, worse: int) -> float:
    """McNemar's exact two-sided p-value: are the two counts those of a fair coin?

    Examples
    --------
    >>> round(mcnemar(1, 8), 5)
    0.03906
    """
    number = better + worse
    tail = sum(math.comb(number, k) for k in range(min(better, worse) + 1))
    return float(min(1.0, 2 * tail / 2**number))
