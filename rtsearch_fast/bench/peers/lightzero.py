"""The C++ tree of LightZero's MuZero, with the lists that it takes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..workload import rewards_of

__all__ = ["load_tree", "prepare"]


def load_tree(method: str = "muzero", name: str = "mz_tree") -> Any:
    """An extension by itself: the package around it imports whole frameworks."""
    spec = importlib.util.find_spec("lzero")
    assert spec is not None and spec.submodule_search_locations
    folder = Path(next(iter(spec.submodule_search_locations))) / "mcts/ctree" / f"ctree_{method}"
    file = next(folder.glob(f"{name}*.so"))
    found = importlib.util.spec_from_file_location(name, file)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def prepare(children: int, simulations: int, trees: int) -> Callable[[], None]:
    tree = load_tree()
    rewards = rewards_of(np.arange(simulations)).tolist()
    values = [[reward] * trees for reward in rewards]
    zeros = [0.0] * trees
    policies = [[0.0] * children for _ in range(trees)]
    legal = [list(range(children)) for _ in range(trees)]
    single_player = [-1] * trees

    def search() -> None:
        roots = tree.Roots(trees, legal)
        roots.prepare_no_noise(zeros, policies, single_player)
        min_max = tree.MinMaxStatsList(trees)
        min_max.set_delta(0.01)
        for simulation, value in enumerate(values):
            results = tree.ResultsWrapper(num=trees)
            tree.batch_traverse(roots, 19652, 1.25, 1.0, min_max, results, list(single_player))
            tree.batch_backpropagate(
                simulation + 1, 1.0, zeros, value, policies, min_max, results, single_player
            )

    return search
