"""Latency of the tree core from Python: whole searches, and one batch of each move.

``pytest bench/test_bench_core.py`` prints the table; ``--benchmark-json`` adds ns per simulation,
bytes per node, CPU and commit. Every case first proves its answer against the reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from describe import check_against_reference, describe

from rtsearch_fast.bench.workload import Workload
from rtsearch_fast.forest import Forest

# rule, children, simulations, batch, trees
SEARCHES = [
    Workload("uct", 4, 1_000, 1, 1),
    Workload("uct", 4, 1_000, 64, 1),
    Workload("uct", 4, 10_000, 64, 1),
    Workload("uct", 4, 100_000, 64, 1),
    Workload("uct", 4, 1_000, 1, 64),
    Workload("uct", 16, 1_000, 64, 1),
    Workload("uct", 16, 10_000, 64, 1),
    Workload("uct", 16, 100_000, 64, 1),
    Workload("puct", 4, 10_000, 64, 1),
    Workload("mcts_g", 4, 10_000, 64, 1),
    Workload("mcts_g", 16, 10_000, 64, 1),
    Workload("mcts_g", 4, 1_000, 1, 64),
    Workload("best_first", 4, 10_000, 64, 1),
]
# One batch on trees that have had `simulations` already.
MOVES = [
    Workload("uct", children, simulations, batch, trees)
    for children in (4, 16)
    for simulations, batch, trees in (
        (1_000, 1, 1),
        (1_000, 64, 1),
        (1_000, 1, 64),
        (100_000, 1, 1),
        (100_000, 64, 1),
    )
]


def name(workload: Workload) -> str:
    return (
        f"{workload.rule}-K{workload.children}-{workload.simulations}-B{workload.batch}"
        f"-T{workload.trees}"
    )


@pytest.mark.parametrize("workload", SEARCHES, ids=name)
def test_search(benchmark: Any, workload: Workload) -> None:
    check_against_reference(workload)
    benchmark.group = "search: select, expand and backup of all simulations"
    forest = Forest(workload.params)
    ids: list[Any] = []

    def fresh_trees() -> tuple[tuple[Any, ...], dict[str, Any]]:
        if ids:
            forest.drop_trees(ids.pop())  # so that new trees take memory that is mapped already
        ids.append(forest.create_trees(workload.trees))
        return (forest, ids[0]), {}

    rounds = max(5, min(50, 100_000 // workload.total_simulations))
    benchmark.pedantic(workload.run, setup=fresh_trees, rounds=rounds, warmup_rounds=1)
    describe(benchmark, workload, workload.total_simulations)


class Grown:
    """Trees after their search, with room to go on."""

    def __init__(self, workload: Workload) -> None:
        check_against_reference(workload)
        more = Workload(
            workload.rule,
            workload.children,
            workload.simulations + 100 * workload.batch,
        )
        self.forest = Forest(more.params)
        ids = self.forest.create_trees(workload.trees)
        workload.run(self.forest, ids)
        self.trees = np.repeat(ids, workload.batch)
        self.counts = np.full(len(self.trees), workload.children, np.int32)
        self.values = np.full(len(self.trees), 0.5)
        self.taken: Any = None

    def take(self) -> Any:
        """Leaves in flight; the ones taken before are released."""
        if self.taken is not None:
            self.forest.release(self.trees, self.taken)
        self.taken = self.forest.select(self.trees)
        return self.taken


@pytest.fixture(scope="module", params=MOVES, ids=name)
def grown(request: pytest.FixtureRequest) -> Iterator[tuple[Workload, Grown]]:
    yield request.param, Grown(request.param)


ROUNDS = 40


def test_select(benchmark: Any, grown: tuple[Workload, Grown]) -> None:
    workload, search = grown
    forest, trees = search.forest, search.trees
    benchmark.group = "select: one batch, and its release"

    def select_and_release() -> None:
        forest.release(trees, forest.select(trees))

    benchmark.pedantic(select_and_release, rounds=ROUNDS, warmup_rounds=3)
    describe(benchmark, workload, len(trees))


def test_expand(benchmark: Any, grown: tuple[Workload, Grown]) -> None:
    workload, search = grown
    benchmark.group = "expand: one batch of selected leaves"

    def leaves() -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (search.trees, search.take(), search.counts), {}

    benchmark.pedantic(search.forest.expand, setup=leaves, rounds=ROUNDS, warmup_rounds=3)
    describe(benchmark, workload, len(search.trees))


def test_backup(benchmark: Any, grown: tuple[Workload, Grown]) -> None:
    workload, search = grown
    benchmark.group = "backup: one batch of leaves"

    def leaves() -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (search.trees, search.take(), search.values), {}

    benchmark.pedantic(search.forest.backup, setup=leaves, rounds=ROUNDS, warmup_rounds=3)
    describe(benchmark, workload, len(search.trees))
