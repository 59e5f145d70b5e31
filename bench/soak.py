"""Does the core keep its memory? Trees come, grow, are re-rooted and go, for as long as is wanted.

    python bench/soak.py --seconds 3600

One forest for each rule lives all the time. Prints the resident memory of the process over time,
and how much it grew after the first fifth, by when every tree has been at its largest.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

from rtsearch_fast.forest import NO_NODE, Forest, SearchParams

RULES = ("uct", "puct", "mcts_g", "best_first")
MOST_TREES = 64
MOST_NODES = 4000
BATCH = 32
CHILDREN = 4
SAMPLES = 50
WARM_UP = 0.2  # of the time
FLAT = 1.0  # MiB


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Life:
    """One forest and its trees."""

    def __init__(self, params: SearchParams, seed: int) -> None:
        self.forest = Forest(params)
        self.rng = np.random.default_rng(seed)
        self.trees = np.empty(0, np.int32)
        self.created = self.simulations = self.reroots = 0
        self.fill()

    def fill(self) -> None:
        """Touch all memory that trees will ever lie in: as many as there are, at their largest."""
        trees = self.forest.create_trees(MOST_TREES + 1)  # an import is made before its origin goes
        size, level = 1, np.zeros(1, np.uint32)
        while len(level):
            new = len(level) * CHILDREN
            below = np.arange(size, size + new, dtype=np.uint32)
            counts = np.full(len(level), CHILDREN, np.int32)
            for tree in trees:
                of_tree = np.full(new, tree, np.int32)
                rewards = np.ones(new, np.float32)
                self.forest.expand(of_tree[: len(level)], level, counts, rewards=rewards)
                self.forest.backup(of_tree, below, np.ones(new))
            size += new
            level = below[: (MOST_NODES - size) // CHILDREN]
        self.forest.drop_trees(trees)

    def step(self) -> None:
        kind = self.rng.random()
        if len(self.trees) < MOST_TREES:
            self.create(MOST_TREES - len(self.trees))
        elif kind < 0.90:
            self.search(self.rng.choice(self.trees, BATCH))
        elif kind < 0.96:
            self.reroot(int(self.rng.choice(self.trees)))
        else:
            self.drop(self.rng.choice(self.trees, self.rng.integers(1, 8), replace=False))

    def create(self, count: int) -> None:
        self.trees = np.concatenate([self.trees, self.forest.create_trees(count)])
        self.created += count

    def drop(self, trees: np.ndarray) -> None:
        self.forest.drop_trees(trees)
        self.trees = np.setdiff1d(self.trees, trees)

    def search(self, trees: np.ndarray) -> None:
        leaves = self.forest.select(trees)
        trees, leaves = trees[leaves != NO_NODE], leaves[leaves != NO_NODE]
        if len(leaves) == 0:
            return
        new = len(leaves) * CHILDREN
        self.forest.expand(
            trees,
            leaves,
            np.full(len(leaves), CHILDREN, np.int32),
            terminal=self.rng.random(new) < 0.05,
            rewards=self.rng.random(new, np.float32),
        )
        self.forest.backup(trees, leaves, self.rng.random(len(leaves)), release=True)
        self.simulations += len(leaves)
        grown = np.unique(trees)
        sizes = np.array([self.forest.num_nodes(int(tree)) for tree in grown])
        self.drop(grown[sizes > MOST_NODES - BATCH * CHILDREN])

    def reroot(self, tree: int) -> None:
        """Keep what is below the root's most visited child; go on with an imported copy of it."""
        children = self.forest.children(tree, 0)
        columns = self.forest.columns(tree)
        children = children[~columns.terminal[children]]
        if len(children) == 0:
            return
        best = children[columns.visit_count[children].argmax()]
        self.forest.reroot(tree, int(best))
        self.forest.expand(
            np.array([tree], np.int32), np.zeros(1, np.uint32), np.array([2], np.int32)
        )
        copy = self.forest.from_bytes(self.forest.to_bytes(tree))
        self.created += 1
        self.reroots += 1
        self.drop(np.array([tree], np.int32))
        self.trees = np.append(self.trees, np.int32(copy))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=600)
    seconds = parser.parse_args().seconds
    lives = [
        Life(SearchParams(rule=rule, max_nodes=MOST_NODES), seed) for seed, rule in enumerate(RULES)
    ]
    start = time.perf_counter()
    after_warm_up = []
    print("seconds  resident MiB  simulations       trees    re-roots")
    for sample in range(1, SAMPLES + 1):
        while time.perf_counter() - start < seconds * sample / SAMPLES:
            for life in lives:
                life.step()
        resident = resident_mib()
        if sample > SAMPLES * WARM_UP:
            after_warm_up.append(resident)
        print(
            f"{time.perf_counter() - start:7.0f} {resident:13.1f} "
            f"{sum(life.simulations for life in lives):12,} "
            f"{sum(life.created for life in lives):11,} "
            f"{sum(life.reroots for life in lives):11,}",
            flush=True,
        )
    growth = after_warm_up[-1] - after_warm_up[0]
    print(f"after warm-up: {growth:+.2f} MiB, {'flat' if growth < FLAT else 'NOT FLAT'}")


if __name__ == "__main__":
    main()
