"""The reference and the core against a brute force that shares no code with either."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

from rtsearch_fast.forest import NO_NODE, Columns, Forest, SearchParams
from rtsearch_fast.reference import ReferenceForest, _log

AnyForest = Forest | ReferenceForest


def best_open_leaf(columns: Columns, params: SearchParams, taken: set[int]) -> int:
    """MCTS_G by one scan over all leaves, from the formula alone."""
    leaves = np.flatnonzero(~columns.expanded & ~columns.terminal)
    leaves = np.array([leaf for leaf in leaves if leaf not in taken], np.int64)
    if not len(leaves):
        return NO_NODE
    visits = columns.visit_count[leaves].astype(np.float64)
    mean = columns.value_sum[leaves] / np.maximum(visits, 1)
    value = columns.edge_reward[leaves].astype(np.float64) + params.discount * mean
    bonus = np.zeros(len(leaves))
    parent_mean = np.zeros(len(leaves))
    if leaves[0] != 0:  # the root, when it is a leaf, has no parent and no rival
        parent = columns.parent[leaves].astype(np.int64)
        parent_visits = columns.visit_count[parent].astype(np.float64)
        bonus = params.exploration * np.sqrt(np.log(np.maximum(parent_visits, 1)))
        parent_mean = columns.value_sum[parent] / np.maximum(parent_visits, 1)
    score = value + bonus / np.sqrt(np.maximum(visits, 1))
    score[visits == 0] = np.inf
    value[visits == 0] = parent_mean[visits == 0]
    return int(leaves[np.lexsort((leaves, visits, -value, -score))[0]])


def grow_randomly(forest: AnyForest, trees: Any, rng: np.random.Generator) -> None:
    """A few rounds of random expansions and backups in all trees at once."""
    size = np.array([forest.num_nodes(int(tree)) for tree in trees])
    terminal = {int(tree): {0: False} for tree in trees}
    for _ in range(int(rng.integers(2, 7))):
        nodes = rng.integers(0, size).astype(np.uint32)
        counts = rng.integers(0, 5, len(trees)).astype(np.int32)
        for i, tree in enumerate(trees):
            if terminal[int(tree)][int(nodes[i])]:
                nodes[i] = 0
        total = int(counts.sum())
        flags = rng.random(total) < 0.1
        rewards = rng.choice([0.0, 0.0, 0.25, -0.125], total).astype(np.float32)
        first = forest.expand(trees, nodes, counts, terminal=flags, rewards=rewards)
        offset = 0
        for i, tree in enumerate(trees):
            for k in range(int(counts[i])):
                terminal[int(tree)][int(first[i]) + k] = bool(flags[offset + k])
            offset += int(counts[i])
        size += counts
        for _ in range(3):
            nodes = rng.integers(0, size).astype(np.uint32)
            forest.backup(trees, nodes, rng.random(len(trees)))


def random_params(rng: random.Random) -> SearchParams:
    return SearchParams(
        rule="mcts_g",
        exploration=rng.choice([0.0, 0.2, 0.4, 1.0, 1.4]),
        discount=rng.choice([1.0, 0.9]),
        max_nodes=64,
    )


@pytest.mark.parametrize(
    ("forest_class", "count"), [(Forest, 10_000), (ReferenceForest, 500)], ids=["core", "reference"]
)
def test_mcts_g_when_trees_are_random_selects_what_a_full_scan_finds(
    forest_class: type[AnyForest], count: int
) -> None:
    settings, generator = random.Random(20), np.random.default_rng(20)
    at_once = 100
    different = 0
    for _ in range(count // at_once):
        forest = forest_class(random_params(settings))
        trees = forest.create_trees(at_once)
        grow_randomly(forest, trees, generator)
        chosen = forest.select(np.tile(trees, 2)).reshape(2, at_once)
        for i, tree in enumerate(trees):
            columns = forest.columns(int(tree))
            first = best_open_leaf(columns, forest.params, set())
            second = best_open_leaf(columns, forest.params, {first})
            assert chosen[:, i].tolist() == [first, second], (forest.params, columns)
            different += first not in (0, NO_NODE)
    assert different > count // 2  # most trees offer a choice


def test_log_when_compared_with_the_c_library_is_within_two_units_in_the_last_place() -> None:
    rng = random.Random(1)
    numbers = [*range(1, 5000), *rng.sample(range(5000, 1_000_000), 20_000)]
    numbers += [2**k + d for k in range(12, 34) for d in (-1, 0, 1)]
    for n in numbers:
        assert abs(_log(n) - math.log(n)) <= 2 * math.ulp(math.log(n)), n


def test_log_when_the_argument_is_one_is_zero() -> None:
    assert _log(1) == 0.0
