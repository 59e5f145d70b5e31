"""Random operations driven through the C++ core and the reference at once.

``python tests/support/tree_operations.py --operations 1000000`` is the volume run; the hypothesis
machine in tests/differential uses the same `Pair` and shrinks what it finds.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from dataclasses import fields
from typing import Any

import numpy as np

from rtsearch_fast import errors
from rtsearch_fast.forest import NO_NODE, Forest, SearchParams
from rtsearch_fast.reference import ReferenceForest

RULES = (
    "uct", "puct", "mcts_g", "best_first", "muzero", "gumbel", "muzero_tree", "alphazero"
)  # fmt: skip
#: Those that have a first play of their own.
WEIGH_SIBLINGS = ("muzero", "gumbel", "muzero_tree")
#: Those that descend from the root and score each child for itself.
DESCEND = ("uct", "puct", "alphazero")
#: Those whose priors are probabilities.
TAKE_PRIORS = ("puct", "alphazero")
VALUES = (0.0, 1.0, 0.5, 0.25, 1 / 3)


def random_params(rng: random.Random) -> SearchParams:
    rule = rng.choice(RULES)
    return SearchParams(
        rule=rule,
        exploration=rng.choice([0.0, 0.2, 0.4, 1.0, 1.4]),
        exploration_base=rng.choice([1.0, 20.0, 19652.0]),
        value_scale=rng.choice([0.0, 0.1, 1.0]),
        maxvisit_init=rng.choice([0.0, 50.0]),
        backup=rng.choice(["mean", "mean", "max", "last"]),
        first_play=None
        if rule in WEIGH_SIBLINGS
        else rng.choice(
            [
                None,
                "first",
                "parent",
                "value",
                *["prior"] * (rule not in TAKE_PRIORS),
                *["reward"] * (rule in DESCEND),
            ]
        ),
        first_play_value=rng.choice([0.0, 0.1, 0.5]),
        virtual_loss=rng.choice([0.0, 1.0, 1.0, 3.0]),
        discount=rng.choice([1.0, 1.0, 0.9, -0.9 if rule in WEIGH_SIBLINGS else 1.0]),
        least_span=rng.choice([0.0, 0.01, 2.0]),
        revisit_terminal=rng.random() < 0.3,
        max_nodes=rng.choice([1, 12, 60, 60, 300, 300, 2000]),
    )


class Pair:
    """The core and the reference, kept in step. Every call compares results or error types."""

    def __init__(self, params: SearchParams) -> None:
        self.core = Forest(params)
        self.reference = ReferenceForest(params)
        self.alive: list[int] = []
        self.selected: dict[int, list[int]] = {}

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Apply to both; returns the common result, or the common error's type."""
        outcomes = []
        for forest in (self.core, self.reference):
            try:
                outcomes.append(getattr(forest, method)(*args, **kwargs))
            except errors.SearchError as error:
                outcomes.append(type(error))
        core, reference = outcomes
        same = (
            core is reference
            if isinstance(core, type) or isinstance(reference, type)
            else np.array_equal(core, reference)
        )
        if not same:
            raise AssertionError(f"{method}{args} {kwargs}: core {core}, reference {reference}")
        return core

    def create(self, count: int) -> None:
        made = self.call("create_trees", count)
        if not isinstance(made, type):
            self.alive += made.tolist()
            self.selected.update({tree: [] for tree in made.tolist()})

    def select(self, trees: list[int]) -> None:
        leaves = self.call("select", np.array(trees, np.int32))
        if not isinstance(leaves, type):
            for tree, leaf in zip(trees, leaves.tolist(), strict=True):
                if leaf != NO_NODE:
                    self.selected[tree].append(leaf)

    def finish(self, entries: list[tuple[int, int]], values: list[float] | None) -> None:
        """Release selected leaves, with a backup in the same call if values are given."""
        trees = np.array([tree for tree, _ in entries], np.int32)
        nodes = np.array([node for _, node in entries], np.uint32)
        if values is None:
            outcome = self.call("release", trees, nodes)
        else:
            outcome = self.call("backup", trees, nodes, np.array(values), release=True)
        if not isinstance(outcome, type):
            for tree, node in entries:
                self.selected[tree].remove(node)

    def advance(
        self, entries: list[tuple[int, int]], counts: list[int], values: list[float], **told: Any
    ) -> None:
        """Expand selected leaves, back up, release and select again, in one call."""
        trees = np.array([tree for tree, _ in entries], np.int32)
        nodes = np.array([node for _, node in entries], np.uint32)
        outcome = self.call(
            "advance", trees, nodes, np.array(counts, np.int32), np.array(values), **told
        )
        if not isinstance(outcome, type):
            for (tree, node), leaf in zip(entries, outcome[1].tolist(), strict=True):
                self.selected[tree].remove(node)
                if leaf != NO_NODE:
                    self.selected[tree].append(leaf)

    def reroot(self, tree: int, node: int) -> None:
        self.call("reroot", tree, node)

    def drop(self, tree: int) -> None:
        if not isinstance(self.call("drop_trees", np.array([tree], np.int32)), type):
            self.alive.remove(tree)
            del self.selected[tree]

    def export_and_import(self, tree: int) -> None:
        """A tree at rest survives a round trip; it replaces the core's tree in both forests."""
        if self.selected[tree]:
            return
        copy = self.core.from_bytes(self.core.to_bytes(tree))
        self.reference._trees += [None] * (copy - len(self.reference._trees))
        self.reference._trees.append(self.reference._trees[tree])
        root = self.reference._trees[copy][0]
        root.plan, root.ties = None, 0  # which are not exported
        self.reference._begin_range(self.reference._trees[copy])
        self.reference._trees[tree] = None
        self.core.drop_trees(np.array([tree], np.int32))
        self.alive.remove(tree)
        self.alive.append(copy)
        self.selected[copy] = self.selected.pop(tree)

    def check(self, tree: int) -> None:
        """Compare everything that can be seen of one tree."""
        core, reference = self.core.columns(tree), self.reference.columns(tree)
        for column in fields(core):
            a, b = getattr(core, column.name), getattr(reference, column.name)
            assert a.dtype == b.dtype and np.array_equal(a, b), (tree, column.name, a, b)
        self.call("signature", tree)
        self.call("has_open_leaf", tree)
        self.call("children", tree, 0)
        self.core.check_invariants(tree)

    def check_all(self) -> None:
        for tree in self.alive:
            self.check(tree)


def random_step(pair: Pair, rng: random.Random) -> int:
    """Apply one random batch; returns how many operations it held."""
    if not pair.alive or (len(pair.alive) < 6 and rng.random() < 0.02):
        pair.create(rng.randrange(4))
        return 1
    kind = rng.random()
    batch = rng.choice([1, 1, 2, 5, 16])
    trees = [rng.choice(pair.alive) for _ in range(batch)]
    if kind < 0.30:
        pair.select(trees)
    elif kind < 0.55:
        _random_expand(pair, rng, trees)
    elif kind < 0.58:
        _random_path(pair, rng, trees[0])
        batch = 1
    elif kind < 0.61:
        node = rng.randrange(pair.core.num_nodes(trees[0]) + (rng.random() < 0.02))
        pair.call("walk", trees[0], node, rng.choice([0.0, 0.0, 0.1, 0.5, math.inf, -1.0]))
        batch = 1
    elif kind < 0.72:
        nodes = [rng.randrange(pair.core.num_nodes(tree)) for tree in trees]
        values = [_random_value(rng) for _ in trees]
        pair.call("backup", np.array(trees, np.int32), np.array(nodes, np.uint32), np.array(values))
    elif kind < 0.92:
        waiting = [(tree, leaf) for tree in pair.alive for leaf in pair.selected[tree]]
        entries = rng.sample(waiting, min(batch, len(waiting)))
        if rng.random() < 0.02:  # twice, or never selected
            entries += entries[:1] or [(rng.choice(pair.alive), 0)]
        batch = len(entries)
        values = [_random_value(rng) for _ in entries]
        if rng.random() < 0.4:
            counts = [rng.choice([0, 1, 2, 4, 4]) for _ in entries]
            pair.advance(entries, counts, values, **_random_columns(rng, counts, pair.core.params))
        else:
            pair.finish(entries, values if rng.random() < 0.5 else None)
    elif kind < 0.93:
        tree = rng.choice(pair.alive)
        pair.reroot(tree, rng.randrange(pair.core.num_nodes(tree) + 1))
        batch = 1
    elif kind < 0.94:
        pair.drop(rng.choice(pair.alive))
        batch = 1
    elif kind < 0.95:
        pair.export_and_import(rng.choice(pair.alive))
        batch = 1
    elif kind < 0.97:
        _random_rewards(pair, rng, trees)
    elif kind < 0.98:
        if rng.random() < 0.5:
            _random_gumbel(pair, rng, trees[0])
        else:
            seed = rng.choice([None, rng.getrandbits(64)])
            pair.call("set_ties", np.array(trees, np.int32), seed)
        batch = 1
    else:
        pair.check(rng.choice(pair.alive))
        batch = 1
    return batch


def _random_expand(pair: Pair, rng: random.Random, trees: list[int]) -> None:
    nodes, counts = [], []
    for tree in trees:
        waiting = pair.selected[tree]
        if waiting and rng.random() < 0.7:
            nodes.append(rng.choice(waiting))
        else:
            nodes.append(rng.randrange(pair.core.num_nodes(tree)))
        counts.append(rng.choice([0, 1, 2, 4, 4]))
    if rng.random() < 0.01:
        counts[0] = -1
    pair.call(
        "expand",
        np.array(trees, np.int32),
        np.array(nodes, np.uint32),
        np.array(counts, np.int32),
        **_random_columns(rng, counts, pair.core.params),
    )


def _random_path(pair: Pair, rng: random.Random, tree: int) -> None:
    """A value of its own for each node of a path, now and then one too many."""
    parents = pair.core.columns(tree).parent
    node = above = rng.randrange(len(parents))
    values = [_random_value(rng) for _ in range(1 + (rng.random() < 0.02))]
    while (above := parents[above]) != NO_NODE:
        values.append(_random_value(rng))
    pair.call("backup_path", tree, node, np.array(values))


def _random_columns(rng: random.Random, counts: list[int], params: SearchParams) -> dict[str, Any]:
    total = max(0, sum(counts))
    priors = terminal = rewards = None
    if rng.random() < 0.5:
        span = rng.choice([1, 1, -2, 3]) if params.first_play == "prior" else 1
        priors = np.array([span * rng.random() for _ in range(total)], np.float32)
    if rng.random() < 0.5:
        terminal = np.array([rng.random() < 0.2 for _ in range(total)], np.bool_)
    if rng.random() < 0.3:
        rewards = np.array([rng.choice([0.0, 0.5, -0.25]) for _ in range(total)], np.float32)
    if rng.random() < 0.01 and priors is not None and total:
        priors[-1] = rng.choice([np.nan, -0.5, 1.5])
    return {"priors": priors, "terminal": terminal, "rewards": rewards}


def _random_rewards(pair: Pair, rng: random.Random, trees: list[int]) -> None:
    """Of unvisited nodes, but for a few that are refused."""
    nodes = []
    for tree in trees:
        visits = pair.core.columns(tree).visit_count
        unvisited = np.flatnonzero(visits == 0) if rng.random() < 0.95 else np.arange(len(visits))
        nodes.append(int(rng.choice(unvisited)) if len(unvisited) else 0)
    rewards = [rng.choice([0.0, 0.5, -0.25, rng.random()]) for _ in trees]
    if rng.random() < 0.02:
        rewards[-1] = rng.choice([float("nan"), float("inf")])
    pair.call(
        "set_rewards",
        np.array(trees, np.int32),
        np.array(nodes, np.uint32),
        np.array(rewards, np.float32),
    )


def _random_gumbel(pair: Pair, rng: random.Random, tree: int) -> None:
    count = len(pair.core.children(tree, 0)) + (rng.random() < 0.05)
    noise = np.array([rng.gauss(0, 1) for _ in range(count)], np.float32)
    if count and rng.random() < 0.05:
        noise[0] = np.nan
    pair.call(
        "set_gumbel",
        tree,
        noise,
        num_simulations=rng.choice([0, 1, 5, 20, 50, 200]),
        max_considered=rng.choice([0, 1, 2, 3, 5, 16, 16]),
    )


def _random_value(rng: random.Random) -> float:
    if rng.random() < 0.002:
        return rng.choice([float("nan"), -0.1, 1.1, float("inf")])
    return rng.choice(VALUES) if rng.random() < 0.6 else rng.random()


def run(operations: int, seed: int, steps_per_forest: int = 400) -> int:
    """Drive at least `operations` operations; returns their number. Raises on any divergence."""
    rng = random.Random(seed)
    done = 0
    while done < operations:
        pair = Pair(random_params(rng))
        for _ in range(steps_per_forest):
            done += random_step(pair, rng)
        pair.check_all()
    return done


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.perf_counter()
    count = run(arguments.operations, arguments.seed)
    print(
        f"{count:,} operations (seed {arguments.seed}), zero divergence, "
        f"{time.perf_counter() - start:.0f} s"
    )
