"""Shows a reward model solutions whose arithmetic was put right."""

from __future__ import annotations

from collections.abc import Sequence

from ..calculator import correct
from .protocol import Judgement, Reward, prefix_tokens

__all__ = ["CalculatedReward", "with_corrections"]


def with_corrections(steps: Sequence[str]) -> tuple[str, ...]:
    r"""Correct the arithmetic of each step.

    Nothing marks where there was something to do. A judge that sees a mark learns to look for it
    and for nothing else: it called every marked solution wrong, and no unmarked one, though in a
    search all solutions are corrected and unmarked.

    Examples
    --------
    >>> with_corrections(["## Step 1: 3+4=7\n\n", "## Step 2: 7*2=15\n\n"])
    ('## Step 1: 3+4=7\n\n', '## Step 2: 7*2=14\n\n')
    """
    return tuple(correct(step)[0] for step in steps)


class CalculatedReward:
    """A reward model that has the calculator which searches have (`SearchOptions.calculator`).

    A small judge computes badly. With this it need not compute: what a
    wrong sum was meant to hide stands in the text as a difference. The model must have been trained
    on such texts.

    Parameters
    ----------
    reward : Reward
    """

    def __init__(self, reward: Reward) -> None:
        self._reward = reward
        self.name = f"{reward.name}/calculator"
        self.max_tokens = reward.max_tokens
        self.prefix_tokens = prefix_tokens(reward)

    async def score(
        self, problem: str, solutions: Sequence[tuple[str, ...]]
    ) -> Sequence[Judgement]:
        """Judge finished or partial solutions of one problem."""
        return await self._reward.score(problem, [with_corrections(steps) for steps in solutions])

    async def aclose(self) -> None:
        """Close the reward model."""
        await self._reward.aclose()
