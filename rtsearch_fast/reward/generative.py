"""A reward model that is a question over an engine: how likely is its "Yes"?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

from ..engine.protocol import Engine
from ..errors import AnswerFormatError, InvalidArgumentError
from .protocol import Judgement
from .question import JudgeTemplate

__all__ = ["GenerativeReward", "positive_share"]


class GenerativeReward:
    """Asks a language model whether a solution is right (STILL-1's generative reward model).

    The score is the probability of the positive label, renormalised over the two labels. It is NaN
    where the engine does not tell both: a share cannot be had from one of them.

    Parameters
    ----------
    engine : Engine
        May be shared with the policy.
    template : JudgeTemplate, optional
        Must fit the model; None takes "plain".
    labels : tuple of two str
        The positive and the negative label, one token each, exactly as they follow the template.
    """

    max_tokens = 1

    def __init__(
        self,
        engine: Engine,
        template: JudgeTemplate | None = None,
        labels: tuple[str, str] = ("Yes", "No"),
    ) -> None:
        if len(labels) != 2 or not all(labels) or labels[0] == labels[1]:
            raise InvalidArgumentError(
                f"labels={labels!r}: give two different ones, the positive first"
            )
        self._engine = engine
        self._template = template or JudgeTemplate.load("plain")
        self._labels = tuple(labels)

    @cached_property
    def name(self) -> str:
        """The engine's model, the question by content, and the labels."""
        return f"{self._engine.name}/{self._template.name}/{'|'.join(self._labels)}"

    async def score(
        self, problem: str, solutions: Sequence[tuple[str, ...]]
    ) -> Sequence[Judgement]:
        """Judge finished or partial solutions of one problem, in one call of the engine."""
        if not solutions:
            return []
        answers = await self._engine.label_logprobs(
            [self._template.render(problem, steps) for steps in solutions], self._labels
        )
        if len(answers) != len(solutions) or any(len(answer) != 2 for answer in answers):
            raise AnswerFormatError(
                f"{self._engine.name}: {len(solutions)} solutions were put, "
                f"{len(answers)} answers came, or not two labels in each"
            )
        return [Judgement(positive_share(yes, no), self.max_tokens) for yes, no in answers]

    async def aclose(self) -> None:
        """Close the engine (engines may be closed twice, so it may be shared)."""
        await self._engine.aclose()


def positive_share(yes: float, no: float) -> float:
    """Return ``exp(yes) / (exp(yes) + exp(no))``, without overflow.

    Parameters
    ----------
    yes, no : float
        Log-probabilities. NaN in either, or -inf in both, gives NaN.
    """
    # The exponent is never positive, so exp cannot overflow; NaN passes through.
    small = math.exp(-abs(yes - no))
    return (small if yes < no else 1.0) / (1.0 + small)
