"""What the search asks of a reward model, whatever engine serves it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Judgement", "Reward", "prefix_tokens"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a reward model says of one solution.

    Attributes
    ----------
    score : float
        In [0, 1], the probability that the solution is right; NaN if the model gave no verdict.
    num_tokens : int
        Tokens that the reward model generated for it (a bare label is one).
    """

    score: float
    num_tokens: int


class Reward(Protocol):
    """A model that judges solutions. Many calls may be awaited at once; engines batch them."""

    @property
    def name(self) -> str:
        """Identifies model and question for resuming runs: same name, same scores."""
        ...

    @property
    def max_tokens(self) -> int:
        """Most tokens that one judgement generates (a bare label: 1); budgets set them aside."""
        ...

    async def score(
        self, problem: str, solutions: Sequence[tuple[str, ...]]
    ) -> Sequence[Judgement]:
        """Judge finished or partial solutions of one problem, in their order.

        Parameters
        ----------
        problem : str
        solutions : sequence of tuple of str
            Each a solution as its steps.

        Raises
        ------
        EngineError
            The engine does not answer, or rejects the request.
        """
        ...

    async def aclose(self) -> None:
        """Release what the reward model holds."""
        ...


def prefix_tokens(reward: Reward) -> int:
    """Most tokens that judging a solution without an answer yet generates.

    What a reward model has as `prefix_tokens`; one without says the same for all solutions.
    """
    return int(getattr(reward, "prefix_tokens", reward.max_tokens))
