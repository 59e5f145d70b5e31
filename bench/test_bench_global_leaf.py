"""MCTS_G selection: the best of all open leaves of one tree, by the number of leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from describe import commit

from rtsearch_fast.bench.global_leaf import tree_with_leaves
from rtsearch_fast.bench.measurement import machine
from rtsearch_fast.bench.workload import EXPLORATION
from rtsearch_fast.forest import Forest


def score_of_all_leaves(forest: Forest, tree: Any) -> Any:
    """By node, -inf where it is no leaf; from the formula, with nothing of the core's."""
    columns = forest.columns(int(tree[0]))
    leaves = np.flatnonzero(~columns.expanded)
    visits = columns.visit_count[leaves]
    parent_visits = columns.visit_count[columns.parent[leaves]]
    scores = np.full(len(columns.parent), -np.inf)
    scores[leaves] = columns.value_sum[leaves] / visits + EXPLORATION * np.sqrt(
        np.log(parent_visits) / visits
    )
    return scores


@pytest.mark.parametrize("leaves", [1_000, 10_000, 100_000, 1_000_000])
@pytest.mark.parametrize("finish", ["release", "backup"])
def test_global_leaf(benchmark: Any, leaves: int, finish: str) -> None:
    forest, tree = tree_with_leaves(leaves)
    scores = score_of_all_leaves(forest, tree)
    best = forest.select(tree)
    assert scores[best[0]] >= scores.max() - 1e-12
    forest.release(tree, best)
    benchmark.group = f"global leaf: 100 times MCTS_G selection and {finish}"
    per_round = 100
    value = np.array([0.25])

    def select_and_release() -> None:
        for _ in range(per_round):
            forest.release(tree, forest.select(tree))

    def select_and_backup() -> None:  # another leaf is the best one each time
        for _ in range(per_round):
            forest.backup(tree, forest.select(tree), value, release=True)

    timed = select_and_release if finish == "release" else select_and_backup
    benchmark.pedantic(timed, rounds=30, warmup_rounds=1)
    benchmark.extra_info.update(
        ns_per_selection=round(benchmark.stats.stats.median / per_round * 1e9, 1),
        cpu=machine()["cpu"],
        commit=commit(),
    )
