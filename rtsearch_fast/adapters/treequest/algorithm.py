"""What our algorithms have in common: treequest's interface over `_core.TrialAlgorithm`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from logging import getLogger
from typing import Any

from treequest import Algorithm
from treequest.trial import Trial

from ... import _core
from ...errors import InvalidArgumentError
from .state import SearchState

__all__ = ["AskTellAlgorithm"]

_logger = getLogger(__name__)
#: More is a slip, and would take all memory.
_LARGEST_BATCH = 1_000_000
_NO_PRIOR = ("gaussian", 0.0, 1.0, 1.0, 0.1)


# without treequest's types its base is Any to the checker
class AskTellAlgorithm(_core.TrialAlgorithm, Algorithm):  # type: ignore[misc]
    """Base of our algorithms; `step` is the core's own.

    `tell` takes trials in any order. A trial that was told already, or that became superfluous, is
    passed over with a warning, as in treequest. Other errors leave the state as it was:
    ScoreRangeError (also a RuntimeError) for a score outside [0, 1] or NaN and for a state None,
    UnknownTrialError for a trial of another search, TypeError for what is no (state, score), no
    state of these algorithms or no name of an action.
    """

    _arguments: dict[str, Any]
    _seed: int | None = None

    def _set_up(
        self,
        rule: str,
        arguments: dict[str, Any],
        *,
        samples: int = 1,
        exploration: float = 0.0,
        distinct: bool = False,
        choice: str = "thompson",
        prior: tuple[str, float, float, float, float] = _NO_PRIOR,
    ) -> None:
        self._arguments = arguments
        compensated = sys.version_info >= (3, 12)  # sum() is more exact from there on
        self.configure(rule, samples, exploration, distinct, compensated, choice, prior)

    def init_tree(self) -> SearchState:
        """A search of nothing but a root."""
        return self.begin(SearchState, self._seed)

    def ask_batch(
        self, state: SearchState, batch_size: int, actions: Iterable[str]
    ) -> tuple[SearchState, list[Trial]]:
        """Hand out trials.

        Parameters
        ----------
        state : SearchState
            Changed in place, as in treequest.
        batch_size : int
            In [0, 1000000].
        actions : iterable of str
            At least one.

        Returns
        -------
        state, trials
            The same state; `batch_size` trials.

        Raises
        ------
        InvalidArgumentError
            `batch_size` is out of range, or no actions are named.
        """
        if isinstance(actions, str):  # which would be an action for each of its letters
            raise TypeError(f"actions is {actions!r}: pass a list of names")
        if not 0 <= batch_size <= _LARGEST_BATCH:
            raise InvalidArgumentError(f"batch_size={batch_size}: must be in [0, {_LARGEST_BATCH}]")
        return state, state.asked(self.ask_trials(state, batch_size, list(actions)))

    def tell(self, state: SearchState, trial_id: str, result: tuple[Any, float]) -> SearchState:
        """Add the node that a trial became; returns the same state, changed in place."""
        number, trial = state.find(trial_id)
        if trial.trial_status == "RUNNING":
            self.tell_trial(state, number, result)
        else:
            _logger.warning(
                "trial %s is %s already: its result is not used", trial_id, trial.trial_status
            )
        return state

    def get_state_score_pairs(self, state: SearchState) -> list[tuple[Any, float]]:
        """(state, score) of each node but the root, in the order told."""
        return state.pairs()

    def __reduce__(self) -> tuple[Any, ...]:
        return _make, (type(self), self._arguments)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self._arguments.items())
        return f"{type(self).__name__}({arguments})"


def _make(kind: type[AskTellAlgorithm], arguments: dict[str, Any]) -> AskTellAlgorithm:
    return kind(**arguments)
