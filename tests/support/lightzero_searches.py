"""Random searches in the way of LightZero's MCTS, by any tree with its interface.

``python tests/support/lightzero_searches.py`` prints what LightZero's own extensions find. They
break ties by chance, so their ``rand()`` must be one that always gives 0, by which the first of the
tied wins.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

BATCH, SIMULATIONS = 8, 50
SEEDS = range(150)  # of each kind of search


class Problem(NamedTuple):
    """BATCH searches in step."""

    kind: str  # "one player", "two players" or "gumbel"
    seed: int

    @property
    def is_gumbel(self) -> bool:
        return self.kind == "gumbel"

    @property
    def actions(self) -> int:
        return (2, 4, 9, 16)[self.seed % 4]

    @property
    def considered(self) -> int:
        return max(2, self.actions // 2)

    @property
    def discount(self) -> float:
        return (1.0, 0.997, 0.9)[self.seed % 3]


def problems() -> Iterator[Problem]:
    for kind in ("one player", "two players", "gumbel"):
        for seed in SEEDS:
            yield Problem(kind, seed)


class Found(NamedTuple):
    """Of each search, leaves [SIMULATIONS][x, y, action, player, depth], and what roots tell."""

    leaves: list[Any]
    distributions: list[Any]
    values: list[Any]
    trajectories: list[Any]
    policies: list[Any]  # of Gumbel, else none
    children_values: list[Any]


def search(
    tree: Any,
    problem: Problem,
    *,
    deterministic: bool | None = None,
    given: Callable[[Any], Any] = lambda array: array.tolist(),
    traversals: int = 1,
) -> Found:
    """Run a problem.

    `deterministic` is passed on where it is not None, all arrays go through `given`, and each
    way down is gone that many times.
    """
    rng = np.random.default_rng(problem.seed)
    actions, discount = problem.actions, problem.discount

    def normal(*shape: int) -> Any:
        return given(rng.normal(size=shape).astype(np.float32))

    legal = [
        sorted(rng.choice(actions, size=rng.integers(1, actions + 1), replace=False).tolist())
        for _ in range(BATCH)
    ]
    players = np.full(BATCH, -1)
    if problem.kind == "two players":
        players = rng.integers(1, 3, size=BATCH)
    noises = [rng.dirichlet([0.3] * len(of_root)).tolist() for of_root in legal]
    pools = [given(np.zeros(BATCH, np.float32))]
    if problem.is_gumbel:
        pools.append(normal(BATCH))
    logits = normal(BATCH, actions)
    roots = tree.Roots(BATCH, legal)
    if problem.seed % 2:
        roots.prepare(0.25, noises, *pools, logits, given(players))
    else:
        roots.prepare_no_noise(*pools, logits, given(players))
    statistics = tree.MinMaxStatsList(BATCH)
    statistics.set_delta(0.01)

    def traverse(results: Any) -> Any:
        if problem.is_gumbel:
            return tree.batch_traverse(
                roots, SIMULATIONS, problem.considered, discount, results, given(players)
            )
        extra = () if deterministic is None else (deterministic,)
        return tree.batch_traverse(
            roots, 19652, 1.25, discount, statistics, results, given(players), *extra
        )

    leaves = []
    for simulation in range(SIMULATIONS):
        results = tree.ResultsWrapper(num=BATCH)
        for _ in range(traversals):
            named = traverse(results)
        leaves.append(
            [*(np.asarray(column).tolist() for column in named), results.get_search_len()]
        )
        back = tree.batch_back_propagate if problem.is_gumbel else tree.batch_backpropagate
        answer = normal(BATCH), normal(BATCH), normal(BATCH, actions)
        back(simulation + 1, discount, *answer, statistics, results, named[3])
    return Found(
        np.array(leaves).transpose(2, 0, 1).tolist(),
        roots.get_distributions(),
        roots.get_values(),
        roots.get_trajectories(),
        roots.get_policies(discount, actions) if problem.is_gumbel else [],
        roots.get_children_values(discount, actions) if problem.is_gumbel else [],
    )


if __name__ == "__main__":
    from rtsearch_fast.bench.peers.lightzero import load_tree

    muzero, gumbel = load_tree(), load_tree("gumbel_muzero", "gmz_tree")
    found = [search(gumbel if p.is_gumbel else muzero, p) for p in problems()]
    print(json.dumps(found))
