"""OpenR's own tree searches over our core: the same decisions, one problem each."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...aio import together
from ...errors import InvalidArgumentError
from ...forest import ROOT, Forest, SearchParams
from .growth import Action, Grower
from .models import Models, setting
from .output import Solutions, all_at_the_end

__all__ = ["beam_search", "vanila_mcts"]


def _grower(models: Models, config: Any, question: str) -> Grower:
    return Grower(
        models, question, setting(config, "tree_max_width"), setting(config, "tree_max_depth")
    )


# --- beam search ---------------------------------------------------------------------------


@dataclass(slots=True)
class _Beam:
    """A solution on the way; a heap has the one with the highest value first."""

    steps: tuple[str, ...]
    value: float
    terminal: bool
    actions: list[Action]

    def __lt__(self, other: _Beam) -> bool:
        return self.value > other.value


async def beam_search(models: Models, config: Any, question: str) -> Solutions:
    """Keep the best solutions of each length; a finished one keeps its place for good.

    All solutions of a length are continued at once. Values that are equal are ordered by where a
    heap leaves them, as in the original.
    """
    grower = _grower(models, config, question)
    room = setting(config, "beam_size")
    root = _Beam((), 0.0, False, await grower.actions(()))
    root.terminal = not root.actions
    beams, finished = [root], []

    async def grow(beam: _Beam) -> None:
        if not beam.terminal:
            beam.actions = await grower.actions(beam.steps)
            beam.terminal = not beam.actions

    while beams:
        heap: list[_Beam] = []
        for beam in beams:
            if beam.terminal:
                finished.append(beam)
                room -= 1
            elif room > 0:
                best = sorted(beam.actions, key=lambda action: -action.value)[:room]
                for action in best:
                    steps = (*beam.steps, action.text)
                    heapq.heappush(heap, _Beam(steps, action.value, action.terminal, []))
        beams = heapq.nsmallest(room, heap)
        await together(map(grow, beams))
    texts = ["".join(beam.steps) for beam in finished]
    return all_at_the_end(texts, grower.written, grower.kept)


# --- MCTS ----------------------------------------------------------------------------------


class _PathTree:
    """The tree of one problem: statistics in the core, texts here, by node.

    Children are judged when they are made: until a path goes through them, their value is that
    judgement, which the core knows as the reward of their edge.
    """

    def __init__(self, config: Any) -> None:
        self._forest = Forest(
            SearchParams(
                rule="alphazero",
                exploration=setting(config, "pb_c_init"),
                exploration_base=setting(config, "pb_c_base"),
                first_play="reward",
                virtual_loss=0.0,
                revisit_terminal=True,
                value_min=-1e100,  # OpenR's reward models need not keep to [0, 1]
                value_max=1e100,
            )
        )
        self._tree = int(self._forest.create_trees(1)[0])
        self._parent = [ROOT]
        self._visited = [True]  # the root has no edge
        self._value = [0.0]
        self.steps: list[tuple[str, ...]] = [()]
        self.ends = [False]

    def select(self) -> int:
        """Where the best path stops for now: a node without children, or an end."""
        return self._forest.select(self._tree)

    def expand(self, leaf: int, actions: list[Action]) -> None:
        """Give a selected leaf its children; the next selection goes on from there."""
        values = [action.value for action in actions]
        terminal = [action.terminal for action in actions]
        self._forest.expand(
            self._tree,
            leaf,
            len(actions),
            priors=np.array([action.prior for action in actions], np.float32),
            terminal=np.array(terminal, np.bool_),
            rewards=np.array(values, np.float32),
        )
        self._forest.release(self._tree, leaf)
        self._parent += [leaf] * len(actions)
        self._visited += [False] * len(actions)
        self._value += values
        self.steps += [(*self.steps[leaf], action.text) for action in actions]
        self.ends += terminal

    def finish(self, leaf: int) -> None:
        """Count a path that ends in a selected leaf, with the leaf's value."""
        fresh = []
        node = leaf
        while not self._visited[node]:
            self._visited[node] = True
            fresh.append(node)
            node = self._parent[node]
        self._forest.set_rewards(
            np.full(len(fresh), self._tree, np.int32),
            np.array(fresh, np.uint32),
            np.zeros(len(fresh), np.float32),
        )
        self._forest.backup(self._tree, leaf, self._value[leaf], release=True)


async def vanila_mcts(models: Models, config: Any, question: str) -> Solutions:
    """Walk `num_path` paths from the root to an end, each by PUCT, and back up their values.

    Raises
    ------
    InvalidArgumentError
        The configuration asks for what this search does not have.
    """
    if getattr(config, "select_by_prior", False):
        raise InvalidArgumentError(
            "select_by_prior=True: it draws from NumPy's global generator, which problems side by "
            "side cannot share; set it to False, or use mcts or mcts_g"
        )
    if not getattr(config, "init_critic_value", True):
        raise InvalidArgumentError(
            "init_critic_value=False: paths are chosen by what the reward model says of their "
            "steps; set it to True"
        )
    grower = _grower(models, config, question)
    tree = _PathTree(config)
    texts, written, kept = [], [], []
    for _ in range(setting(config, "num_path")):
        before = grower.written
        leaf = tree.select()
        while not tree.ends[leaf]:
            actions = await grower.actions(tree.steps[leaf])
            if actions:
                tree.expand(leaf, actions)
                leaf = tree.select()
            else:
                tree.ends[leaf] = True
        tree.finish(leaf)
        texts.append("".join(tree.steps[leaf]))
        written.append(grower.written - before)
        kept.append(grower.kept)
    return Solutions(texts, written, kept)
