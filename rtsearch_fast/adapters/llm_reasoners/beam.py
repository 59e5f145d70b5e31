"""Beam search with the parameters and the result of the original, without its faults.

A beam keeps no statistics, so nothing of it needs the core.
"""

from __future__ import annotations

import itertools
import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from reasoners import SearchAlgorithm
from reasoners.algorithm import BeamSearchNode, BeamSearchResult

from ...errors import InvalidArgumentError
from .checks import count, function, number, pair

__all__ = ["BeamSearch"]

#: Temperatures below this choose the best.
COLD = 1e-4
#: Draws of a step that rejects samples.
MOST_DRAWS = 100


def _last(rewards: list[Any]) -> Any:
    return rewards[-1]


def _mean(rewards: list[Any]) -> Any:
    return sum(rewards) / len(rewards)


_AGGREGATORS: dict[str, Callable[[list[Any]], Any]] = {
    "cumulative": sum,
    "accumulative": sum,
    "mean": _mean,
    "average": _mean,
    "last": _last,
}
_SAMPLING = {
    "argmax": "argmax",
    "greedy": "argmax",
    "deterministic": "argmax",
    "topk": "argmax",
    "stochastic": "stochastic",
}


class _Node(BeamSearchNode):  # type: ignore[misc]  # without its types the base is Any
    """Its id counts within its own search."""

    def __init__(self, node_id: int, state: Any, action: Any, reward: Any, parent: Any) -> None:
        self.id = node_id
        self.state = state
        self.action = action
        self.reward = reward
        self.parent = parent
        self.children: list[_Node] = []


@dataclass(slots=True)
class _Entry:
    """A place in the beam."""

    node: _Node
    rewards: list[Any]
    total: Any
    acceptance: float = 1.0


class BeamSearch(SearchAlgorithm):  # type: ignore[misc]
    """`reasoners.algorithm.BeamSearch`, parameter by parameter.

    Parameters
    ----------
    beam_size, max_depth : int
    sampling_strategy : {"argmax", "greedy", "deterministic", "topk", "stochastic"}
        "stochastic" draws the beam by softmax of the rewards; the others take the best.
    replace : bool, optional
        Draw with replacement.
    temperature : float, optional
        Of the softmax, >= 0; "stochastic" needs it. Below 1e-4 the best are taken.
    temperature_decay : float, optional
        Factor on the temperature after each step of a search; the next search begins anew.
    reject_sample : bool, optional
        Leave out what is below `reject_min_reward`.
    reject_min_reward : float, optional
    unbiased : bool, optional
        With "stochastic" and `reject_sample`: accept a draw with the probability of its action,
        ``cur_action_prob`` in the details of `SearchConfig.reward`.
    reward_aggregator : {"last", "cumulative", "mean"} or callable
        Makes one number of the rewards of a path; "accumulative" and "average" are the same.
    action_dedup : bool
        Try each action once a step in the whole beam, in the first path that proposes it.
    early_terminate : bool
        Put terminal states aside. Otherwise they are expanded as well, and the beam is returned.
    return_beam : bool
        Return all finished paths, best first, instead of the best.

    Raises
    ------
    InvalidArgumentError
        A setting is unknown or lacks another one that it needs, or a reward is no finite number.
    """

    def __init__(
        self,
        beam_size: int,
        max_depth: int,
        sampling_strategy: str = "argmax",
        replace: bool | None = None,
        temperature: float | None = None,
        temperature_decay: float | None = None,
        reject_sample: bool | None = None,
        reject_min_reward: float | None = None,
        unbiased: bool | None = None,
        reward_aggregator: Callable[[list[Any]], float] | str = "last",
        action_dedup: bool = False,
        early_terminate: bool = True,
        return_beam: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.beam_size = count(beam_size, "beam_size", least=1)
        self.max_depth = count(max_depth, "max_depth")
        self.sampling_strategy = _known("sampling_strategy", sampling_strategy, _SAMPLING)
        self.replace = bool(replace)
        self.temperature = temperature
        self.temperature_decay = temperature_decay
        self.reject_sample = reject_sample
        self.reject_min_reward = reject_min_reward
        self.unbiased = unbiased
        self.reward_aggregator = (
            _aggregator(reward_aggregator)
            if isinstance(reward_aggregator, str)
            else function(reward_aggregator, "reward_aggregator")
        )
        self.action_dedup = action_dedup
        self.early_terminate = early_terminate
        self.return_beam = return_beam or not early_terminate
        if self.sampling_strategy == "stochastic":
            if temperature is None or not temperature >= 0:
                raise InvalidArgumentError(
                    f"temperature={temperature}: stochastic sampling needs one that is >= 0"
                )
            if temperature < COLD:
                self.sampling_strategy = "argmax"
                warnings.warn(f"temperature={temperature}: the best are taken", stacklevel=2)
        if reject_sample and reject_min_reward is None:
            raise InvalidArgumentError("reject_min_reward=None: reject_sample needs a number")
        if not early_terminate and not return_beam:
            warnings.warn("early_terminate=False: the beam is returned", stacklevel=2)

    def __call__(
        self, world: Any, config: Any, **kwargs: Any
    ) -> BeamSearchResult | list[BeamSearchResult]:
        """Search; called by `reasoners.Reasoner`."""
        root = _Node(0, world.init_state(), None, 0.0, None)
        ids = itertools.count(1)
        beam, finished = [_Entry(root, [], 0.0)], []
        temperature = 1.0 if self.temperature is None else self.temperature
        for depth in range(self.max_depth + 1):
            grown: list[_Entry] = []
            tried: list[Any] = []
            for entry in beam:
                if (self.early_terminate and world.is_terminal(entry.node.state)) or (
                    depth == self.max_depth
                ):
                    finished.append(entry)
                else:
                    grown += self._grow(entry, world, config, tried, ids)
            grown.sort(key=lambda entry: entry.total, reverse=True)
            beam = self._sample(grown, temperature)
            if self.temperature_decay:
                temperature *= self.temperature_decay
        finished.sort(key=lambda entry: entry.total, reverse=True)
        results = [
            BeamSearchResult(
                terminal_node=entry.node,
                terminal_state=entry.node.state,
                cum_reward=entry.total,
                tree=root,
                trace=entry.node.get_trace(),
            )
            for entry in finished
        ]
        if self.return_beam:
            return results
        if not results:
            return BeamSearchResult(None, None, 0, root, [])
        return results[0]

    def _grow(
        self, entry: _Entry, world: Any, config: Any, tried: list[Any], ids: Iterator[int]
    ) -> list[_Entry]:
        state = entry.node.state
        grown = []
        for action in config.get_actions(state):
            if self.action_dedup:
                if action in tried:
                    continue
                tried.append(action)
            after, aux = pair(world.step(state, action), "WorldModel.step", "(state, dictionary)")
            _, fast_details = pair(
                config.fast_reward(state, action),
                "SearchConfig.fast_reward",
                "(number, dictionary)",
            )
            reward = config.reward(state, action, **aux, **fast_details)
            details: Any = {}
            if isinstance(reward, tuple):
                reward, details = pair(reward, "SearchConfig.reward", "(number, dictionary)")
            number(reward, f"reward of action {action!r}:")
            rewards = [*entry.rewards, reward]
            total = self.reward_aggregator(rewards)
            number(total, "reward_aggregator")
            node = _Node(next(ids), after, action, reward, entry.node)
            entry.node.add_child(node)
            grown.append(_Entry(node, rewards, total, self._acceptance(details, action)))
        return grown

    def _acceptance(self, details: Any, action: Any) -> float:
        if not (self.unbiased and self.sampling_strategy == "stochastic"):
            return 1.0
        try:
            return number(details["cur_action_prob"], f"cur_action_prob of action {action!r}:")
        except (KeyError, TypeError):
            raise InvalidArgumentError(
                f"SearchConfig.reward gave the details {details!r}: unbiased sampling needs "
                "cur_action_prob in them"
            ) from None

    # --- sampling ------------------------------------------------------------------------

    def _sample(self, grown: list[_Entry], temperature: float) -> list[_Entry]:
        """The next beam, of entries by descending reward."""
        if self.sampling_strategy == "argmax":
            if self.reject_sample:
                grown = [entry for entry in grown if entry.total >= self.reject_min_reward]
            return grown[: self.beam_size]
        if not grown:
            return []
        if self.reject_sample:
            return self._draw_or_reject(grown, temperature)
        weights = _softmax([entry.total for entry in grown], temperature)
        size = min(self.beam_size, len(grown))
        if not self.replace:
            size = min(size, int(np.count_nonzero(weights)))
        chosen = np.random.choice(len(grown), size=size, p=weights, replace=self.replace)
        return [grown[i] for i in chosen]

    def _draw_or_reject(self, grown: list[_Entry], temperature: float) -> list[_Entry]:
        # what is as good as the best is never rejected
        least = min(self.reject_min_reward, grown[0].total - 1e-5)
        size = min(self.beam_size, len(grown))
        left = list(grown)
        drawn: list[_Entry] = []
        for _ in range(MOST_DRAWS):
            if len(drawn) == size:
                break
            weights = _softmax([entry.total for entry in left], temperature)
            (place,) = random.choices(range(len(left)), weights=weights)
            if random.uniform(0, 1) < left[place].acceptance and left[place].total > least:
                drawn.append(left.pop(place))
        return drawn


def _softmax(totals: list[Any], temperature: float) -> Any:
    scaled = np.array(totals, np.float64) / temperature
    with np.errstate(over="ignore"):
        weights = np.exp(scaled)
        total = weights.sum()
    if not (np.isfinite(total) and total > 0):
        weights = np.exp(scaled - scaled.max())
        total = weights.sum()
    return weights / total


def _aggregator(name: str) -> Any:
    # the original takes every name that begins so
    name = "last" if name.startswith("last") else name
    return _known("reward_aggregator", name, _AGGREGATORS)


def _known(name: str, value: str, choices: dict[str, Any]) -> Any:
    if value not in choices:
        raise InvalidArgumentError(f"{name}={value!r}: choose one of {', '.join(choices)}")
    return choices[value]
