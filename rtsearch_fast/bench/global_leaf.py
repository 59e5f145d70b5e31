"""Trees of many leaves, to time MCTS_G's selection among all of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..forest import Forest, SearchParams
from .workload import EXPLORATION, rewards_of

__all__ = ["tree_with_leaves"]

CHILDREN = 10


def tree_with_leaves(count: int) -> tuple[Forest, Any]:
    """A tree of `count` leaves (a power of ten) below full levels, each leaf visited once."""
    params = SearchParams(rule="mcts_g", exploration=EXPLORATION, max_nodes=count * 10 // 9 + 1)
    forest = Forest(params)
    tree = forest.create_trees(1)
    level = np.zeros(1, np.uint32)
    while len(level) < count:
        trees = np.repeat(tree, len(level))
        first = forest.expand(trees, level, np.full(len(level), CHILDREN, np.int32))
        level = (first[:, None] + np.arange(CHILDREN, dtype=np.uint32)).ravel()
    forest.backup(np.repeat(tree, count), level, rewards_of(level))
    return forest, tree
