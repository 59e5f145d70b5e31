"""What a method hands back to OpenR's evaluator."""

from __future__ import annotations

import sys
from dataclasses import astuple, dataclass
from typing import Any

__all__ = ["Solutions", "all_at_the_end"]


@dataclass
class Solutions:
    """The fields of OpenR's ``TreeSearchSolutionOutput``.

    Attributes
    ----------
    solutions : list of str
    completion_tokens : list of int
        Tokens generated for each solution since the one before it; their sum is what the problem
        cost.
    tree_completion_tokens : list of int
        Those of them that are in the tree, of all solutions so far.
    """

    solutions: list[str]
    completion_tokens: list[int]
    tree_completion_tokens: list[int]

    def to_openr(self) -> Any:
        """The same as OpenR's class, by which its evaluator knows tree searches, if it is there."""
        evaluator = sys.modules.get("reason.evaluation.evaluator")
        if evaluator is None:
            return self
        return evaluator.TreeSearchSolutionOutput(*astuple(self))


def all_at_the_end(solutions: list[str], written: int, kept: int) -> Solutions:
    """Solutions whose tokens are known of all together: as OpenR's beam search, at the last one."""
    others = [0] * (len(solutions) - 1)
    return Solutions(solutions, [*others, written], [*others, kept])
