"""Shows a reward model solutions whose arithmetic was put right, and says where it was not."""

from __future__ import annotations

from collections.abc import Sequence

from ..calculator import correct
from .protocol import Judgement, Reward

__all__ = ["CORRECTED", "CalculatedReward", "with_corrections"]

#: Follows a step that was corrected.
CORRECTED = " (corrected)"


def with_corrections(steps: Sequence[str]) -> tuple[str, ...]:
    r"""Correct the arithmetic of each step, and mark the steps where there was something to do.

    Examples
    --------
    >>> with_corrections(["## Step 1: 3+4=7\n\n", "## Step 2: 7*2=15\n\n"])
    ('## Step 1: 3+4=7\n\n', '## Step 2: 7*2=14 (corrected)\n\n')
    """
    shown = []
    for step in steps:
        corrected, corrections = correct(step)
        if corrections:
            text = corrected.rstrip()
            corrected = f"{text}{CORRECTED}{corrected[len(text) :]}"
        shown.append(corrected)
    return tuple(shown)


class CalculatedReward:
    """A reward model that has the calculator which searches have (`SearchOptions.calculator`).

    A small judge compares numbers well and computes badly. With this it need not compute: what a
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

    async def score(
        self, problem: str, solutions: Sequence[tuple[str, ...]]
    ) -> Sequence[Judgement]:
        """Judge finished or partial solutions of one problem."""
        return await self._reward.score(problem, [with_corrections(steps) for steps in solutions])

    async def aclose(self) -> None:
        """Close the reward model."""
        await self._reward.aclose()
