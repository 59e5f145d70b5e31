"""A reward model that is a question over an engine: how likely is its "Yes"?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from ..engine.protocol import Engine
from .labels import check_labels, positive_share, positive_shares
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
        self._labels = check_labels(labels)
        self._engine = engine
        self._template = template or JudgeTemplate.load("plain")

    @cached_property
    def name(self) -> str:
        """The engine's model, the question by content, and the labels."""
        return f"{self._engine.name}/{self._template.name}/{'|'.join(self._labels)}"

    async def score(
        self, problem: str, solutions: Sequence[tuple[str, ...]]
    ) -> Sequence[Judgement]:
        """Judge finished or partial solutions of one problem, in one call of the engine."""
        prompts = [self._template.render(problem, steps) for steps in solutions]
        shares = await positive_shares(self._engine, prompts, self._labels)
        return [Judgement(share, self.max_tokens) for share in shares]

    async def aclose(self) -> None:
        """Close the engine (engines may be closed twice, so it may be shared)."""
        await self._engine.aclose()
