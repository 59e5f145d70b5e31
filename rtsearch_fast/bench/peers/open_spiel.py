"""OpenSpiel's MCTS in Python, on a game of nothing but a depth."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..workload import DEPTH_LIMIT, EXPLORATION, rewards_of


class _State:
    __slots__ = ("_actions", "depth")

    def __init__(self, actions: list[int], depth: int = 0) -> None:
        self._actions = actions
        self.depth = depth

    def clone(self) -> _State:
        return _State(self._actions, self.depth)

    def apply_action(self, action: int) -> None:
        self.depth += 1

    def is_terminal(self) -> bool:
        return self.depth == DEPTH_LIMIT

    def is_chance_node(self) -> bool:
        return False

    def current_player(self) -> int:
        return 0

    def legal_actions(self, player: int = 0) -> list[int]:
        return self._actions

    def returns(self) -> list[float]:
        return [0.5]


def prepare(children: int, simulations: int, trees: int) -> Callable[[], None]:
    import pyspiel
    from open_spiel.python.algorithms import mcts

    del trees  # one
    rewards = rewards_of(np.arange(simulations + 1)).tolist()
    actions = list(range(children))
    kind = SimpleNamespace(
        reward_model=pyspiel.GameType.RewardModel.TERMINAL,
        dynamics=pyspiel.GameType.Dynamics.SEQUENTIAL,
    )
    game = SimpleNamespace(get_type=lambda: kind, max_utility=lambda: 1.0, num_players=lambda: 1)
    prior = [(action, 1 / children) for action in actions]

    class Evaluator:
        def __init__(self) -> None:
            self.answers = iter(rewards)

        def evaluate(self, state: Any) -> list[float]:
            return [next(self.answers)]

        def prior(self, state: Any) -> list[tuple[int, float]]:
            return list(prior)

    def search() -> None:
        bot = mcts.MCTSBot(
            game,
            EXPLORATION,
            simulations,
            Evaluator(),
            solve=False,
            random_state=np.random.RandomState(0),
        )
        bot.mcts_search(_State(actions))

    return search
