"""A reward model that is a classifier: the probability of "right" at a solution's last token."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from ..engine.pooling_protocol import Classifier
from ..engine.squash import check_squash
from ..errors import AnswerFormatError
from .protocol import Judgement
from .question import JudgeTemplate
from .readout import class_share

__all__ = ["ClassifierReward"]


class ClassifierReward:
    """Judges finished or partial solutions by a class probability at the last token.

    Of the models that judge steps this is the cheap form in a tree: what a solution shares with
    those judged before it is in the engine's prefix cache, so a new step costs its own tokens only.

    Parameters
    ----------
    engine : Classifier
    template : JudgeTemplate, optional
        Must be that of the model's training; None takes "plain".
    positive : int or None
        Index of the class that means "right"; the last one unless set, which is right for models
        with one output, too. None is the value of a model that must have one output.
    squash : {"auto", "none", "sigmoid", "softmax"}
        What makes probabilities of the head's numbers; "auto" leaves it to the engine.
    """

    max_tokens = 0  # it generates nothing

    def __init__(
        self,
        engine: Classifier,
        template: JudgeTemplate | None = None,
        *,
        positive: int | None = -1,
        squash: str = "auto",
    ) -> None:
        check_squash(squash)
        self._engine = engine
        self._template = template or JudgeTemplate.load("plain")
        self._positive = positive
        self._squash = squash

    @cached_property
    def name(self) -> str:
        """The engine's model, the template by content, the class, and how it is squashed."""
        read = "value" if self._positive is None else f"class {self._positive}"
        squash = "" if self._squash == "auto" else f"/{self._squash}"
        return f"{self._engine.name}/{self._template.name}/{read}{squash}"

    async def score(
        self, problem: str, solutions: Sequence[tuple[str, ...]]
    ) -> Sequence[Judgement]:
        """Judge finished or partial solutions of one problem, in one call of the engine."""
        if not solutions:
            return []
        rows = await self._engine.classify(
            [self._template.render(problem, steps) for steps in solutions],
            raw=self._squash != "auto",
        )
        if len(rows) != len(solutions):
            raise AnswerFormatError(
                f"{self._engine.name}: {len(solutions)} solutions were put, {len(rows)} rows came"
            )
        name = self._engine.name
        return [Judgement(class_share(row, self._positive, name, self._squash), 0) for row in rows]

    async def aclose(self) -> None:
        """Close the engine (engines may be closed twice, so it may be shared)."""
        await self._engine.aclose()
