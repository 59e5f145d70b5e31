"""The tree core through its Python face: hand-computed trees, refusals, bytes, threads."""

from __future__ import annotations

import doctest
import threading
import time
from collections.abc import Callable
from dataclasses import fields
from math import log, sqrt
from typing import Any

import numpy as np
import pytest

import rtsearch_fast.forest
from rtsearch_fast import errors
from rtsearch_fast.forest import NO_NODE, NODE_BYTES, ROOT, Forest, SearchParams

RULES = (
    "uct", "puct", "mcts_g", "best_first", "muzero", "gumbel", "muzero_tree", "alphazero"
)  # fmt: skip


def trees_of(*values: int) -> Any:
    return np.array(values, np.int32)


def nodes_of(*values: int) -> Any:
    return np.array(values, np.uint32)


def grow(forest: Forest, node: int, count: int, tree: int = 0, **columns: Any) -> int:
    """Expand one node; returns its first new child."""
    columns = {
        name: np.array(values, np.bool_ if name == "terminal" else np.float32)
        for name, values in columns.items()
    }
    first = forest.expand(trees_of(tree), nodes_of(node), np.array([count], np.int32), **columns)
    return int(first[0])


def visit(forest: Forest, node: int, *values: float, tree: int = 0) -> None:
    """Back up each value from the node."""
    forest.backup(
        np.full(len(values), tree, np.int32),
        np.full(len(values), node, np.uint32),
        np.array(values, np.float64),
    )


def select(forest: Forest, count: int, tree: int = 0) -> list[int]:
    return forest.select(np.full(count, tree, np.int32)).tolist()  # type: ignore[no-any-return]


def new_forest(**settings: Any) -> Forest:
    forest = Forest(SearchParams(**settings))
    forest.create_trees(1)
    return forest


def uneven_tree(**settings: Any) -> Forest:
    r"""Eight nodes; A looks better from the root, the best leaf hangs below B.

    ::

                   0 (N 10)
              /              \
           A=1 (N 6)         B=2 (N 4)
         /    |    \          /     \
        3     4     5        6       7
        N 3   N 2   N 1      N 1     N 3       visits
        0.6   0.7   0.5      0.9     0.1       mean values
    """
    forest = new_forest(**settings)
    grow(forest, ROOT, 2, priors=[0.25, 0.75])
    grow(forest, 1, 3, priors=[0.25, 0.25, 0.5])
    grow(forest, 2, 2, priors=[0.5, 0.5])
    visit(forest, 3, 0.6, 0.6, 0.6)
    visit(forest, 4, 0.7, 0.7)
    visit(forest, 5, 0.5)
    visit(forest, 6, 0.9)
    visit(forest, 7, 0.1, 0.1, 0.1)
    return forest


# --- the rules on a tree worked out by hand --------------------------------------------


def test_visits_of_the_uneven_tree_when_read_back_are_as_drawn() -> None:
    columns = uneven_tree().columns(0)
    assert columns.visit_count.tolist() == [10, 6, 4, 3, 2, 1, 1, 3]
    assert columns.parent.tolist() == [NO_NODE, 0, 0, 1, 1, 1, 2, 2]
    means = columns.value_sum / columns.visit_count
    assert means == pytest.approx([0.49, 3.7 / 6, 0.3, 0.6, 0.7, 0.5, 0.9, 0.1])


def test_uct_when_the_best_leaf_hides_below_the_worse_child_descends_past_it() -> None:
    a = 3.7 / 6 + 0.5 * sqrt(log(10) / 6)
    b = 1.2 / 4 + 0.5 * sqrt(log(10) / 4)
    assert a > b
    below_a = {
        3: 0.6 + 0.5 * sqrt(log(6) / 3),
        4: 0.7 + 0.5 * sqrt(log(6) / 2),
        5: 0.5 + 0.5 * sqrt(log(6) / 1),
    }
    assert max(below_a, key=below_a.__getitem__) == 4
    assert select(uneven_tree(rule="uct", exploration=0.5), 1) == [4]


def test_mcts_g_when_the_best_leaf_hides_below_the_worse_child_takes_it() -> None:
    # Each leaf's bonus depends on the visits of its own parent: 6 of A, 4 of B.
    scores = {
        3: 0.6 + 0.5 * sqrt(log(6) / 3),
        4: 0.7 + 0.5 * sqrt(log(6) / 2),
        5: 0.5 + 0.5 * sqrt(log(6) / 1),
        6: 0.9 + 0.5 * sqrt(log(4) / 1),
        7: 0.1 + 0.5 * sqrt(log(4) / 3),
    }
    order = sorted(scores, key=scores.__getitem__, reverse=True)
    assert order == [6, 4, 5, 3, 7]
    assert select(uneven_tree(rule="mcts_g", exploration=0.5), 6) == [*order, NO_NODE]


def test_puct_when_priors_differ_weighs_them() -> None:
    a = 3.7 / 6 + 1.0 * 0.25 * sqrt(10) / (1 + 6)
    b = 1.2 / 4 + 1.0 * 0.75 * sqrt(10) / (1 + 4)
    assert b > a
    below_b = {
        6: 0.9 + 1.0 * 0.5 * sqrt(4) / (1 + 1),
        7: 0.1 + 1.0 * 0.5 * sqrt(4) / (1 + 3),
    }
    assert max(below_b, key=below_b.__getitem__) == 6
    assert select(uneven_tree(rule="puct", exploration=1.0), 1) == [6]

    a = 3.7 / 6 + 0.5 * 0.25 * sqrt(10) / (1 + 6)
    b = 1.2 / 4 + 0.5 * 0.75 * sqrt(10) / (1 + 4)
    assert a > b
    below_a = {
        3: 0.6 + 0.5 * 0.25 * sqrt(6) / (1 + 3),
        4: 0.7 + 0.5 * 0.25 * sqrt(6) / (1 + 2),
        5: 0.5 + 0.5 * 0.5 * sqrt(6) / (1 + 1),
    }
    assert max(below_a, key=below_a.__getitem__) == 5
    assert select(uneven_tree(rule="puct", exploration=0.5), 1) == [5]


def test_alphazero_when_the_parent_has_visits_weighs_priors_the_more() -> None:
    def c(visits: int) -> float:
        return 0.02 + log((visits + 8 + 1) / 8)

    a = 3.7 / 6 + 0.25 * sqrt(10) * c(10) / (1 + 6)
    b = 1.2 / 4 + 0.75 * sqrt(10) * c(10) / (1 + 4)
    assert b > a
    below_b = {
        6: 0.9 + 0.5 * sqrt(4) * c(4) / (1 + 1),
        7: 0.1 + 0.5 * sqrt(4) * c(4) / (1 + 3),
    }
    assert max(below_b, key=below_b.__getitem__) == 6
    settings: dict[str, Any] = {"rule": "alphazero", "exploration": 0.02}
    assert select(uneven_tree(**settings, exploration_base=8.0), 1) == [6]
    assert select(uneven_tree(**settings, exploration_base=1e100), 1) == [4]


def test_best_first_when_visits_differ_orders_by_value_alone() -> None:
    assert select(uneven_tree(rule="best_first", exploration=9.0), 5) == [6, 4, 3, 5, 7]


def test_muzero_when_priors_and_values_differ_weighs_both_on_the_scale_of_the_siblings() -> None:
    def c(visits: int) -> float:
        return 0.2 + log((visits + 8 + 1) / 8)

    a = (3.7 / 6 - 0.3) / (3.7 / 6 - 0.3) + 0.25 * sqrt(10) * c(10) / (1 + 6)
    b = 0.0 + 0.75 * sqrt(10) * c(10) / (1 + 4)
    assert a > b  # the values of A and B bound the root's own, 0.49
    below_a = {
        3: (0.6 - 0.5) / (0.7 - 0.5) + 0.25 * sqrt(6) * c(6) / (1 + 3),
        4: (0.7 - 0.5) / (0.7 - 0.5) + 0.25 * sqrt(6) * c(6) / (1 + 2),
        5: (0.5 - 0.5) / (0.7 - 0.5) + 0.50 * sqrt(6) * c(6) / (1 + 1),
    }
    assert max(below_a, key=below_a.__getitem__) == 4
    settings: dict[str, Any] = {"rule": "muzero", "exploration_base": 8.0}
    assert select(uneven_tree(**settings, exploration=0.2), 1) == [4]
    assert select(uneven_tree(**settings, exploration=9.0), 1) == [6]


@pytest.mark.parametrize(("of_1", "of_5", "leaf"), [(0.5, 0.9, 5), (0.9, 0.5, 3)])
def test_muzero_when_a_node_was_expanded_again_weighs_all_its_children(
    of_1: float, of_5: float, leaf: int
) -> None:
    forest = new_forest(rule="muzero", exploration=0.1)
    grow(forest, ROOT, 2)
    grow(forest, 1, 1)  # 3
    grow(forest, ROOT, 2)  # 4, 5
    visit(forest, 1, of_1)
    visit(forest, 5, of_5)
    assert select(forest, 1) == [leaf]


def gumbel_root() -> Forest:
    """Four unvisited children of a root of raw value 0.5."""
    forest = new_forest(rule="gumbel")
    visit(forest, ROOT, 0.5)
    grow(forest, ROOT, 4, priors=[0.4, 0.3, 0.2, 0.1])
    return forest


def simulate(forest: Forest, values: dict[int, float], count: int) -> list[int]:
    """Select and back up one by one, always the same value from a child of the root."""
    leaves = []
    for _ in range(count):
        (leaf,) = select(forest, 1)
        forest.backup(trees_of(0), nodes_of(leaf), np.array([values[leaf]]), release=True)
        leaves.append(leaf)
    return leaves


def test_gumbel_when_simulations_are_planned_halves_the_children_by_value() -> None:
    values = {1: 0.1, 2: 0.2, 3: 0.9, 4: 0.8}
    forest = gumbel_root()
    forest.set_gumbel(0, np.zeros(4, np.float32), num_simulations=16)
    leaves = simulate(forest, values, 16)
    assert sorted(leaves[:8]) == [1, 1, 2, 2, 3, 3, 4, 4]
    assert sorted(leaves[8:]) == [3] * 4 + [4] * 4


def test_gumbel_when_few_are_considered_tries_those_with_the_most_luck() -> None:
    values = dict.fromkeys(range(1, 5), 0.5)
    forest = gumbel_root()
    noise = np.array([0, 0, 3, 5], np.float32)
    forest.set_gumbel(0, noise, num_simulations=8, max_considered=2)
    assert sorted(simulate(forest, values, 8)) == [3] * 4 + [4] * 4


def test_gumbel_when_rerooted_or_imported_forgets_the_plan() -> None:
    values = dict.fromkeys(range(1, 5), 0.5)
    forest = gumbel_root()
    forest.set_gumbel(0, np.array([0, 0, 0, 9], np.float32), num_simulations=4)
    copy = forest.from_bytes(forest.to_bytes(0))
    assert select(forest, 1, tree=copy) == [1]
    assert simulate(forest, values, 1) == [4]
    forest.reroot(0, ROOT)
    assert simulate(forest, values, 1) == [1]


@pytest.mark.parametrize(("raw_value", "leaf"), [(0.9, 3), (0.1, 2)])
def test_gumbel_when_a_child_is_unknown_completes_its_value_by_the_raw_one(
    raw_value: float, leaf: int
) -> None:
    forest = new_forest(rule="gumbel")
    grow(forest, ROOT, 1)
    visit(forest, 1, raw_value)
    grow(forest, 1, 2, priors=[0.5, 0.5])
    visit(forest, 2, 0.5, 0.5)
    mixed = (raw_value + 2 * 0.5) / 3  # of node 3
    assert (mixed > 0.5) == (leaf == 3)
    assert select(forest, 1) == [leaf]


def test_max_backup_when_a_child_holds_the_best_leaf_follows_it() -> None:
    forest = uneven_tree(rule="uct", exploration=0.1, backup="max")
    assert forest.columns(0).value_sum.tolist() == [0.9, 0.7, 0.9, 0.6, 0.7, 0.5, 0.9, 0.1]
    a = 0.7 + 0.1 * sqrt(log(10) / 6)
    b = 0.9 + 0.1 * sqrt(log(10) / 4)
    assert b > a
    assert select(forest, 1) == [6]


@pytest.mark.parametrize("rule", RULES)
def test_select_when_a_fresh_tree_is_asked_for_64_gives_its_root_once(rule: str) -> None:
    assert select(new_forest(rule=rule), 64) == [ROOT] + [NO_NODE] * 63


# --- first play ------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["uct", "mcts_g"])
@pytest.mark.parametrize(
    ("first_play", "first_play_value", "unvisited"),
    [
        ("first", 0.0, float("inf")),
        ("parent", 0.1, (0.9 - 0.1) + 0.1 * sqrt(log(2))),
        ("parent", 5.0, 0.0 + 0.1 * sqrt(log(2))),  # not below value_min
        ("value", 0.5, 0.5 + 0.1 * sqrt(log(2))),
        ("value", 1.0, 1.0 + 0.1 * sqrt(log(2))),
    ],
)
def test_first_play_when_a_child_is_unvisited_scores_it(
    rule: str, first_play: str, first_play_value: float, unvisited: float
) -> None:
    visited = 0.9 + 0.1 * sqrt(log(2) / 2)
    forest = new_forest(
        rule=rule, exploration=0.1, first_play=first_play, first_play_value=first_play_value
    )
    grow(forest, ROOT, 3)
    visit(forest, 1, 0.9, 0.9)
    assert select(forest, 1) == [1 if visited > unvisited else 2]


@pytest.mark.parametrize("rule", ["uct", "puct", "alphazero"])
def test_first_play_when_it_is_the_reward_lasts_until_the_child_is_visited(rule: str) -> None:
    forest = new_forest(
        rule=rule, exploration=0.0, exploration_base=1e100, first_play="reward", virtual_loss=0.0
    )
    grow(forest, ROOT, 3, rewards=[0.25, 0.75, 0.5])
    assert select(forest, 3) == [2, 3, 1]
    forest.set_rewards(trees_of(0), nodes_of(2), np.zeros(1, np.float32))
    forest.backup(trees_of(0), nodes_of(2), np.array([0.375]), release=True)
    forest.release(trees_of(0, 0), nodes_of(1, 3))
    assert select(forest, 3) == [3, 2, 1]


def test_first_play_when_left_out_is_parent_where_priors_decide_and_first_otherwise() -> None:
    chosen = {rule: SearchParams(rule=rule).first_play for rule in RULES}  # type: ignore[arg-type]
    by_prior = ("puct", "alphazero")
    assert chosen == {rule: "parent" if rule in by_prior else "first" for rule in RULES}


@pytest.mark.parametrize("rule", ["uct", "mcts_g", "best_first"])
def test_first_play_when_it_is_the_prior_is_each_childs_own(rule: str) -> None:
    forest = new_forest(rule=rule, exploration=0.0, first_play="prior")
    grow(forest, ROOT, 4, priors=[-3.5, 7.0, 0.25, 6.5])
    assert select(forest, 4) == [2, 4, 3, 1]


@pytest.mark.parametrize("prior", [float("nan"), float("inf")])
def test_first_play_when_a_prior_is_not_finite_is_refused(prior: float) -> None:
    forest = new_forest(rule="uct", first_play="prior")
    with pytest.raises(errors.InvalidArgumentError, match="at position 1: must be finite"):
        grow(forest, ROOT, 2, priors=[0.5, prior])
    assert forest.num_nodes(0) == 1


@pytest.mark.parametrize(("backup", "kept"), [("mean", 1.75), ("max", 1.0), ("last", 0.25)])
def test_backup_when_values_differ_keeps_what_the_mode_says(backup: str, kept: float) -> None:
    forest = new_forest(rule="uct", backup=backup)
    visit(forest, grow(forest, ROOT, 1), 0.5, 1.0, 0.25)
    assert forest.columns(0).value_sum.tolist() == [kept, kept]


# --- paths and walks ---------------------------------------------------------------------


def test_backup_path_when_each_node_has_a_value_counts_its_own() -> None:
    forest = new_forest(rule="uct", value_min=-5.0, value_max=5.0)
    child = grow(forest, grow(forest, ROOT, 2), 1)
    forest.backup_path(0, child, np.array([1.0, -2.0, 4.5]))
    columns = forest.columns(0)
    assert columns.value_sum.tolist() == [4.5, -2.0, 0.0, 1.0]
    assert columns.visit_count.tolist() == [1, 1, 0, 1]


@pytest.mark.parametrize(
    ("values", "message"),
    [([0.5], "values has 1 entries, expected 2"), ([0.5, 1.5], "value 1.5.*must be in")],
)
def test_backup_path_when_refused_leaves_the_tree(values: list[float], message: str) -> None:
    forest = new_forest(rule="uct")
    child = grow(forest, ROOT, 1)
    with pytest.raises(errors.InvalidArgumentError, match=message):
        forest.backup_path(0, child, np.array(values))
    assert forest.columns(0).visit_count.tolist() == [0, 0]


def test_walk_when_a_decision_is_close_stops_above_it() -> None:
    forest = new_forest(rule="uct", exploration=0.0, first_play="prior")
    grow(forest, ROOT, 2, priors=[0.9, 0.5])
    grow(forest, 1, 2, priors=[0.25, 0.5])
    assert forest.walk(0, ROOT, 0.0) == 4
    assert forest.walk(0, ROOT, 0.3) == 1  # 0.5 leads 0.25 by less
    assert forest.walk(0, ROOT, 0.5) == ROOT
    assert forest.walk(0, 1, 0.0) == 4


def test_walk_when_a_child_is_alone_passes_whatever_the_margin() -> None:
    forest = new_forest(rule="uct")
    grow(forest, grow(forest, ROOT, 1), 1)
    assert forest.walk(0, ROOT, float("inf")) == 2


def test_walk_when_leaves_are_in_flight_or_closed_takes_no_notice() -> None:
    forest = new_forest(rule="uct", exploration=0.0, virtual_loss=0.0, first_play="prior")
    grow(forest, ROOT, 2, priors=[0.25, 0.75], terminal=[False, True])
    assert select(forest, 1) == [1]
    assert forest.walk(0, ROOT, 0.0) == 2


@pytest.mark.parametrize(
    ("rule", "margin", "message"),
    [
        ("mcts_g", 0.0, "walk is for rules that descend"),
        ("uct", -1.0, "margin=-1"),
        ("uct", float("nan"), "margin=nan"),
    ],
)
def test_walk_when_it_makes_no_sense_is_refused(rule: str, margin: float, message: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=message):
        new_forest(rule=rule).walk(0, ROOT, margin)


# --- ties ------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_ties_when_all_is_equal_go_to_the_lower_id(rule: str) -> None:
    forest = new_forest(rule=rule)
    grow(forest, ROOT, 5)
    assert select(forest, 5) == [1, 2, 3, 4, 5]


def test_ties_when_scores_are_infinite_go_to_the_better_parent() -> None:
    forest = new_forest(rule="mcts_g")
    grow(forest, ROOT, 2)
    grow(forest, 1, 2)  # 3, 4
    grow(forest, 2, 2)  # 5, 6
    visit(forest, 1, 0.25)
    visit(forest, 2, 0.75)
    assert select(forest, 4) == [5, 6, 3, 4]


def test_ties_when_values_are_equal_go_to_fewer_visits() -> None:
    forest = new_forest(rule="best_first")
    grow(forest, ROOT, 3)
    visit(forest, 1, 0.5, 0.5, 0.5)
    visit(forest, 2, 0.5)
    visit(forest, 3, 0.5, 0.5)
    assert select(forest, 3) == [2, 3, 1]


# --- virtual loss ----------------------------------------------------------------------


def two_by_two(virtual_loss: float) -> Forest:
    """Children 1 and 2 of two visits each; leaves 3, 4 of mean 0.6 and 5, 6 of mean 0.45."""
    forest = new_forest(rule="uct", exploration=0.2, virtual_loss=virtual_loss)
    grow(forest, ROOT, 2)
    grow(forest, 1, 2)
    grow(forest, 2, 2)
    for leaf, value in ((3, 0.6), (4, 0.6), (5, 0.45), (6, 0.45)):
        visit(forest, leaf, value)
    return forest


def test_virtual_loss_when_zero_counts_a_visit_in_the_bonus_only() -> None:
    first = 0.6 + 0.2 * sqrt(log(5) / 3)  # N' = 2 + 1 of child 1, 4 + 1 of the root
    second = 0.45 + 0.2 * sqrt(log(5) / 2)
    assert first > second
    assert select(two_by_two(0.0), 2) == [3, 4]


def test_virtual_loss_when_one_counts_a_lost_visit_too() -> None:
    first = (1.2 + 0.0) / 3 + 0.2 * sqrt(log(5) / 3)
    second = 0.45 + 0.2 * sqrt(log(5) / 2)
    assert first < second
    assert select(two_by_two(1.0), 2) == [3, 5]


def test_virtual_loss_when_released_is_gone() -> None:
    forest = two_by_two(1.0)
    before = forest.signature(0)
    for _ in range(3):
        assert select(forest, 2) == [3, 5]
        assert forest.columns(0).in_flight.tolist() == [2, 1, 1, 1, 0, 1, 0]
        forest.release(trees_of(0, 0), nodes_of(3, 5))
    assert forest.signature(0) == before
    assert not forest.columns(0).in_flight.any()


# --- rewards of edges, discount ----------------------------------------------------------


def test_backup_when_edges_have_rewards_discounts_from_edge_to_edge() -> None:
    forest = new_forest(rule="uct", discount=0.5)
    grow(forest, ROOT, 1, rewards=[0.25])
    grow(forest, 1, 1, rewards=[-0.125])
    visit(forest, 2, 0.75)
    at_1 = -0.125 + 0.5 * 0.75
    at_root = 0.25 + 0.5 * at_1
    assert forest.columns(0).value_sum.tolist() == [at_root, at_1, 0.75]


def test_select_when_edges_have_rewards_counts_them_in_the_value() -> None:
    forest = new_forest(rule="best_first", discount=0.5)
    grow(forest, ROOT, 2, rewards=[0.5, 0.0])
    visit(forest, 1, 0.25)  # 0.5 + 0.5 * 0.25 = 0.625
    visit(forest, 2, 1.0)  # 0.0 + 0.5 * 1.0 = 0.5
    assert select(forest, 2) == [1, 2]


def test_set_rewards_when_leaves_are_unvisited_is_as_if_expanded_with_them() -> None:
    forest = new_forest(rule="best_first", discount=0.5)
    grow(forest, ROOT, 2)
    forest.set_rewards(trees_of(0, 0), nodes_of(2, 1), np.array([0.0, 0.5], np.float32))
    assert forest.columns(0).edge_reward.tolist() == [0.0, 0.5, 0.0]
    visit(forest, 1, 0.25)
    visit(forest, 2, 1.0)
    assert select(forest, 2) == [1, 2]


# --- terminal nodes and exhausted trees ----------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_select_when_only_terminal_leaves_are_left_gives_no_node(rule: str) -> None:
    forest = new_forest(rule=rule)
    grow(forest, ROOT, 2, terminal=[True, True])
    assert not forest.has_open_leaf(0)
    assert select(forest, 3) == [NO_NODE] * 3
    assert not forest.columns(0).in_flight.any()


@pytest.mark.parametrize("rule", RULES)
def test_select_when_terminal_nodes_are_revisited_gives_them_again(rule: str) -> None:
    forest = new_forest(rule=rule, revisit_terminal=True)
    grow(forest, ROOT, 1, terminal=[True])
    for _ in range(3):
        assert select(forest, 2) == [1, NO_NODE]
        forest.backup(trees_of(0), nodes_of(1), np.array([0.5]), release=True)
    assert forest.columns(0).visit_count.tolist() == [3, 3]


@pytest.mark.parametrize("rule", RULES)
def test_expand_when_a_leaf_gets_no_children_makes_a_dead_end(rule: str) -> None:
    forest = new_forest(rule=rule)
    grow(forest, ROOT, 2)
    grow(forest, 1, 0)
    assert select(forest, 2) == [2, NO_NODE]
    assert forest.columns(0).expanded.tolist() == [True, True, False]


def test_children_when_added_in_several_expansions_are_listed_in_order() -> None:
    forest = new_forest()
    assert grow(forest, ROOT, 2) == 1
    assert grow(forest, 2, 2) == 3
    assert grow(forest, ROOT, 1500) == 5
    assert forest.children(0, ROOT).tolist() == [1, 2, *range(5, 1505)]
    assert forest.children(0, 1).tolist() == []
    forest.check_invariants(0)


def test_priors_when_left_out_are_equal_within_each_expansion() -> None:
    forest = new_forest()
    grow(forest, ROOT, 3)
    grow(forest, 1, 2)
    third = np.float32(1) / np.float32(3)
    assert forest.columns(0).prior.tolist() == [1.0, third, third, third, 0.5, 0.5]


def test_node_bytes_is_what_the_readme_may_say() -> None:
    assert NODE_BYTES == 32


# --- re-rooting, bytes, the pool -----------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_reroot_when_at_a_child_keeps_its_subtree_and_statistics(rule: str) -> None:
    forest = uneven_tree(rule=rule)
    mapping = forest.reroot(0, 2)
    assert mapping.tolist() == [NO_NODE, NO_NODE, 0, NO_NODE, NO_NODE, NO_NODE, 1, 2]
    columns = forest.columns(0)
    assert columns.parent.tolist() == [NO_NODE, 0, 0]
    assert columns.visit_count.tolist() == [4, 1, 3]
    assert columns.value_sum.tolist() == pytest.approx([1.2, 0.9, 0.3])
    assert columns.prior.tolist() == [1.0, 0.5, 0.5]
    assert select(forest, 3) == [1, 2, NO_NODE]
    forest.check_invariants(0)


@pytest.mark.parametrize("rule", RULES)
def test_bytes_when_imported_give_the_same_search(rule: str) -> None:
    forest = uneven_tree(rule=rule)
    data = forest.to_bytes(0)
    copy = forest.from_bytes(data)
    assert forest.signature(copy) == forest.signature(0)
    assert forest.to_bytes(copy) == data
    assert select(forest, 5, tree=copy) == select(forest, 5, tree=0)


def test_bytes_when_exported_in_flight_are_at_rest() -> None:
    forest = uneven_tree()
    at_rest = forest.to_bytes(0)
    select(forest, 3)
    assert forest.to_bytes(0) == at_rest
    assert not forest.columns(forest.from_bytes(at_rest)).in_flight.any()


def test_bytes_when_any_byte_is_damaged_or_missing_are_refused() -> None:
    forest = uneven_tree()
    data = forest.to_bytes(0)
    for i in range(len(data)):
        damaged = data[:i] + bytes([data[i] ^ 0x10]) + data[i + 1 :]
        with pytest.raises(errors.CorruptDataError):
            forest.from_bytes(damaged)
        with pytest.raises(errors.CorruptDataError):
            forest.from_bytes(data[:i])
    assert forest.num_trees == 1


def test_drop_when_trees_are_made_again_gives_clean_ones_under_new_ids() -> None:
    forest = uneven_tree()
    select(forest, 2)
    forest.drop_trees(trees_of(0))
    assert forest.num_trees == 0
    assert forest.create_trees(2).tolist() == [1, 2]
    assert forest.num_nodes(1) == 1
    assert forest.signature(1) == forest.signature(2)


@pytest.mark.parametrize("rule", RULES)
def test_moves_when_given_plain_numbers_are_those_of_arrays_of_one(rule: str) -> None:
    forest = Forest(SearchParams(rule=rule))
    forest.create_trees(2)
    rng = np.random.default_rng(5)
    for _ in range(50):
        leaf = forest.select(0)
        assert type(leaf) is int
        assert forest.select(trees_of(1)).tolist() == [leaf]
        count = int(rng.integers(0, 4))
        chances = rng.random(count).astype(np.float32)
        ends = rng.random(count) < 0.2
        first = forest.expand(0, leaf, count, priors=chances, terminal=ends)
        assert type(first) is int
        counts = np.array([count], np.int32)
        others = forest.expand(trees_of(1), nodes_of(leaf), counts, priors=chances, terminal=ends)
        assert others.tolist() == [first]
        value = float(rng.random())
        if value < 0.5:
            forest.backup(0, leaf, value, release=True)
            forest.backup(trees_of(1), nodes_of(leaf), np.array([value]), release=True)
        else:
            forest.release(np.int32(0), np.uint32(leaf))  # scalars of NumPy are numbers, too
            forest.release(trees_of(1), nodes_of(leaf))
        assert forest.signature(0) == forest.signature(1)
        if not forest.has_open_leaf(0):
            break
    assert forest.num_nodes(0) > 20


@pytest.mark.parametrize("rule", RULES)
def test_advance_when_compared_with_its_three_moves_is_the_same(rule: str) -> None:
    at_once, apart = (Forest(SearchParams(rule=rule)) for _ in range(2))
    trees = np.repeat(at_once.create_trees(3), 2)
    apart.create_trees(3)
    one = at_once.create_trees(1)[0], apart.create_trees(1)[0]
    leaves, leaf = at_once.select(trees), at_once.select(int(one[0]))
    assert apart.select(trees).tolist() == leaves.tolist()
    assert apart.select(int(one[1])) == leaf
    rng = np.random.default_rng(6)
    for _ in range(30):
        found = leaves != NO_NODE
        trees, leaves = trees[found], leaves[found]
        counts = rng.integers(1, 4, len(leaves)).astype(np.int32)
        ends = rng.random(counts.sum()) < 0.1
        values = rng.random(len(leaves))
        first, next_leaves = at_once.advance(trees, leaves, counts, values, terminal=ends)
        assert first.tolist() == apart.expand(trees, leaves, counts, terminal=ends).tolist()
        apart.backup(trees, leaves, values, release=True)
        leaves = apart.select(trees)
        assert leaves.tolist() == next_leaves.tolist()
        alone = at_once.advance(int(one[0]), leaf, 3, 0.5)
        assert alone[0] == apart.expand(int(one[1]), leaf, 3)
        apart.backup(int(one[1]), leaf, 0.5, release=True)
        leaf = apart.select(int(one[1]))
        assert alone[1] == leaf
    for tree in (0, 1, 2, int(one[0])):
        assert at_once.signature(tree) == apart.signature(tree)
        at_once.check_invariants(tree)
    assert at_once.num_nodes(0) > 50


# --- refusals ------------------------------------------------------------------------------

NAN = float("nan")
INT32 = np.int32
T0, T1, T2 = trees_of(0), trees_of(1), trees_of(0, 0)
N4, N45 = nodes_of(4), nodes_of(4, 5)
TWO = np.array([2], np.int32)
FLOAT, FLOATS = np.zeros(1, np.float32), np.zeros(2, np.float32)
HALF, HALVES = np.array([0.5]), np.array([0.5, 0.5])


def unaligned() -> Any:
    return np.frombuffer(b"x" + bytes(4), dtype=np.int32, offset=1)


def priors(*values: float) -> dict[str, Any]:
    return {"priors": np.array(values, np.float32)}


# (call on the forest below, exception class, words of its message)
REFUSALS: list[tuple[str, Callable[[Forest], Any], type[Exception], str]] = [
    ("select list", lambda f: f.select([0]), TypeError, "trees is a list"),
    ("select nothing", lambda f: f.select(), TypeError, r"select\(\) missing.*'trees'"),
    ("select two", lambda f: f.select(0, 0), TypeError, r"at most 1 positional.*\(2 given\)"),
    ("select twice", lambda f: f.select(0, trees=0), TypeError, "multiple values.*'trees'"),
    ("release half", lambda f: f.release(0), TypeError, r"release\(\) missing.*'nodes'"),
    ("expand half", lambda f: f.expand(0, counts=2), TypeError, r"expand\(\) missing.*'nodes'"),
    ("expand by position", lambda f: f.expand(0, 4, 2, None), TypeError, "at most 3 positional"),
    ("advance unknown", lambda f: f.advance(0, 3, 2, 0.5, prior=None), TypeError, "'prior'"),
    (
        "backup text flag",
        lambda f: f.backup(0, 4, 0.5, release="no"),
        TypeError,
        "release is a str",
    ),
    (
        "backup several flags",
        lambda f: f.backup(0, 4, 0.5, release=np.array([True, False])),
        ValueError,
        "ambiguous",
    ),
    (
        "forest without its parameters",
        lambda f: Forest.__new__(Forest).select(0),
        TypeError,
        "Forest.__init__ was not called",
    ),
    ("select None", lambda f: f.select(None), TypeError, "trees is a NoneType"),
    ("select float tree", lambda f: f.select(0.0), TypeError, "trees is a float"),
    ("select huge tree", lambda f: f.select(2**80), errors.UnknownTreeError, "tree"),
    ("select negative tree", lambda f: f.select(-1), errors.UnknownTreeError, "tree -1"),
    ("expand one, other node", lambda f: f.expand(0, 8, 2), errors.UnknownNodeError, "node 8"),
    ("expand one, array", lambda f: f.expand(0, N4, 2), TypeError, "nodes is a numpy.ndarray"),
    ("expand one, float", lambda f: f.expand(0, 4, 2.0), TypeError, "counts is a float"),
    (
        "expand one, negative",
        lambda f: f.expand(0, 4, -(2**70)),
        errors.InvalidArgumentError,
        "counts=-",
    ),
    ("expand one, huge", lambda f: f.expand(0, 4, 2**70), errors.ArenaFullError, "max_nodes is"),
    (
        "expand one, short priors",
        lambda f: f.expand(0, 4, 2, **priors(1.0)),
        errors.InvalidArgumentError,
        "priors has 1 entries, expected 2",
    ),
    ("backup one, NaN", lambda f: f.backup(0, 4, NAN), errors.InvalidArgumentError, "value nan"),
    ("backup one, text", lambda f: f.backup(0, 4, "x"), TypeError, "values is a str"),
    ("backup one, array", lambda f: f.backup(0, 4, HALVES), TypeError, "values is a numpy.ndarray"),
    (
        "advance not in flight",
        lambda f: f.advance(0, 4, 2, 0.5),
        errors.TreeStateError,
        "node 4.*not in flight",
    ),
    ("advance value", lambda f: f.advance(0, 3, 2, 2.0), errors.InvalidArgumentError, "value 2.0"),
    ("advance count", lambda f: f.advance(0, 3, -2, 0.5), errors.InvalidArgumentError, "counts=-2"),
    ("advance full", lambda f: f.advance(0, 3, 999, 0.5), errors.ArenaFullError, "max_nodes is"),
    (
        "advance twice",
        lambda f: f.advance(T2, nodes_of(3, 3), np.array([1, 1], INT32), HALVES),
        errors.TreeStateError,
        "node 3 at position 1",
    ),
    (
        "advance short values",
        lambda f: f.advance(T2, nodes_of(3, 4), np.array([1, 1], INT32), HALF),
        errors.InvalidArgumentError,
        "values has 1 entries, expected 2",
    ),
    ("release one", lambda f: f.release(0, 4), errors.TreeStateError, "node 4.*not in flight"),
    ("release huge node", lambda f: f.release(0, 2**32), errors.UnknownNodeError, "node 429"),
    ("select int64", lambda f: f.select(np.array([0])), TypeError, "int64.*astype"),
    ("select float", lambda f: f.select(np.array([0.0])), TypeError, "float64.*astype"),
    ("select uint32", lambda f: f.select(nodes_of(0)), TypeError, "uint32.*astype"),
    ("select big-endian", lambda f: f.select(np.array([0], ">i4")), TypeError, "astype"),
    ("select object", lambda f: f.select(np.array([None])), TypeError, "object"),
    (
        "select 2-D",
        lambda f: f.select(T2.reshape(1, 2)),
        errors.InvalidArgumentError,
        "trees has 2 dimensions",
    ),
    (
        "select 0-D",
        lambda f: f.select(np.array(0, INT32)),
        errors.InvalidArgumentError,
        "trees has 0 dimensions",
    ),
    (
        "select strided",
        lambda f: f.select(np.zeros(4, INT32)[::2]),
        errors.InvalidArgumentError,
        "trees is not contiguous.*ascontiguousarray",
    ),
    (
        "select unaligned",
        lambda f: f.select(unaligned()),
        errors.InvalidArgumentError,
        "trees is not aligned",
    ),
    ("select dropped", lambda f: f.select(trees_of(0, 2)), errors.UnknownTreeError, "tree 2"),
    ("select unknown", lambda f: f.select(trees_of(0, 99)), errors.UnknownTreeError, "tree 99"),
    ("select negative", lambda f: f.select(trees_of(-1)), errors.UnknownTreeError, "tree -1"),
    (
        "expand unknown node",
        lambda f: f.expand(T0, nodes_of(8), TWO),
        errors.UnknownNodeError,
        "node 8 at position 0.*tree 0.*8 nodes",
    ),
    (
        "expand no node",
        lambda f: f.expand(T0, nodes_of(NO_NODE), TWO),
        errors.UnknownNodeError,
        str(NO_NODE),
    ),
    ("expand int32 nodes", lambda f: f.expand(T0, T0, TWO), TypeError, "nodes has dtype int32"),
    (
        "expand negative",
        lambda f: f.expand(T0, N4, np.array([-3], INT32)),
        errors.InvalidArgumentError,
        "counts=-3 at position 0",
    ),
    (
        "expand short nodes",
        lambda f: f.expand(T2, N4, TWO),
        errors.InvalidArgumentError,
        "nodes has 1 entries, expected 2",
    ),
    (
        "expand short counts",
        lambda f: f.expand(T2, N45, TWO),
        errors.InvalidArgumentError,
        "counts has 1 entries, expected 2",
    ),
    ("expand list counts", lambda f: f.expand(T0, N4, [2]), TypeError, "counts is a list"),
    (
        "expand terminal node",
        lambda f: f.expand(T1, nodes_of(1), TWO),
        errors.TreeStateError,
        "node 1.*terminal",
    ),
    (
        "expand full",
        lambda f: f.expand(T0, N4, np.array([93], INT32)),
        errors.ArenaFullError,
        "101 nodes, max_nodes is 100",
    ),
    (
        "expand full in sum",
        lambda f: f.expand(T2, N45, np.array([50, 43], INT32)),
        errors.ArenaFullError,
        "101 nodes",
    ),
    (
        "expand huge",
        lambda f: f.expand(T2, N45, np.array([2**31 - 1] * 2, INT32)),
        errors.ArenaFullError,
        "max_nodes is 100",
    ),
    (
        "expand NaN prior",
        lambda f: f.expand(T0, N4, TWO, **priors(0.5, NAN)),
        errors.InvalidArgumentError,
        "prior nan at position 1",
    ),
    (
        "expand prior above 1",
        lambda f: f.expand(T0, N4, TWO, **priors(1.5, 0.5)),
        errors.InvalidArgumentError,
        "prior 1.5",
    ),
    (
        "expand prior below 0",
        lambda f: f.expand(T0, N4, TWO, **priors(0.5, -0.5)),
        errors.InvalidArgumentError,
        "prior -0.5",
    ),
    (
        "expand short priors",
        lambda f: f.expand(T0, N4, TWO, **priors(1.0)),
        errors.InvalidArgumentError,
        "priors has 1 entries, expected 2",
    ),
    (
        "expand no priors",
        lambda f: f.expand(T0, N4, TWO, **priors()),
        errors.InvalidArgumentError,
        "priors has 0 entries, expected 2",
    ),
    (
        "expand float64 priors",
        lambda f: f.expand(T0, N4, TWO, priors=HALVES),
        TypeError,
        "priors has dtype float64",
    ),
    (
        "expand uint8 terminal",
        lambda f: f.expand(T0, N4, TWO, terminal=np.zeros(2, np.uint8)),
        TypeError,
        "terminal has dtype uint8",
    ),
    (
        "expand long terminal",
        lambda f: f.expand(T0, N4, TWO, terminal=np.zeros(3, np.bool_)),
        errors.InvalidArgumentError,
        "terminal has 3 entries, expected 2",
    ),
    (
        "expand infinite reward",
        lambda f: f.expand(T0, N4, TWO, rewards=np.array([0, np.inf], np.float32)),
        errors.InvalidArgumentError,
        "reward inf at position 1",
    ),
    (
        "expand short rewards",
        lambda f: f.expand(T0, N4, TWO, rewards=np.zeros(1, np.float32)),
        errors.InvalidArgumentError,
        "rewards has 1 entries, expected 2",
    ),
    (
        "backup NaN",
        lambda f: f.backup(T2, N45, np.array([0.5, NAN])),
        errors.InvalidArgumentError,
        "value nan at position 1",
    ),
    (
        "backup above",
        lambda f: f.backup(T0, N4, np.array([1.25])),
        errors.InvalidArgumentError,
        "value 1.25.*value_min and value_max",
    ),
    (
        "backup below",
        lambda f: f.backup(T0, N4, np.array([-0.25])),
        errors.InvalidArgumentError,
        "value -0.25",
    ),
    (
        "backup float32",
        lambda f: f.backup(T0, N4, HALF.astype(np.float32)),
        TypeError,
        "values has dtype float32",
    ),
    ("backup list", lambda f: f.backup(T0, N4, [0.5]), TypeError, "values is a list"),
    (
        "backup short",
        lambda f: f.backup(T2, N45, HALF),
        errors.InvalidArgumentError,
        "values has 1 entries, expected 2",
    ),
    (
        "backup unknown node",
        lambda f: f.backup(T2, nodes_of(4, 8), HALVES),
        errors.UnknownNodeError,
        "node 8 at position 1",
    ),
    (
        "backup not in flight",
        lambda f: f.backup(T2, nodes_of(3, 4), HALVES, release=True),
        errors.TreeStateError,
        "node 4 at position 1.*not in flight",
    ),
    (
        "release not in flight",
        lambda f: f.release(T0, N4),
        errors.TreeStateError,
        "node 4.*not in flight",
    ),
    (
        "release twice",
        lambda f: f.release(T2, nodes_of(3, 3)),
        errors.TreeStateError,
        "node 3 at position 1",
    ),
    (
        "set_rewards of the root",
        lambda f: f.set_rewards(T1, nodes_of(0), FLOAT),
        errors.TreeStateError,
        "node 0 at position 0 of tree 1 is the root",
    ),
    (
        "set_rewards after a backup",
        lambda f: f.set_rewards(trees_of(1, 0), nodes_of(1, 4), FLOATS),
        errors.TreeStateError,
        "node 4 at position 1 of tree 0 has visits.*before the first backup",
    ),
    (
        "set_rewards infinite",
        lambda f: f.set_rewards(T1, nodes_of(1), np.array([np.inf], np.float32)),
        errors.InvalidArgumentError,
        "reward inf at position 0",
    ),
    (
        "set_rewards short",
        lambda f: f.set_rewards(T2, N45, FLOAT),
        errors.InvalidArgumentError,
        "rewards has 1 entries, expected 2",
    ),
    (
        "set_rewards float64",
        lambda f: f.set_rewards(T1, nodes_of(1), HALF),
        TypeError,
        "rewards has dtype float64",
    ),
    (
        "set_gumbel of another rule",
        lambda f: f.set_gumbel(0, FLOATS, num_simulations=8),
        errors.InvalidArgumentError,
        'set_gumbel is for the rule gumbel.*rule="gumbel"',
    ),
    (
        "set_gumbel unknown tree",
        lambda f: f.set_gumbel(2, FLOAT, num_simulations=8),
        errors.UnknownTreeError,
        "tree 2",
    ),
    ("release None", lambda f: f.release(T0, None), TypeError, "nodes is a NoneType"),
    ("reroot in flight", lambda f: f.reroot(0, 1), errors.TreeStateError, "1 leaves in flight"),
    ("reroot unknown node", lambda f: f.reroot(1, 3), errors.UnknownNodeError, "node 3"),
    ("reroot negative node", lambda f: f.reroot(1, -1), errors.UnknownNodeError, "node -1"),
    ("reroot huge node", lambda f: f.reroot(1, 2**40), errors.UnknownNodeError, str(2**40)),
    ("reroot huge tree", lambda f: f.reroot(2**40, 0), errors.UnknownTreeError, str(2**40)),
    ("reroot float", lambda f: f.reroot(0, 0.5), TypeError, "incompatible"),
    ("children unknown", lambda f: f.children(0, 8), errors.UnknownNodeError, "node 8"),
    ("columns dropped", lambda f: f.columns(2), errors.UnknownTreeError, "tree 2"),
    ("columns None", lambda f: f.columns(None), TypeError, "incompatible"),
    ("num_nodes negative", lambda f: f.num_nodes(-1), errors.UnknownTreeError, "tree -1"),
    ("has_open_leaf huge", lambda f: f.has_open_leaf(2**40), errors.UnknownTreeError, str(2**40)),
    ("signature dropped", lambda f: f.signature(2), errors.UnknownTreeError, "tree 2"),
    ("to_bytes dropped", lambda f: f.to_bytes(2), errors.UnknownTreeError, "tree 2"),
    ("from_bytes empty", lambda f: f.from_bytes(b""), errors.CorruptDataError, "0 bytes"),
    ("from_bytes other", lambda f: f.from_bytes(b"x" * 64), errors.CorruptDataError, "to_bytes"),
    ("from_bytes str", lambda f: f.from_bytes("x"), TypeError, "incompatible"),
    ("create negative", lambda f: f.create_trees(-2), errors.InvalidArgumentError, "count=-2"),
    ("create huge", lambda f: f.create_trees(2**40), errors.InvalidArgumentError, str(2**40)),
    ("create float", lambda f: f.create_trees(1.5), TypeError, "incompatible"),
    ("drop twice", lambda f: f.drop_trees(T2), errors.UnknownTreeError, "tree 0.*twice"),
    ("drop dropped", lambda f: f.drop_trees(trees_of(0, 2)), errors.UnknownTreeError, "tree 2"),
]


@pytest.mark.parametrize(
    ("call", "error", "words"), [case[1:] for case in REFUSALS], ids=[c[0] for c in REFUSALS]
)
@pytest.mark.parametrize("rule", ["uct", "mcts_g"])
def test_bad_arguments_when_refused_name_the_value_and_change_nothing(
    rule: str, call: Callable[[Forest], Any], error: type[Exception], words: str
) -> None:
    # Tree 0: the uneven one, with leaf 3 alone in flight. Tree 1: 3 nodes. Tree 2: dropped.
    forest = uneven_tree(rule=rule, max_nodes=100)
    forest.create_trees(2)
    forest.drop_trees(trees_of(2))
    grow(forest, ROOT, 2, tree=1, terminal=[True, False])
    taken = select(forest, 5)
    others = [leaf for leaf in taken if leaf != 3]
    forest.release(np.zeros(len(others), np.int32), nodes_of(*others))
    before = [(forest.signature(tree), forest.columns(tree)) for tree in (0, 1)]

    with pytest.raises(error, match=words) as caught:
        call(forest)
    assert type(caught.value) is error

    for tree, (signature, columns) in enumerate(before):
        assert forest.signature(tree) == signature
        for field in fields(columns):
            now = getattr(forest.columns(tree), field.name)
            np.testing.assert_array_equal(now, getattr(columns, field.name))
        forest.check_invariants(tree)
    assert forest.num_trees == 2


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rule": "alphabeta"}, "rule='alphabeta'.*uct, puct, mcts_g, best_first"),
        ({"backup": "median"}, "backup='median'.*mean, max, last"),
        ({"first_play": "last"}, "first_play='last'.*first, parent, value, prior"),
        ({"rule": "puct", "first_play": "prior"}, "first_play='prior'.*probabilities.*rule"),
        ({"exploration": -1.0}, "exploration=-1"),
        ({"exploration": NAN}, "exploration=nan"),
        ({"exploration": 1e101}, "exploration="),
        ({"exploration_base": 0.5}, "exploration_base=0.5"),
        ({"value_scale": -0.1}, "value_scale=-0.1"),
        ({"maxvisit_init": NAN}, "maxvisit_init=nan"),
        ({"rule": "muzero", "first_play": "parent"}, "first_play='parent'.*muzero.*leave it out"),
        ({"rule": "gumbel", "first_play": "value"}, "first_play='value'.*gumbel.*leave it out"),
        ({"rule": "gumbel", "first_play": "reward"}, "first_play='reward'.*leave it out"),
        ({"rule": "mcts_g", "first_play": "reward"}, "first_play='reward'.*descend"),
        ({"virtual_loss": float("inf")}, "virtual_loss=inf"),
        ({"first_play_value": NAN}, "first_play_value=nan"),
        ({"discount": 1.5}, "discount=1.5"),
        ({"value_min": 1.0}, "value_max=1.0.*above value_min"),
        ({"value_max": NAN}, "value_max=nan"),
        ({"max_nodes": 0}, "max_nodes=0"),
        ({"max_nodes": 2**32 - 1}, "max_nodes="),
    ],
)
def test_settings_when_out_of_range_are_refused_by_name(
    settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=words):
        SearchParams(**settings)


@pytest.mark.parametrize(
    ("noise", "plan", "words"),
    [
        ([0, 0, 0], {}, "noise has 3 entries, expected 4"),
        ([0, 0, NAN, 0], {}, "noise nan at position 2"),
        ([0] * 4, {"num_simulations": 0}, "num_simulations=0"),
        ([0] * 4, {"max_considered": 0}, "max_considered=0"),
        ([0] * 4, {"max_considered": 2**31}, "max_considered=2147483648"),
    ],
)
def test_set_gumbel_when_the_plan_is_bad_names_the_value_and_keeps_the_old_one(
    noise: list[float], plan: dict[str, int], words: str
) -> None:
    forest = gumbel_root()
    forest.set_gumbel(0, np.array([0, 0, 9, 0], np.float32), num_simulations=8)
    with pytest.raises(errors.InvalidArgumentError, match=words):
        forest.set_gumbel(0, np.array(noise, np.float32), **{"num_simulations": 8, **plan})
    assert select(forest, 1) == [3]


def test_expand_when_refused_for_room_leaves_the_room_to_the_next() -> None:
    forest = new_forest(max_nodes=10)
    with pytest.raises(errors.ArenaFullError):
        forest.expand(T2, nodes_of(0, 0), np.array([5, 5], np.int32))
    forest.expand(T2, nodes_of(0, 0), np.array([5, 4], np.int32))
    assert forest.num_nodes(0) == 10


# --- threads -------------------------------------------------------------------------------


def test_moves_when_called_by_names_made_at_run_time_are_the_same() -> None:
    forest = Forest(SearchParams())
    named = {"".join(["tr", "ees"]): 0, "".join(["no", "des"]): 0, "".join(["cou", "nts"]): 2}
    forest.create_trees()
    assert forest.expand(**named) == 1
    assert forest.select(trees=0) == 1
    forest.backup(0, nodes=1, values=0.5, release=np.True_)
    assert forest.columns(0).visit_count.tolist() == [1, 1, 0]
    assert not forest.columns(0).in_flight.any()


def test_moves_when_the_class_is_derived_from_are_inherited_and_may_be_replaced() -> None:
    class Counting(Forest):
        selections = 0

        def select(self, trees: Any) -> Any:
            self.selections += 1
            return super().select(trees)

    forest = Counting(SearchParams(rule="best_first"))
    forest.create_trees()
    assert (forest.select(0), forest.selections, forest.params.rule) == (0, 1, "best_first")


def test_one_forest_when_a_second_thread_enters_refuses_it() -> None:
    forest = new_forest()
    grow(forest, ROOT, 1_000_000)
    signature = forest.signature(0)
    stop = threading.Event()
    wrong: list[int] = []

    def hash_over_and_over() -> None:
        while not stop.is_set():
            try:
                if forest.signature(0) != signature:  # milliseconds without the GIL
                    wrong.append(1)
            except errors.ConcurrentUseError:
                continue

    thread = threading.Thread(target=hash_over_and_over)
    thread.start()
    try:
        message = ""
        deadline = time.monotonic() + 60
        while not message and time.monotonic() < deadline:
            try:
                forest.num_nodes(0)
            except errors.ConcurrentUseError as error:
                message = str(error)
    finally:
        stop.set()
        thread.join()
    assert "another thread" in message and "its own forest" in message
    assert not wrong
    forest.check_invariants(0)


def test_one_forest_when_threads_share_it_with_retries_loses_nothing() -> None:
    forest = new_forest(rule="mcts_g")
    rounds, batch, workers = 20, 256, 4
    leaf_ids = np.arange(1, 1 + batch, dtype=np.uint32)
    grow(forest, ROOT, batch)
    failures: list[BaseException] = []

    def work() -> None:
        done = 0
        try:
            while done < rounds:
                try:
                    forest.backup(np.zeros(batch, np.int32), leaf_ids, np.full(batch, 0.5))
                except errors.ConcurrentUseError:
                    continue
                done += 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert forest.columns(0).visit_count.tolist() == [
        workers * rounds * batch,
        *[workers * rounds] * batch,
    ]
    assert forest.columns(0).value_sum[ROOT] == 0.5 * workers * rounds * batch
    forest.check_invariants(0)


def test_separate_forests_when_used_in_parallel_agree() -> None:
    signatures: list[int] = []

    def search() -> None:
        forest = new_forest(rule="uct")
        for _ in range(300):
            leaf = forest.select(T0)
            forest.expand(T0, leaf, TWO)
            forest.backup(T0, leaf, leaf % 7 / 7, release=True)
        signatures.append(forest.signature(0))

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(signatures) == 4 and len(set(signatures)) == 1


# --- documentation -------------------------------------------------------------------------


def test_examples_in_docstrings_when_run_hold() -> None:
    results = doctest.testmod(rtsearch_fast.forest)
    assert results.attempted > 0 and results.failed == 0


def test_create_trees_when_address_space_runs_out_says_what_to_do() -> None:
    forest = Forest(SearchParams(max_nodes=2**32 - 2))  # 128 GiB each, of at most 128 TiB
    kept = forest.create_trees(1)
    with pytest.raises(errors.ArenaFullError, match=r"max_nodes=4294967294: drop trees"):
        forest.create_trees(4096)
    assert forest.num_trees == 1
    assert forest.select(kept).tolist() == [0]
