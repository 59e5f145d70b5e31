"""Paths and trees as they were after each iteration, made when somebody looks.

The original copies the whole tree after each iteration. Here each iteration leaves its path, and a
copy of those states on it that can change; the rest of a tree follows from the final one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, overload

from .node import Node

__all__ = ["Recorder", "Roots", "Traces"]


class History:
    """What each iteration changed. All that is kept is by id of a node."""

    def __init__(self, root: Node) -> None:
        self.root = root
        self.paths: list[list[Node]] = []
        self.stepped: dict[int, int] = {root.id: -1}  # iteration in which a node got its state
        self.widths: dict[int, list[tuple[int, int]]] = {}  # iteration, children from then on
        self.owners: dict[int, int] = {}  # the node under which copies of a state are kept
        self.copies: dict[int, list[tuple[int, Any]]] = {}  # iteration, state from then on

    def at(self, iteration: int) -> list[Node]:
        """The path of an iteration, in a copy of the tree as it was then."""
        visits = Counter(node.id for path in self.paths[: iteration + 1] for node in path)
        memo: dict[int, Any] = {}
        copies: dict[int, Node] = {}
        pending = [self.root]
        while pending:
            node = pending.pop()
            copies[node.id] = copy = self._copy(node, iteration, visits[node.id], copies, memo)
            widths = self.widths.get(node.id, [])
            known = bisect_right(widths, iteration, key=lambda entry: entry[0])
            if known and node.children is not None:
                copy.children = []
                pending += reversed(node.children[: widths[known - 1][1]])
            if copy.parent is not None and copy.parent.children is not None:
                copy.parent.children.append(copy)
        return [copies[node.id] for node in self.paths[iteration]]

    def _copy(
        self,
        node: Node,
        iteration: int,
        visits: int,
        copies: dict[int, Node],
        memo: dict[int, Any],
    ) -> Node:
        stepped = self.stepped.get(node.id, iteration + 1) <= iteration
        parent = None if node.parent is None else copies[node.parent.id]
        copy = Node(
            node.id,
            self._state(node, iteration, memo) if stepped else None,
            deepcopy(node.action, memo),
            parent,
            node.fast_reward,
            deepcopy(node.fast_reward_details, memo),
            node.calc_q,
        )
        copy.cum_rewards = node.cum_rewards[:visits]
        if stepped and parent is not None:
            copy.reward = node.reward
            copy.reward_details = deepcopy(node.reward_details, memo)
            copy.is_terminal = node.is_terminal
        return copy

    def _state(self, node: Node, iteration: int, memo: dict[int, Any]) -> Any:
        owner = self.owners.get(node.id)
        if owner is None:  # nothing can change it
            return node.state
        copies = self.copies[owner]
        known = bisect_right(copies, iteration, key=lambda entry: entry[0])
        return deepcopy(copies[known - 1][1], memo)


class Recorder:
    """Fills a history while the search goes on."""

    def __init__(self, root: Node) -> None:
        self.history = History(root)
        self._owners: dict[int, int | None] = {}  # by identity of a state; None: cannot change

    def record(self, path: list[Node]) -> None:
        """After an iteration."""
        history = self.history
        iteration = len(history.paths)
        history.paths.append(path)
        copied: set[int] = set()
        memo: dict[int, Any] = {}
        for node in path:
            if node.state is not None:
                history.stepped.setdefault(node.id, iteration)
                self._keep_state(node, iteration, copied, memo)
            if node.children is not None:
                widths = history.widths.setdefault(node.id, [])
                if not widths or widths[-1][1] != len(node.children):
                    widths.append((iteration, len(node.children)))

    def _keep_state(
        self, node: Node, iteration: int, copied: set[int], memo: dict[int, Any]
    ) -> None:
        state = node.state
        if id(state) not in self._owners:
            self._owners[id(state)] = None if deepcopy(state) is state else node.id
        owner = self._owners[id(state)]
        if owner is None:
            return
        self.history.owners.setdefault(node.id, owner)
        if owner not in copied:
            copied.add(owner)
            copies = self.history.copies.setdefault(owner, [])
            copies.append((iteration, deepcopy(state, memo)))


class Traces(Sequence[list[Node]]):
    """The path of each iteration, in a copy of the tree as it was then.

    A list in all but type. What was looked at once stays.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._made: dict[int, list[Node]] = {}

    def __len__(self) -> int:
        return len(self._history.paths)

    @overload
    def __getitem__(self, index: int) -> list[Node]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[Node]]: ...
    def __getitem__(self, index: int | slice) -> list[Node] | list[list[Node]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        iteration = range(len(self))[index]
        if iteration not in self._made:
            self._made[iteration] = self._history.at(iteration)
        return self._made[iteration]


class Roots(Sequence[Node]):
    """The first node of each trace: the tree after each iteration."""

    def __init__(self, traces: Traces) -> None:
        self._traces = traces

    def __len__(self) -> int:
        return len(self._traces)

    @overload
    def __getitem__(self, index: int) -> Node: ...
    @overload
    def __getitem__(self, index: slice) -> list[Node]: ...
    def __getitem__(self, index: int | slice) -> Node | list[Node]:
        if isinstance(index, slice):
            return [trace[0] for trace in self._traces[index]]
        return self._traces[index][0]
