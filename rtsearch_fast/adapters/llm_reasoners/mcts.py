"""MCTS with the parameters and the result of the original, and MCTS_G beside it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from reasoners import SearchAlgorithm
from reasoners.algorithm import MCTSAggregation, MCTSResult

from ...errors import InvalidArgumentError
from .checks import count, function
from .node import Node
from .search import Descent, GlobalLeaf
from .trace import Recorder, Roots, Traces

__all__ = ["MCTS", "MCTS_G"]

OUTPUT_STRATEGIES = (
    "max_reward",
    "follow_max",
    "max_visit",
    "max_iter",
    "last_iter",
    "last_terminal_iter",
)


def _first_highest(fast_rewards: list[Any]) -> int:
    """np.argmax of numbers that are not NaN."""
    return fast_rewards.index(max(fast_rewards))


def _sample(fast_rewards: list[Any]) -> int:
    try:
        return int(np.random.choice(len(fast_rewards), p=fast_rewards))
    except ValueError as error:
        raise InvalidArgumentError(
            f"simulate_strategy='sample' takes fast rewards for probabilities, and {fast_rewards} "
            f"are none ({error}): choose another strategy or normalise them"
        ) from None


def _random(fast_rewards: list[Any]) -> int:
    return int(np.random.choice(len(fast_rewards)))


_STRATEGIES: dict[str, Callable[[list[Any]], int]] = {
    "max": _first_highest,
    "sample": _sample,
    "random": _random,
}


def _fields(node: Node) -> dict[str, Any]:
    return node.__dict__


class MCTS(SearchAlgorithm):  # type: ignore[misc]  # without its types the base is Any to the checker
    """Monte Carlo tree search: the decisions of `reasoners.algorithm.MCTS` from our core.

    Parameters
    ----------
    output_trace_in_each_iter : bool
        Give the path and the tree after each iteration besides. They are made when they are looked
        at: actions and details as they are then, states as they were after the iteration.
    w_exp : float
        Weight of exploration in UCT, in [0, 1e100].
    depth_limit : int
        Nodes this deep are not gone beyond.
    n_iters : int
    cum_reward : callable
        Return of a list of rewards. The default is their sum.
    calc_q : callable
        Q of a list of returns, and of nothing else: it is called where the list grew. np.mean (the
        default) and max are computed in the core, others in Python.
    simulate_strategy : {"max", "sample", "random"} or callable
        Chooses a child by the list of fast rewards; "sample" and "random" draw from np.random as
        the original does.
    output_strategy : {"max_reward", "follow_max", "max_visit", "max_iter", "last_iter", \
"last_terminal_iter"}
        Which path is the result, as in the original; "max_visit" is the terminal node with the most
        visits, of which there the first in depth-first order.
    uct_with_fast_reward : bool
        Take the fast reward for the Q of unvisited children. Otherwise those are visited first, by
        descending fast reward.
    aggregator : MCTSAggregation, optional
        Makes an answer of the final tree.
    disable_tqdm : bool
    node_visualizer : callable
        Kept for tools that ask for it.
    as_original : bool
        Repeat two bugs of the original: "max_visit" finds nothing, and the cum_reward of
        "follow_max" is that of the first step.

    Raises
    ------
    InvalidArgumentError
        A strategy is unknown, w_exp is out of range, or the world model or the search config
        answers with something else than its contract says, e.g. with NaN.

    Notes
    -----
    The formulas are those of llm-reasoners 1.0.2 (Hao et al., "LLM Reasoners", arXiv 2404.05221)::

        UCT = Q + w_exp * sqrt(ln N(parent) / max(1, N))       Q = fast reward where N = 0
    """

    search_class: type[Descent] = Descent

    def __init__(
        self,
        output_trace_in_each_iter: bool = False,
        w_exp: float = 1.0,
        depth_limit: int = 5,
        n_iters: int = 10,
        cum_reward: Callable[[list[float]], float] = sum,
        calc_q: Callable[[list[float]], float] = np.mean,
        simulate_strategy: str | Callable[[list[float]], int] = "max",
        output_strategy: str = "max_reward",
        uct_with_fast_reward: bool = True,
        aggregator: MCTSAggregation | None = None,
        disable_tqdm: bool = True,
        node_visualizer: Callable[[Any], dict[str, Any]] = _fields,
        *,
        as_original: bool = False,
    ) -> None:
        super().__init__()
        if output_strategy not in OUTPUT_STRATEGIES:
            raise InvalidArgumentError(
                f"output_strategy={output_strategy!r}: choose one of {', '.join(OUTPUT_STRATEGIES)}"
            )
        if isinstance(w_exp, str) or not 0 <= w_exp <= 1e100:
            raise InvalidArgumentError(f"w_exp={w_exp!r}: must be in [0, 1e100]")
        if isinstance(simulate_strategy, str):
            if simulate_strategy not in _STRATEGIES:
                raise InvalidArgumentError(
                    f"simulate_strategy={simulate_strategy!r}: choose one of "
                    f"{', '.join(_STRATEGIES)}, or give a function"
                )
            simulate_strategy = _STRATEGIES[simulate_strategy]
        self.output_trace_in_each_iter = output_trace_in_each_iter
        self.w_exp = w_exp
        if isinstance(depth_limit, str) or not depth_limit >= 0:
            raise InvalidArgumentError(f"depth_limit={depth_limit!r}: must be at least 0")
        self.depth_limit = depth_limit
        self.n_iters = count(n_iters, "n_iters")
        self.cum_reward = function(cum_reward, "cum_reward")
        self.calc_q = function(calc_q, "calc_q")
        self.simulate_choice = simulate_strategy
        self.output_strategy = output_strategy
        self.uct_with_fast_reward = uct_with_fast_reward
        self.aggregator = aggregator
        self.disable_tqdm = disable_tqdm
        self.node_visualizer = node_visualizer
        self.as_original = as_original
        #: Root of the newest search, also of one that an error ended.
        self.root: Node | None = None

    def __call__(
        self, world_model: Any, search_config: Any, log_file: str | None = None, **kwargs: Any
    ) -> MCTSResult:
        """Search; called by `reasoners.Reasoner`.

        Returns
        -------
        MCTSResult
            `trace_in_each_iter` and `tree_state_after_each_iter` are sequences, not lists.
        """
        search = self.search_class(self, world_model, search_config)
        self.root = search.root
        recorder = Recorder(search.root) if self.output_trace_in_each_iter else None
        best = _Best(self.output_strategy)
        for _ in self._iterations():
            path = search.iterate()
            if path is None:
                break
            best.offer(path)
            if recorder is not None:
                recorder.record(path)
        cum_reward, nodes = self._output(search, best)
        traces = None if recorder is None else Traces(recorder.history)
        return MCTSResult(
            terminal_state=None if nodes is None else nodes[-1].state,
            cum_reward=cum_reward,
            trace=nodes and ([n.state for n in nodes], [n.action for n in nodes[1:]]),
            trace_of_nodes=nodes,
            tree_state=search.root,
            trace_in_each_iter=traces,
            tree_state_after_each_iter=None if traces is None else Roots(traces),
            aggregated_result=None if self.aggregator is None else self.aggregator(search.root),
        )

    def _iterations(self) -> Any:
        if self.disable_tqdm:
            return range(self.n_iters)
        from tqdm import trange

        return trange(self.n_iters, desc=f"{type(self).__name__} iteration", leave=False)

    def _output(self, search: Descent, best: _Best) -> tuple[Any, list[Node] | None]:
        if self.output_strategy == "follow_max":
            return self._follow_max(search)
        if self.output_strategy == "max_reward":
            paths = [node.path() for node in search.terminals]
            return _highest([(search.return_of(path), path) for path in paths])
        if self.output_strategy == "max_visit" and not self.as_original:
            paths = [node.path() for node in search.terminals]
            _, found = _highest([(len(path[-1].cum_rewards), path) for path in paths])
            return (-math.inf, None) if found is None else (search.return_of(found), found)
        return best.cum_reward, best.path

    def _follow_max(self, search: Descent) -> tuple[Any, list[Node]]:
        path = [search.root]
        while not path[-1].is_terminal:
            visited = [child for child in path[-1].children or () if child.state is not None]
            if not visited:
                break
            path.append(max(visited, key=lambda child: child.reward))
        if self.as_original:
            return self.cum_reward([node.reward for node in path[1::-1]]), path
        return search.return_of(path), path


class MCTS_G(MCTS):
    """The global-leaf rule of STILL-1 (arXiv 2411.11694) under the interface of `MCTS`.

    Each iteration takes the best of all open leaves of the tree, wherever it is, by the cumulative
    reward of the path that ends in it, its fast reward included, and the exploration that UCT gives
    it. The search is over early where no leaf is open; no terminal node is visited twice.

    Parameters
    ----------
    as for `MCTS`
        `uct_with_fast_reward` must be True: leaves have nothing else. `calc_q` makes the Q of
        nodes and decides nothing.
    """

    search_class = GlobalLeaf

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        if not self.uct_with_fast_reward:
            raise InvalidArgumentError(
                "uct_with_fast_reward=False: open leaves have nothing but their fast reward, "
                "leave it out"
            )


class _Best:
    """The path that the strategies "..._iter" keep while the search goes on."""

    def __init__(self, strategy: str) -> None:
        self._strategy = strategy
        self.cum_reward: Any = -math.inf
        self.path: list[Node] | None = None

    def offer(self, path: list[Node]) -> None:
        cum_reward = path[0].cum_rewards[-1]
        wanted = self._strategy == "last_iter" or (
            path[-1].is_terminal
            and (
                self._strategy == "last_terminal_iter"
                or (self._strategy == "max_iter" and cum_reward > self.cum_reward)
            )
        )
        if wanted:
            self.cum_reward, self.path = cum_reward, path


def _highest(offers: list[tuple[Any, list[Node]]]) -> tuple[Any, list[Node] | None]:
    """The offer with the highest number, of equals the first in depth-first order."""
    if not offers:
        return -math.inf, None
    highest = max(value for value, _ in offers)
    equals = [offer for offer in offers if offer[0] == highest]
    return min(equals, key=lambda offer: [node.id for node in offer[1]])
