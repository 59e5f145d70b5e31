"""Values of steps, of graded solutions and of trees."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from sampled import samples_of_few

from rtsearch_fast import Problem
from rtsearch_fast.errors import InvalidArgumentError
from rtsearch_fast.search.records import SearchTree
from rtsearch_fast.training.labels import label_steps, label_trees
from rtsearch_fast.training.samples import Sampled, by_question

PROBLEM = Problem("1", "?")


def grown(seed: int, nodes: int = 200) -> SearchTree:
    """A tree with random parents, in which visits are those of a search; some nodes have none."""
    rng = random.Random(seed)
    parent = [-1, *(rng.randrange(max(0, i - 30), i) for i in range(1, nodes))]
    visits = [0] * nodes
    sums = [0.0] * nodes
    for _ in range(nodes):
        node, value = rng.randrange(nodes), rng.random()
        while node >= 0:
            visits[node] += 1
            sums[node] += value
            node = parent[node]
    means = [s / n if n else math.nan for s, n in zip(sums, visits, strict=True)]
    steps = ["", *(f"step {i}\n\n" for i in range(1, nodes))]
    return SearchTree(*map(tuple, (parent, steps, visits, means, [0.5] * nodes, [False] * nodes)))


@settings(deadline=None)
@given(samples_of_few)
def test_labels_when_made_are_shares_that_fall_in_count(samples):
    for found in label_steps(samples):
        assert len(found.steps) == len(found.values) == len(found.counts) > 0
        assert all(0 <= value <= 1 for value in found.values)
        assert all(a >= b >= 1 for a, b in zip(found.counts, found.counts[1:], strict=False))


def test_labels_when_few_solutions_pass_are_cut_off():
    texts = ["a b 1", "a b 2", "a c 3", "a c 3", "d 4"]
    samples = [Sampled("1", "?", tuple(text.split()), text[-1], text[-1] == "1") for text in texts]
    found = label_steps(samples, min_count=2)
    assert [(one.steps, one.counts) for one in found] == [
        (("a", "b"), (4, 2)),
        (("a", "c", "3"), (4, 2, 2)),
    ]
    assert label_steps(samples, min_count=6) == []
    with pytest.raises(InvalidArgumentError, match="min_count=0"):
        label_steps(samples, min_count=0)


def test_labels_when_solutions_are_cut_off_do_not_count_them():
    whole = Sampled("1", "?", ("a", "b"), "1", True)
    cut = Sampled("1", "?", ("a",), None, False, finish="length")
    assert [found.counts for found in label_steps([whole, cut])] == [(1, 1)]


def test_questions_when_several_are_labelled_apart():
    samples = [Sampled(name, "?", ("a",), "1", name == "x") for name in "xy"]
    assert [found.values for found in label_steps(samples)] == [(1.0,), (0.0,)]
    assert len(by_question(samples)) == 2


def test_answer_when_labelled_is_that_of_a_right_sample():
    samples = [Sampled("1", "?", (str(n),), str(n), n == 2) for n in range(3)]
    assert {found.answer for found in label_steps(samples)} == {"2"}
    assert {found.answer for found in label_steps(samples[:2])} == {None}


@pytest.mark.parametrize("min_count", [1, 3])
def test_tree_when_labelled_has_each_node_that_was_visited_enough(min_count):
    tree = grown(1)
    found = label_trees(PROBLEM, [tree], min_count=min_count, answer="7")
    labels = {}
    for one in found:
        assert one.answer == "7"
        for label in zip(one.steps, one.values, one.counts, strict=True):
            labels.setdefault(label[0], label)
            assert labels[label[0]] == label
    wanted = [i for i in range(1, 200) if tree.visit_count[i] >= min_count]
    assert set(labels) == {tree.step[i] for i in wanted} and len(wanted) > 30
    for i in wanted:
        _, value, count = labels[tree.step[i]]
        assert count == tree.visit_count[i]
        assert value == pytest.approx(tree.mean_value[i], rel=1e-12)
    paths = [one.steps for one in found]
    assert not any(a != b and a == b[: len(a)] for a in paths for b in paths)


def test_trees_when_they_share_steps_are_weighed_by_their_visits():
    def tree(visits: int, mean: float, step: str) -> SearchTree:
        return SearchTree(
            (-1, 0), ("", step), (visits, visits), (mean, mean), (1.0, 1.0), (False, True)
        )

    (found,) = label_trees(PROBLEM, [tree(3, 0.25, "a\n\n"), tree(1, 0.75, "a")])
    assert (found.steps, found.values, found.counts) == (("a\n\n",), (0.375,), (4,))


def test_tree_when_it_is_its_root_alone_has_no_labels():
    assert (
        label_trees(PROBLEM, [SearchTree((-1,), ("",), (0,), (math.nan,), (1.0,), (False,))]) == []
    )
    with pytest.raises(InvalidArgumentError, match="min_count=0"):
        label_trees(PROBLEM, [], min_count=0)
