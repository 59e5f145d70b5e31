"""MuZero and Gumbel MuZero searches over the core, one tree for each element of a batch.

The interface is that of DeepMind's mctx: a root of logits, values and states, and a model that is
called once a simulation for the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from rtsearch_fast.forest import ROOT, Forest
from rtsearch_fast.reference import ReferenceForest


class Step(NamedTuple):
    """What a model says of the states that actions lead to; arrays of shape [B] and [B, A]."""

    reward: Any
    discount: Any  # the forest's, or 0 where the episode ends
    priors: Any  # probabilities, float32
    value: Any


class Root(NamedTuple):
    priors: Any  # float32 [B, A]
    value: Any  # [B]
    state: Any  # [B, ...]


# (action [B], state [B, ...]) -> what it leads to, next state
Model = Callable[[Any, Any], tuple[Step, Any]]


@dataclass(frozen=True)
class Found:
    """Trees after a search.

    Attributes
    ----------
    trees : int32 [B]
    nodes : uint32 [B, 1 + simulations]
        The root, then the leaf of each simulation.
    visit_counts, qvalues : [B, A]
        Of the root's actions; the Q of unvisited ones is 0.
    """

    trees: Any
    nodes: Any
    visit_counts: Any
    qvalues: Any


def search(
    forest: Forest | ReferenceForest,
    root: Root,
    model: Model,
    num_simulations: int,
    *,
    gumbel: Any = None,
    max_considered: int = 16,
) -> Found:
    """Search from each root. `gumbel`, float32 [B, A], is the noise for a forest of that rule."""
    batch, actions = root.priors.shape
    row = np.arange(batch)
    trees = forest.create_trees(batch)
    counts = np.full(batch, actions, np.int32)
    states = np.zeros((batch, 1 + num_simulations, *root.state.shape[1:]), root.state.dtype)
    states[:, 0] = root.state
    # children of one expansion have consecutive ids: expansion g made 1 + g * actions and so on
    expansions = np.zeros(batch, np.int64)
    has_ended = np.zeros((batch, 1 + num_simulations * actions + actions), np.bool_)
    nodes = np.zeros((batch, 1 + num_simulations), np.uint32)

    leaves = forest.select(trees)
    forest.expand(trees, leaves, counts, priors=root.priors.ravel())
    forest.backup(trees, leaves, root.value.astype(np.float64), release=True)
    expansions += 1
    if gumbel is not None:
        for tree, noise in zip(trees, gumbel, strict=True):
            forest.set_gumbel(
                int(tree), noise, num_simulations=num_simulations, max_considered=max_considered
            )

    for simulation in range(num_simulations):
        leaves = forest.select(trees)
        nodes[:, 1 + simulation] = leaves
        parent, action = np.divmod(leaves.astype(np.int64) - 1, actions)
        step, reached = model(action, states[row, parent])
        # an episode that ended goes on with nothing; its last node stays a leaf
        again = has_ended[row, leaves]
        new = ~again
        ends = new & (np.asarray(step.discount) == 0)
        has_ended[row[ends], leaves[ends]] = True
        forest.set_rewards(trees[new], leaves[new], step.reward[new].astype(np.float32))
        grows = new & ~ends
        forest.expand(trees[grows], leaves[grows], counts[grows], priors=step.priors[grows].ravel())
        states[row[grows], expansions[grows]] = reached[grows]
        expansions[grows] += 1
        forest.backup(
            trees, leaves, np.where(grows, step.value, 0.0).astype(np.float64), release=True
        )
    return Found(trees, nodes, *_roots(forest, trees, actions))


def _roots(forest: Forest | ReferenceForest, trees: Any, actions: int) -> tuple[Any, Any]:
    children = ROOT + 1 + np.arange(actions)
    visit_counts = np.zeros((len(trees), actions), np.int64)
    qvalues = np.zeros((len(trees), actions))
    for i, tree in enumerate(trees):
        columns = forest.columns(int(tree))
        visit_counts[i] = columns.visit_count[children]
        mean = columns.value_sum[children] / np.maximum(visit_counts[i], 1)
        qvalues[i] = columns.edge_reward[children] + forest.params.discount * mean
    qvalues[visit_counts == 0] = 0
    return visit_counts, qvalues
