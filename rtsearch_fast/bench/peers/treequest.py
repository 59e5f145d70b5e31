"""TreeQuest's StandardMCTS, in place. A step makes one node; a simulation is all of one leaf."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..workload import EXPLORATION, rewards_of


def prepare(children: int, simulations: int, trees: int) -> Callable[[], None]:
    import treequest

    del trees  # one
    steps = simulations * children
    rewards = rewards_of(np.arange(steps)).tolist()

    def search() -> None:
        algorithm: Any = treequest.StandardMCTS(
            samples_per_action=children, exploration_weight=EXPLORATION
        )
        state = algorithm.init_tree()
        answers = iter(rewards)

        def generate(_: Any) -> tuple[str, float]:
            return "", next(answers)

        for _ in range(steps):
            state = algorithm.step(state, {"a": generate}, inplace=True)

    return search
