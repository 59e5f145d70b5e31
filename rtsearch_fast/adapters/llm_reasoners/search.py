"""One search: its tree in the core, its states in Python.

The core counts visits, sums values and chooses. It does so in another order of operations than the
original, hence two scores that are very close may be the other way round: such decisions, and those
between equals, are taken here by the original's own formula (`Descent._choose`). So both take the
same way, whatever the rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidArgumentError
from ...forest import NO_NODE, Forest, SearchParams
from .checks import LARGEST, number, pair
from .node import Node

__all__ = ["Descent", "GlobalLeaf", "Settings"]

MAX_NODES = 1 << 24
#: By how much core and original may differ, relative to the largest value and with much to spare:
#: the core keeps fast rewards as float32, the original sums float32 as float32. With other types
#: of rewards (half floats, say) all decisions are taken here.
ROUNDING = {
    **dict.fromkeys((float, int, bool, np.float64, np.int64), 2e-7),
    np.float32: 1e-5,
}


class Settings(Protocol):
    """What a search takes from its algorithm."""

    w_exp: float
    depth_limit: int
    cum_reward: Callable[[list[Any]], Any]
    calc_q: Callable[[list[Any]], Any]
    simulate_choice: Callable[[list[Any]], int]
    uct_with_fast_reward: bool


class Descent:
    """UCT from the root: select, expand, simulate, back up."""

    rule = "uct"

    def __init__(self, settings: Settings, world_model: Any, search_config: Any) -> None:
        self.settings = settings
        self.world_model = world_model
        self.search_config = search_config
        if settings.calc_q is np.mean:
            backup = "mean"
        else:
            backup = "max" if settings.calc_q is max else "last"
        self._keeps_last = backup == "last"
        self.forest = Forest(
            SearchParams(
                rule=self.rule,  # type: ignore[arg-type]
                exploration=settings.w_exp,
                backup=backup,  # type: ignore[arg-type]
                first_play="prior" if settings.uct_with_fast_reward else "first",
                value_min=-LARGEST,
                value_max=LARGEST,
                max_nodes=MAX_NODES,
            )
        )
        self.forest.create_trees(1)
        self.terminals: list[Node] = []
        self.num_nodes = 0
        self._largest = 0.0
        self._rounding = 0.0
        self._margin = 0.0  # decisions that are no closer than this are the core's
        self.root = self._new_node(world_model.init_state(), None, None, 0.0, None)
        self.root._place = 0
        self._nodes = [self.root]  # by place in the forest

    def iterate(self) -> list[Node] | None:
        """One iteration; returns its path, None where nothing is left to do."""
        leaf = self._select()
        if leaf is None:
            return None
        path = leaf.path()
        if not self._ends(leaf):
            self._expand(leaf)
            self._simulate(path)
        self._back_up(path)
        return path

    def return_of(self, path: list[Node]) -> Any:
        """Cumulative reward of a path from the root."""
        return self.settings.cum_reward([node.reward for node in path[1:]])

    def _ends(self, node: Node) -> bool:
        return bool(node.is_terminal or node.depth >= self.settings.depth_limit)

    # --- select --------------------------------------------------------------------------

    def _select(self) -> Node | None:
        node = self.root
        while node.children and not self._ends(node):
            at = node
            if self._margin < math.inf:
                at = self._nodes[self.forest.walk(0, node._place, self._margin)]
            if at.children and not self._ends(at):
                node = self._choose(at)
            elif self.settings.uct_with_fast_reward or at.depth < self.settings.depth_limit:
                return at
            else:  # leaves at the limit stay without a state, and unvisited to the original
                return self._choose(at.parent)  # type: ignore[arg-type]
        return node

    def _choose(self, parent: Node) -> Node:
        """The original's rule, number for number."""
        children: list[Node] = parent.children  # type: ignore[assignment]
        if not self.settings.uct_with_fast_reward:
            unvisited = [child for child in children if child.state is None]
            if unvisited:
                return max(unvisited, key=lambda child: child.fast_reward)
        w_exp, log_visits = float(self.settings.w_exp), float(np.log(len(parent.cum_rewards)))
        best, highest = children[0], None
        for child in children:
            visits = len(child.cum_rewards) or 1
            value = child.mean()
            bonus = w_exp * math.sqrt(log_visits / visits)
            # the original's bonus is a float64, with which a value in float32 becomes one
            score = value + (bonus if type(value) is float else np.float64(bonus))
            if highest is None or score > highest:
                best, highest = child, score
        return best

    # --- expand --------------------------------------------------------------------------

    def _expand(self, node: Node) -> None:
        if node.state is None:
            self._step(node)
        if not node.is_terminal:
            node.children = self._children(node)

    def _step(self, node: Node) -> None:
        before, action = node.parent.state, node.action  # type: ignore[union-attr]
        state, aux = pair(
            self.world_model.step(before, action), "WorldModel.step", "(state, dictionary)"
        )
        if state is None:
            raise InvalidArgumentError(
                f"WorldModel.step returned the state None for action {action!r}: None stands for "
                "nodes that were not stepped to, return another value"
            )
        node.state = state
        answer = self.search_config.reward(before, action, **node.fast_reward_details, **aux)
        reward, details = pair(answer, "SearchConfig.reward", "(number, dictionary)")
        self._weigh(reward, "reward", action)
        node.reward, node.reward_details = reward, details
        node.is_terminal = self.world_model.is_terminal(state)
        if node.is_terminal:
            self.terminals.append(node)

    def _children(self, node: Node) -> list[Node]:
        children = []
        for action in self.search_config.get_actions(node.state):
            answer = self.search_config.fast_reward(node.state, action)
            reward, details = pair(answer, "SearchConfig.fast_reward", "(number, dictionary)")
            self._weigh(reward, "fast_reward", action)
            children.append(self._new_node(None, action, node, reward, details))
        if children and not self._ends(node):
            self._put(node, children, [child.fast_reward for child in children])
        return children

    def _put(self, node: Node, children: list[Node], priors: list[Any]) -> None:
        """Into the forest."""
        column = np.array(priors, np.float32) if self.settings.uct_with_fast_reward else None
        first = self.forest.expand(0, node._place, len(children), priors=column)
        for place, child in enumerate(children, first):
            child._place = place
        self._nodes += children

    def _new_node(
        self, state: Any, action: Any, parent: Node | None, fast_reward: Any, details: Any
    ) -> Node:
        node = Node(
            self.num_nodes, state, action, parent, fast_reward, details, self.settings.calc_q
        )
        self.num_nodes += 1
        return node

    def _weigh(self, value: Any, what: str, action: Any = None) -> None:
        """Check a reward, and keep what is close in proportion to the largest."""
        rounding = ROUNDING.get(type(value), math.inf)
        if rounding <= self._rounding < math.inf and -self._largest <= value <= self._largest:
            return
        size = abs(number(value, what if action is None else f"{what} of action {action!r}:"))
        self._largest = max(self._largest, size)
        self._rounding = max(self._rounding, rounding)
        # 5 is the exploration of 10**10 visits, 1e-30 far more than float32 leaves out near zero
        self._margin = self._rounding * (self._largest + 5 * self.settings.w_exp + 1e-30)

    # --- simulate ------------------------------------------------------------------------

    def _simulate(self, path: list[Node]) -> None:
        node = path[-1]
        while True:
            if node.state is None:
                self._expand(node)
            if self._ends(node) or not node.children:
                return
            node = self._next(node.children)
            path.append(node)

    def _next(self, children: list[Node]) -> Node:
        chosen = self.settings.simulate_choice([child.fast_reward for child in children])
        try:
            return children[chosen]
        except (TypeError, IndexError):
            raise InvalidArgumentError(
                f"simulate_strategy chose {chosen!r} of {len(children)} children: must be an index"
            ) from None

    # --- back up -------------------------------------------------------------------------

    def _back_up(self, path: list[Node]) -> None:
        cum_reward, rewards = self.settings.cum_reward, [node.reward for node in path]
        returns = [cum_reward(rewards[depth:]) for depth in range(len(path) - 1, -1, -1)]
        for value in returns:
            self._weigh(value, "cum_reward")
        for node, value in zip(reversed(path), returns, strict=True):
            node.cum_rewards.append(value)
        leaf = path[-1]
        values = self._values(path) if self._keeps_last else np.array(returns, np.float64)
        if leaf.state is None:  # its Q stays its fast reward
            values[0] = leaf.fast_reward
        self.forest.backup_path(0, leaf._place, values)

    def _values(self, path: list[Node]) -> NDArray[np.float64]:
        """Q by a `calc_q` that the core does not know. The root's decides nothing."""
        values = [node.mean() for node in reversed(path[1:])]
        for value in values:
            self._weigh(value, "calc_q")
        return np.array([*values, 0.0], np.float64)


class GlobalLeaf(Descent):
    """MCTS_G: the best of all open leaves, by the return of the path that ends in it.

    A leaf is open while nothing visited it. At the depth limit a node is stepped to, so that it may
    be terminal, and gets no children. The search is over when no leaf is open.
    """

    rule = "mcts_g"

    def _select(self) -> Node | None:
        leaf = self.forest.select(0)
        if leaf == NO_NODE:
            return None
        self.forest.release(0, leaf)
        return self._nodes[leaf]

    def _ends(self, node: Node) -> bool:
        return bool(node.is_terminal)

    def _expand(self, node: Node) -> None:
        super()._expand(node)
        if not node.children:
            self.forest.expand(0, node._place, 0)  # closed

    def _children(self, node: Node) -> list[Node]:
        return [] if node.depth >= self.settings.depth_limit else super()._children(node)

    def _put(self, node: Node, children: list[Node], priors: list[Any]) -> None:
        before = [above.reward for above in node.path()[1:]]
        returns = [self.settings.cum_reward([*before, prior]) for prior in priors]
        for value in returns:
            self._weigh(value, "cum_reward")
        super()._put(node, children, returns)
