"""Random world models for llm-reasoners: by hash, so that two searches can meet the same world."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from reasoners import SearchConfig, WorldModel

Call = tuple[str, str, Any]


def draw(*key: object) -> random.Random:
    return random.Random(repr(key))


REWARDS: dict[str, Callable[[random.Random], Any]] = {
    "real": lambda rng: rng.gauss(0, 1),
    "dyadic": lambda rng: rng.randrange(-8, 9) / 8,
    "rare": lambda rng: float(rng.random() < 0.2),
    "constant": lambda rng: 0.1,
    "tenths": lambda rng: rng.randrange(-3, 8) * 0.1,  # sums that round
    "whole": lambda rng: rng.randrange(-2, 3),
    "penalty": lambda rng: -100.0 if rng.random() < 0.1 else rng.random(),
    "tiny": lambda rng: rng.gauss(0, 1e-42),
    "float32": lambda rng: np.float32(rng.gauss(0, 1)),
    "float64": lambda rng: np.float64(rng.randrange(-30, 30) * 0.1),
    "float16": lambda rng: np.float16(rng.gauss(0, 1)),
    "fraction": lambda rng: Fraction(rng.randrange(-9, 9), 7),
}


class World(WorldModel):  # type: ignore[misc]
    """States are tuples of actions, lists of them, or one list that each step changes."""

    def __init__(self, seed: int, kind: str, calls: list[Call]) -> None:
        super().__init__()
        self.seed, self.kind, self.calls = seed, kind, calls
        rng = draw(seed, "world")
        self.terminal_share = rng.choice([0.0, 0.1, 0.4])

    def init_state(self) -> Any:
        return () if self.kind == "tuple" else []

    def step(self, state: Any, action: Any) -> tuple[Any, dict[str, Any]]:
        self.calls.append(("step", repr(state), action))
        aux = {"heat": draw(self.seed, repr(state), action, "aux").random()}
        if self.kind == "tuple":
            return (*state, action), aux
        if self.kind == "touched":  # the parent's state is left with a mark
            state.append("*")
            return [*[part for part in state if part != "*"], action], aux
        if self.kind == "shared":  # one object for all nodes below
            state.append(action)
            return state, aux
        return [*state, action], aux

    def is_terminal(self, state: Any) -> bool:
        self.calls.append(("is_terminal", repr(state), None))
        return draw(self.seed, repr(state), "terminal").random() < self.terminal_share


class Config(SearchConfig):  # type: ignore[misc]
    def __init__(self, seed: int, rewards: str, calls: list[Call], probabilities: bool) -> None:
        super().__init__()
        self.seed, self.calls, self.probabilities = seed, calls, probabilities
        self.reward_of = REWARDS[rewards]
        rng = draw(seed, "config")
        self.most_actions = rng.choice([1, 2, 3, 5])
        self.has_dead_ends = rng.random() < 0.5

    def get_actions(self, state: Any) -> list[str]:
        self.calls.append(("get_actions", repr(state), None))
        rng = draw(self.seed, repr(state), "actions")
        count = rng.randint(0 if self.has_dead_ends else 1, self.most_actions)
        self.share = 1 / max(1, count)
        return [f"a{i}" for i in range(count)]

    def fast_reward(self, state: Any, action: str) -> tuple[Any, dict[str, Any]]:
        self.calls.append(("fast_reward", repr(state), action))
        rng = draw(self.seed, repr(state), action, "fast")
        if self.probabilities:
            return self.share, {"sure": rng.random()}
        return self.reward_of(rng), {"sure": rng.random()}

    def reward(
        self, state: Any, action: str, heat: float, sure: float
    ) -> tuple[Any, dict[str, Any]]:
        self.calls.append(("reward", repr(state), (action, heat, sure)))
        rng = draw(self.seed, repr(state), action, "reward")
        return self.reward_of(rng), {"heat": heat, "sure": sure}


def picture(node: Any) -> Any:
    """All fields of a tree, exactly, types included."""
    fields = [
        node.id,
        node.depth,
        node.action,
        repr(node.state),
        repr(node.reward),
        repr(node.fast_reward),
        node.fast_reward_details,
        getattr(node, "reward_details", "none"),
        repr(node.cum_rewards),
        repr(node.is_terminal),
        repr(node.Q) if node.cum_rewards else "none",
        None if node.parent is None else node.parent.id,
    ]
    return (
        fields,
        node.children and [picture(child) for child in node.children],
        (node.children is None),
    )


def result_of(result: Any) -> dict[str, Any]:
    """All of an MCTSResult, exactly."""
    traces = result.trace_in_each_iter
    return {
        "terminal_state": repr(result.terminal_state),
        "cum_reward": repr(result.cum_reward),
        "trace": repr(result.trace),
        "nodes": result.trace_of_nodes and [node.id for node in result.trace_of_nodes],
        "tree": picture(result.tree_state),
        "answer": result.aggregated_result,
        "traces": traces and [[node.id for node in trace] for trace in traces],
        "trees": traces and [picture(tree) for tree in result.tree_state_after_each_iter],
        "roots": traces
        and all(
            tree is trace[0]
            for tree, trace in zip(result.tree_state_after_each_iter, traces, strict=True)
        ),
    }
