"""The node that users see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reasoners.algorithm import MCTSNode

__all__ = ["Node"]

#: The node in the forest, and a value of `calc_q` with the length of the list that it is of.
PRIVATE = ("_place", "_q", "_q_of")


class Node(MCTSNode):  # type: ignore[misc]  # without its types the base is Any to the checker
    """An `MCTSNode` whose id counts within its own search.

    The fields are those of the original; `reward_details` is there once the node was stepped to.
    """

    # not among the fields that `__dict__` shows
    __slots__ = tuple(PRIVATE)

    _place: int
    _q: Any
    _q_of: int

    def __init__(
        self,
        node_id: int,
        state: Any,
        action: Any,
        parent: Node | None,
        fast_reward: Any,
        fast_reward_details: dict[str, Any] | None,
        calc_q: Callable[[list[float]], float],
    ) -> None:
        self.id = node_id
        self.cum_rewards: list[Any] = []
        self.fast_reward = self.reward = fast_reward
        self.fast_reward_details = {} if fast_reward_details is None else fast_reward_details
        self.is_terminal = False
        self.action = action
        self.state = state
        self.parent = parent
        self.children: list[Node] | None = None
        self.calc_q = calc_q
        self.depth: int = 0 if parent is None else parent.depth + 1
        self._q_of = 0

    def path(self) -> list[Node]:
        """The nodes from the root to this one."""
        nodes = []
        node: Node | None = self
        while node is not None:
            nodes.append(node)
            node = node.parent
        nodes.reverse()
        return nodes

    def mean(self) -> Any:
        """Q, computed anew only where there are new values."""
        if self.state is None:
            return self.fast_reward
        visits = len(self.cum_rewards)
        if self._q_of != visits:
            self._q, self._q_of = self.calc_q(self.cum_rewards), visits
        return self._q
