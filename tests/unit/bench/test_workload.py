"""The synthetic search: C++, Python and the reference grow the same trees."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from rtsearch_fast import _core
from rtsearch_fast.bench.global_leaf import tree_with_leaves
from rtsearch_fast.bench.workload import DEPTH_LIMIT, Workload
from rtsearch_fast.errors import InvalidArgumentError, TreeStateError
from rtsearch_fast.forest import Forest
from rtsearch_fast.reference import ReferenceForest


@pytest.mark.parametrize("rule", ["uct", "puct", "mcts_g", "best_first"])
@pytest.mark.parametrize(("batch", "trees"), [(1, 1), (7, 1), (1, 3), (7, 3)])
def test_search_when_driven_in_three_ways_grows_the_same_tree(
    rule: Any, batch: int, trees: int
) -> None:
    workload = Workload(rule, 3, 150, batch, trees)
    found = _core.run_synthetic(**workload.core_arguments, trees=trees, repeats=2)
    assert found["signature"] == workload.expected_signature
    assert len(found["ns"]) == 2 and min(found["ns"]) > 0
    assert workload.signature(Forest(workload.params)) == workload.expected_signature
    assert workload.signature(ReferenceForest(workload.params)) == workload.expected_signature


def test_search_when_deep_stops_at_the_depth_limit_in_all_trees() -> None:
    workload = Workload("uct", 1, DEPTH_LIMIT, 1, 2)  # with one child each it goes straight down
    forest = Forest(workload.params)
    trees = forest.create_trees(2)
    workload.run(forest, trees)
    columns = forest.columns(int(trees[1]))
    depth = np.zeros(len(columns.parent), int)
    for node in range(1, len(depth)):
        depth[node] = depth[columns.parent[node]] + 1
    assert depth.max() == DEPTH_LIMIT
    assert np.array_equal(columns.terminal, depth == DEPTH_LIMIT)


@pytest.mark.parametrize("name", ["children", "simulations", "batch", "trees", "repeats"])
@pytest.mark.parametrize("bad", [0, -1])
def test_core_loop_when_a_count_is_not_positive_names_it(name: str, bad: int) -> None:
    counts = {"children": 2, "simulations": 2, "batch": 1, "trees": 1, "repeats": 1, name: bad}
    with pytest.raises(InvalidArgumentError, match=f"{name}={bad}: must be in"):
        _core.run_synthetic(rule=_core.Rule.uct, **counts)


def test_core_loop_when_the_tree_is_used_up_says_so() -> None:
    with pytest.raises(TreeStateError, match="no leaf is left after 32 simulations"):
        Workload("uct", 1, 40)


def test_workload_when_rules_differ_differs() -> None:
    signatures = {Workload(rule, 4, 100).expected_signature for rule in ("uct", "puct", "mcts_g")}
    assert len(signatures) == 3
    assert dataclasses.replace(Workload("uct", 4, 100)) == Workload("uct", 4, 100)


def test_tree_with_leaves_when_made_has_that_many_open_leaves() -> None:
    forest, tree = tree_with_leaves(100)
    assert int((~forest.columns(int(tree[0])).expanded).sum()) == 100
    taken = forest.select(np.repeat(tree, 100))
    assert len(set(taken.tolist())) == 100
