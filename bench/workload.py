"""The synthetic search of core_loop.cc, driven from Python: same tree, same signature.

One simulation selects a leaf, gives it `children` children and backs the leaf's reward up, a hash
of its id. Nodes 32 edges below the root are terminal. `simulations` are per tree, `batch` of them
in flight at once.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rtsearch_fast.forest import NO_NODE, NODE_BYTES, Forest, SearchParams
from rtsearch_fast.reference import ReferenceForest

DEPTH_LIMIT = 32
EXPLORATION = 1.4
FRONTIER_BYTES = 12  # of one sibling group, for the rules that look at all open leaves
GLOBAL_RULES = ("mcts_g", "best_first")
ROOT_FOLDER = Path(__file__).resolve().parent.parent


def rewards_of(ids: Any) -> Any:
    """Mix(kMixSeed, id) of csrc/support/mix.h as a number in [0, 1)."""
    z = (ids.astype(np.uint64) ^ np.uint64(0x9E3779B97F4A7C15)) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


@dataclass(frozen=True)
class Workload:
    """One size of the search; `run` may be called any number of times."""

    rule: Literal["uct", "puct", "mcts_g", "best_first"] = "uct"
    children: int = 4
    simulations: int = 1000
    batch: int = 1
    trees: int = 1
    # The answers of the evaluator, made beforehand: it is not what is measured.
    rewards: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ids = np.arange(self.params.max_nodes, dtype=np.uint64)
        object.__setattr__(self, "rewards", rewards_of(ids))

    @property
    def params(self) -> SearchParams:
        return SearchParams(
            rule=self.rule,
            exploration=EXPLORATION,
            max_nodes=1 + self.simulations * self.children,
        )

    @property
    def total_simulations(self) -> int:
        return self.simulations * self.trees

    @property
    def bytes_per_node(self) -> float:
        groups = self.simulations / (1 + self.simulations * self.children)
        return NODE_BYTES + (FRONTIER_BYTES * groups if self.rule in GLOBAL_RULES else 0)

    def run(self, forest: Forest | ReferenceForest, ids: Any) -> None:
        """Search fresh trees to the end.

        Rewards depend on node ids alone, so all trees grow alike: in step, and without regard to
        which of them a leaf belongs to. Few NumPy calls a batch, because each costs as much as a
        few simulations.
        """
        k = self.children
        depth = np.zeros((len(ids), self.params.max_nodes), np.uint8)
        flat_depth = depth.reshape(-1)
        size, done, batch = 1, 0, 0
        while done < self.simulations:
            wanted = min(self.batch, self.simulations - done)
            if batch != wanted:
                batch = wanted
                trees = np.repeat(ids, batch)
                offsets = np.repeat(np.arange(len(ids)) * self.params.max_nodes, batch)
                counts = np.full(len(trees), k, np.int32)
            leaves = forest.select(trees)
            if leaves[-1] == NO_NODE:  # fewer open leaves than asked for
                found = leaves != NO_NODE
                trees, offsets, leaves = trees[found], offsets[found], leaves[found]
                counts = counts[: len(leaves)]
                batch = 0
            below = flat_depth.take(leaves + offsets) + np.uint8(1)
            terminal = None
            if below.max() == DEPTH_LIMIT:
                terminal = np.repeat(below == DEPTH_LIMIT, k)
            forest.expand(trees, leaves, counts, terminal=terminal)
            forest.backup(trees, leaves, self.rewards.take(leaves), release=True)
            made = len(leaves) // len(ids)
            depth[:, size : size + made * k] = np.repeat(below, k).reshape(len(ids), -1)
            size += made * k
            done += made

    def signature(self, forest: Forest | ReferenceForest) -> int:
        """Run on new trees of `forest`; returns the signature that all of them share."""
        ids = forest.create_trees(self.trees)
        self.run(forest, ids)
        signatures = {forest.signature(int(tree)) for tree in ids}
        forest.drop_trees(ids)
        assert len(signatures) == 1
        return signatures.pop()


def check_against_reference(workload: Workload) -> None:
    """Assert that core and reference agree on the workload, at a size fit for the reference."""
    small = Workload(
        workload.rule,
        workload.children,
        min(200, workload.simulations),
        workload.batch,
        min(2, workload.trees),
    )
    assert small.signature(Forest(small.params)) == small.signature(ReferenceForest(small.params))


def describe(benchmark: Any, workload: Workload, simulations: int) -> None:
    """Note what a measured call of `simulations` simulations ran on; after the measurement."""
    benchmark.extra_info.update(
        ns_per_simulation=round(benchmark.stats.stats.median / simulations * 1e9, 1),
        bytes_per_node=round(workload.bytes_per_node, 2),
        cpu=cpu_model(),
        commit=commit(),
    )


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else 'unknown'} x {os.cpu_count()}"


def commit() -> str:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT_FOLDER,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or "unknown"
