"""A tabular game by LightZero's trees and by ours: the same searches, and the ratio of tree time.

Prints, for each number of roots and actions, microseconds a simulation of one tree with LightZero's
extension and with ours, of lists and of arrays, medians taken in turn; and what walks through
the game bring by each of them, MuZero and Gumbel MuZero. Needs the wheel of LightZero alone.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from rtsearch_fast.adapters import lightzero as ours
from rtsearch_fast.bench.peers.lightzero import load_tree

DISCOUNT = 0.997
SIMULATIONS = 50


class Corridors:
    """A game of three choices a step: most lead into dead ends, a few to rewards.

    Its model tells the truth about rewards and next states, and nothing about what comes later.
    """

    ACTIONS, STATES = 3, 200

    def __init__(self) -> None:
        rng = np.random.default_rng(5)
        shape = (self.STATES, self.ACTIONS)
        self.next_state = rng.integers(self.STATES, size=shape)
        self.reward = np.where(rng.random(shape) < 0.15, rng.random(shape), 0).astype(np.float32)
        self.logits = rng.normal(size=shape).astype(np.float32)

    def infer(self, states: Any, actions: Any) -> tuple[Any, list[float], list[float], Any]:
        reached = self.next_state[states, actions]
        rewards = self.reward[states, actions].tolist()
        return reached, rewards, [0.0] * len(reached), self.logits[reached].tolist()


def muzero_search(tree: Any, game: Corridors, states: Any) -> list[list[int]]:
    """The loop of LightZero's MCTS, as its users write it."""
    batch = len(states)
    players = [-1] * batch
    roots = tree.Roots(batch, [list(range(game.ACTIONS))] * batch)
    roots.prepare_no_noise([0.0] * batch, game.logits[states].tolist(), players)
    statistics_of_values = tree.MinMaxStatsList(batch)
    statistics_of_values.set_delta(0.01)
    pool = [states]
    for simulation in range(SIMULATIONS):
        results = tree.ResultsWrapper(num=batch)
        at, which, actions, players = tree.batch_traverse(
            roots, 19652, 1.25, DISCOUNT, statistics_of_values, results, players
        )
        parents = np.array([pool[x][y] for x, y in zip(at, which, strict=True)])
        reached, rewards, values, logits = game.infer(parents, np.array(actions))
        pool.append(reached)
        tree.batch_backpropagate(
            simulation + 1,
            DISCOUNT,
            rewards,
            values,
            logits,
            statistics_of_values,
            results,
            players,
        )
    return [list(counts) for counts in roots.get_distributions()]


def gumbel_search(tree: Any, game: Corridors, states: Any) -> list[list[int]]:
    batch = len(states)
    players = [-1] * batch
    roots = tree.Roots(batch, [list(range(game.ACTIONS))] * batch)
    roots.prepare_no_noise([0.0] * batch, [0.0] * batch, game.logits[states].tolist(), players)
    statistics_of_values = tree.MinMaxStatsList(batch)
    pool = [states]
    for simulation in range(SIMULATIONS):
        results = tree.ResultsWrapper(num=batch)
        at, which, actions, players = tree.batch_traverse(
            roots, SIMULATIONS, game.ACTIONS, DISCOUNT, results, players
        )
        parents = np.array([pool[x][y] for x, y in zip(at, which, strict=True)])
        reached, rewards, values, logits = game.infer(parents, np.array(actions))
        pool.append(reached)
        tree.batch_back_propagate(
            simulation + 1,
            DISCOUNT,
            rewards,
            values,
            logits,
            statistics_of_values,
            results,
            players,
        )
    return [list(counts) for counts in roots.get_distributions()]


def walk(search: Callable[..., list[list[int]]], tree: Any, steps: int = 20) -> tuple[float, Any]:
    """Eight players go where most simulations went; their mean reward, and all visits."""
    game = Corridors()
    states, total, visits = np.arange(8), 0.0, []
    for _ in range(steps):
        counts = search(tree, game, states)
        visits.append(counts)
        actions = np.argmax(counts, -1)
        total += float(game.reward[states, actions].mean())
        states = game.next_state[states, actions]
    return total, visits


def tree_seconds(tree: Any, batch: int, actions: int, answers: tuple[Any, ...]) -> float:
    """Of one search whose model answers at once."""
    zeros, values, policies, players = answers
    legal = [list(range(actions))] * batch
    start = time.perf_counter()
    roots = tree.Roots(batch, legal)
    roots.prepare_no_noise(zeros, policies[0], players)
    statistics_of_values = tree.MinMaxStatsList(batch)
    statistics_of_values.set_delta(0.01)
    for simulation in range(SIMULATIONS):
        results = tree.ResultsWrapper(num=batch)
        *_, players = tree.batch_traverse(
            roots, 19652, 1.25, DISCOUNT, statistics_of_values, results, players
        )
        tree.batch_backpropagate(
            simulation + 1,
            DISCOUNT,
            zeros,
            values[simulation],
            policies[simulation],
            statistics_of_values,
            results,
            players,
        )
    roots.get_distributions()
    return time.perf_counter() - start


def compare_speed(theirs: Any) -> None:
    rng = np.random.default_rng(0)
    print("us a simulation of one tree        LightZero  ours, lists (ratio)  ours, arrays (ratio)")
    for batch in (1, 64, 256):
        for actions in (4, 16):
            arrays = (
                np.zeros(batch, np.float32),
                list(rng.normal(size=(SIMULATIONS, batch)).astype(np.float32)),
                list(rng.normal(size=(SIMULATIONS, batch, actions)).astype(np.float32)),
                np.full(batch, -1),
            )
            zeros, values, policies, players = arrays
            lists = (
                zeros.tolist(),
                [row.tolist() for row in values],
                [row.tolist() for row in policies],
                players.tolist(),
            )
            cases = ((theirs, lists), (ours.muzero, lists), (ours.muzero, arrays))
            seconds: list[list[float]] = [[], [], []]
            for _ in range(301 if batch == 1 else 21):
                for taken, (tree, answers) in zip(seconds, cases, strict=True):
                    taken.append(tree_seconds(tree, batch, actions, answers))
            us = [statistics.median(taken) / SIMULATIONS / batch * 1e6 for taken in seconds]
            print(
                f"{batch:4} roots, {actions:2} actions  {us[0]:20.2f}"
                f"  {us[1]:11.2f} ({us[0] / us[1]:5.2f})  {us[2]:12.2f} ({us[0] / us[2]:5.2f})"
            )


def main() -> None:
    muzero, gumbel = load_tree(), load_tree("gumbel_muzero", "gmz_tree")
    ours.muzero.seed_ties(0)
    for name, search, original, twin in (
        ("MuZero", muzero_search, muzero, ours.muzero),
        ("Gumbel MuZero", gumbel_search, gumbel, ours.gumbel),
    ):
        their_walks, our_walks = (
            [walk(search, tree) for _ in range(10)] for tree in (original, twin)
        )
        # LightZero breaks the ties of MuZero by the clock, so that no two of its walks are alike
        alike = "the same visits" if their_walks == our_walks else "other visits (ties by chance)"
        theirs, its = (statistics.mean(total for total, _ in w) for w in (their_walks, our_walks))
        print(f"{name}: reward {theirs:.2f} by LightZero, {its:.2f} by ours in 10 walks, {alike}")
    compare_speed(muzero)


if __name__ == "__main__":
    main()
