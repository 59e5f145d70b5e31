"""ABMCTSA of treequest."""

from __future__ import annotations

import copy
import numbers
from collections.abc import Mapping
from typing import Any

from treequest.algos.ab_mcts_a.prob_state import PriorConfig

from ...errors import InvalidArgumentError
from .algorithm import AskTellAlgorithm

__all__ = ["ABMCTSA"]

_CHOICES = {
    "stack": "stack",
    "multiarm_bandit_thompson": "thompson",
    "multiarm_bandit_ucb": "ucb",
}


class ABMCTSA(AskTellAlgorithm):
    """The twin of `treequest.ABMCTSA` (AB-MCTS-A, arXiv 2503.04412).

    At each node Thompson sampling decides between a new child and the children that there are.
    Beliefs are treequest's; draws are the core's own, so choices agree in distribution, not one by
    one. They depend on the seed and the number of the trial: a state that was pickled goes on as
    it would have.

    Parameters
    ----------
    dist_type : {"gaussian", "beta"}
        Ignored where `prior_config` is given.
    reward_average_priors : float or mapping of action to float, optional
        Of all actions or of each one.
    prior_config : treequest.algos.ab_mcts_a.prob_state.PriorConfig, optional
    model_selection_strategy : {"multiarm_bandit_thompson", "multiarm_bandit_ucb", "stack"}
    seed : int, optional
        Of all draws, in [0, 2**64); random if left out.

    Raises
    ------
    InvalidArgumentError
        A parameter is out of range, or an action has no prior.
    """

    def __init__(
        self,
        dist_type: str = "gaussian",
        reward_average_priors: float | Mapping[str, float] | None = None,
        prior_config: PriorConfig | None = None,
        model_selection_strategy: str = "multiarm_bandit_thompson",
        seed: int | None = None,
    ) -> None:
        if model_selection_strategy not in _CHOICES:
            raise InvalidArgumentError(
                f"model_selection_strategy={model_selection_strategy!r}: "
                f"choose one of {', '.join(_CHOICES)}"
            )
        if seed is not None and not 0 <= seed < 1 << 64:
            raise InvalidArgumentError(f"seed={seed}: must be in [0, 2**64)")
        config = PriorConfig(dist_type=dist_type) if prior_config is None else prior_config
        if config.dist_type not in ("gaussian", "beta"):
            raise InvalidArgumentError(f"dist_type={config.dist_type!r}: choose gaussian or beta")
        self._config = copy.deepcopy(config)
        self._averages = reward_average_priors
        self._seed = seed
        self._set_up(
            "thompson",
            {
                "dist_type": dist_type,
                "reward_average_priors": reward_average_priors,
                "prior_config": prior_config,
                "model_selection_strategy": model_selection_strategy,
                "seed": seed,
            },
            choice=_CHOICES[model_selection_strategy],
            prior=_numbers(self._config),
        )

    @property
    def model_selection_strategy(self) -> str:
        return str(self._arguments["model_selection_strategy"])

    def prior_of(self, action: str) -> tuple[str, float, float, float, float]:
        """What is believed of an action before any score; the core asks for it."""
        average: Any = self._averages
        if isinstance(average, Mapping):
            if action not in average:
                raise InvalidArgumentError(
                    f"action {action!r} is not in reward_average_priors, which has "
                    f"{', '.join(map(repr, average))}: add it"
                )
            average = average[action]
        config = copy.deepcopy(self._config)
        if average is not None:
            if not isinstance(average, numbers.Real):
                raise InvalidArgumentError(f"reward average {average!r}: pass a number")
            config.set_reward_average_prior(float(average))
        return _numbers(config)


def _numbers(config: PriorConfig) -> tuple[str, float, float, float, float]:
    """A prior as the core takes it; Beta has two numbers, and zeros for the others."""
    first, second, *rest = map(float, config.get_params().values())
    third, fourth = rest or (0.0, 0.0)
    return config.dist_type, first, second, third, fourth
