"""The synthetic search of csrc/loop/synthetic.h, driven from Python: same tree, same signature.

One simulation selects a leaf, gives it `children` children and backs the leaf's reward up, a hash
of its id. Nodes 32 edges below the root are terminal. `simulations` are per tree, `batch` of them
in flight at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .. import _core
from ..forest import NO_NODE, Forest, SearchParams

if TYPE_CHECKING:
    from ..reference import ReferenceForest

__all__ = ["DEPTH_LIMIT", "EXPLORATION", "Workload", "rewards_of"]

DEPTH_LIMIT: int = _core.SYNTHETIC_DEPTH
EXPLORATION: float = _core.SYNTHETIC_EXPLORATION


def rewards_of(ids: Any) -> Any:
    """Mix(kMixSeed, id) of csrc/support/mix.h as a number in [0, 1)."""
    z = (ids.astype(np.uint64) ^ np.uint64(0x9E3779B97F4A7C15)) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


@dataclass(frozen=True)
class Workload:
    """One size of the search; `run` may be called any number of times.

    The evaluator's answers (rewards, and which nodes are terminal) are made beforehand, by the
    search in C++: making them is not what is measured.
    """

    rule: Literal["uct", "puct", "mcts_g", "best_first"] = "uct"
    children: int = 4
    simulations: int = 1000
    batch: int = 1
    trees: int = 1
    rewards: Any = field(init=False, repr=False, compare=False)
    terminal: Any = field(init=False, repr=False, compare=False)
    #: Of a tree, found by the search in C++.
    expected_signature: int = field(init=False, repr=False, compare=False)
    bytes_per_node: float = field(init=False, repr=False, compare=False)
    _first_terminal: int = field(init=False, repr=False, compare=False)
    _values: list[float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        found = _core.run_synthetic(**self.core_arguments, trees=1, repeats=1)
        terminal = found["terminal"]
        ends = np.flatnonzero(terminal)
        rewards = rewards_of(np.arange(len(terminal)))
        for name, value in (
            ("rewards", rewards),
            ("_values", rewards.tolist() if self.batch == 1 else []),
            ("terminal", terminal),
            ("expected_signature", found["signature"]),
            ("bytes_per_node", found["bytes_per_node"]),
            ("_first_terminal", int(ends[0]) if len(ends) else len(terminal)),
        ):
            object.__setattr__(self, name, value)

    @property
    def params(self) -> SearchParams:
        return SearchParams(
            rule=self.rule,
            exploration=EXPLORATION,
            max_nodes=1 + self.simulations * self.children,
        )

    @property
    def core_arguments(self) -> dict[str, Any]:
        """Of `_core.run_synthetic`, but for trees and repeats."""
        return {
            "rule": _core.Rule[self.rule],
            "children": self.children,
            "simulations": self.simulations,
            "batch": self.batch,
        }

    @property
    def total_simulations(self) -> int:
        return self.simulations * self.trees

    def run(self, forest: Forest | ReferenceForest, ids: Any) -> None:
        """Search fresh trees to the end.

        Rewards depend on node ids alone, so all trees grow alike: in step, and without regard to
        which of them a leaf belongs to. Few NumPy calls a batch, because each costs as much as a
        few simulations.
        """
        if self.batch == 1 and len(ids) == 1 and isinstance(forest, Forest):
            self._run_one_by_one(forest, int(ids[0]))
            return
        k = self.children
        size = 1
        trees = np.repeat(ids, min(self.batch, self.simulations))
        counts = np.full(len(trees), k, np.int32)
        leaves = forest.select(trees)
        left = self.simulations
        while True:
            if leaves[-1] == NO_NODE:  # fewer open leaves than asked for
                leaves = leaves[leaves != NO_NODE]
            made = len(leaves) // len(ids)
            left -= made
            terminal = self._ends(size, size + made * k, len(ids))
            size += made * k
            values = self.rewards.take(leaves)
            if len(leaves) == len(trees) and left >= made:
                _, leaves = forest.advance(trees, leaves, counts, values, terminal=terminal)
                continue
            found = np.repeat(ids, made)
            forest.expand(found, leaves, counts[: len(leaves)], terminal=terminal)
            forest.backup(found, leaves, values, release=True)
            if left == 0:
                return
            trees = np.repeat(ids, min(self.batch, left))
            counts = np.full(len(trees), k, np.int32)
            leaves = forest.select(trees)

    def _run_one_by_one(self, forest: Forest, tree: int) -> None:
        k, size, values = self.children, 1, self._values
        first_terminal = self._first_terminal
        advance = forest.advance
        leaf = forest.select(tree)
        for _ in range(self.simulations - 1):
            terminal = None
            if size + k > first_terminal:
                terminal = self._ends(size, size + k, 1)
            _, leaf = advance(tree, leaf, k, values[leaf], terminal=terminal)
            size += k
        forest.expand(tree, leaf, k, terminal=self._ends(size, size + k, 1))
        forest.backup(tree, leaf, values[leaf], release=True)

    def _ends(self, start: int, end: int, trees: int) -> Any:
        """Which nodes in [start, end) of each tree are terminal; None if none is."""
        if end <= self._first_terminal:
            return None
        ends = self.terminal[start:end]
        return ends if trees == 1 else np.tile(ends, trees)

    def signature(self, forest: Forest | ReferenceForest) -> int:
        """Run on new trees of `forest`; returns the signature that all of them share."""
        ids = forest.create_trees(self.trees)
        self.run(forest, ids)
        signatures = {forest.signature(int(tree)) for tree in ids}
        forest.drop_trees(ids)
        assert len(signatures) == 1
        return signatures.pop()
