"""MCTS of llm-reasoners, without its rollouts: one leaf a simulation, as everywhere here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..workload import DEPTH_LIMIT, EXPLORATION, rewards_of


def prepare(children: int, simulations: int, trees: int) -> Callable[[], None]:
    from reasoners import SearchConfig, WorldModel
    from reasoners.algorithm import MCTS

    del trees  # one
    rewards = rewards_of(np.arange(simulations + 1)).tolist()

    # without their types these bases are Any to the checker
    class World(WorldModel):  # type: ignore[misc]
        def init_state(self) -> int:
            return 0

        def step(self, state: int, action: int) -> tuple[int, dict[str, Any]]:
            return state + 1, {}

        def is_terminal(self, state: int) -> bool:
            return state == DEPTH_LIMIT

    class Config(SearchConfig):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.answers = iter(rewards)

        def get_actions(self, state: int) -> range:
            return range(children)

        def fast_reward(self, state: int, action: int) -> tuple[float, dict[str, Any]]:
            return 0.0, {}

        def reward(self, state: int, action: int, **_: Any) -> tuple[float, dict[str, Any]]:
            return next(self.answers), {}

    class WithoutRollout(MCTS):  # type: ignore[misc]
        def _simulate(self, path: Any) -> None:
            pass

    def search() -> None:
        WithoutRollout(
            w_exp=EXPLORATION,
            depth_limit=DEPTH_LIMIT,
            n_iters=simulations,
            output_strategy="last_iter",
        )(World(), Config())

    return search
