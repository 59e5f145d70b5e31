"""Budgets that count leaf evaluations, and which solution came out."""

from __future__ import annotations

import math
from dataclasses import replace

from ..search.options import SearchOptions
from ..search.records import SearchResult

__all__ = ["chosen", "spread_leaves"]


def spread_leaves(options: SearchOptions, evaluations: int) -> tuple[SearchOptions, int]:
    """Spread leaf evaluations over the simulations of a tree search.

    A leaf is evaluated by a rolled-out solution or by its beginning; with ``value="mix"`` both
    count. What `width` does not divide widens the first expansion.

    Returns
    -------
    SearchOptions
        With the widths.
    int
        The number of simulations.

    Examples
    --------
    >>> options, simulations = spread_leaves(SearchOptions(width=4), 18)
    >>> options.pre_expand, options.width, simulations
    (6, 4, 4)
    """
    each = (options.value != "rollout") + options.rollouts * (options.value != "prefix")
    children = max(1, evaluations // each)
    width = min(options.width, children)
    first = width + children % width
    return replace(options, width=width, pre_expand=first), children // width


def chosen(found: SearchResult) -> int:
    """Index of the candidate that was elected; if none has a vote, of the longest."""

    def rank(index: int) -> tuple[bool, float, int]:
        candidate = found.candidates[index]
        elected = found.answer is not None and candidate.text == found.solution
        score = -1.0 if math.isnan(candidate.score) else candidate.score
        return elected, score, len(candidate.text)

    return max(range(len(found.candidates)), key=rank)
