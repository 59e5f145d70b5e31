"""A reward model that judges each step of a solution, read in one request."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from ..engine.pooling_protocol import TokenClassifier
from ..errors import AnswerFormatError
from .aggregate import aggregate, check_aggregation
from .protocol import Judgement
from .readout import class_share
from .stepwise import ProcessTemplate

__all__ = ["ProcessReward"]


class ProcessReward:
    """Judges the steps of a solution, and the solution by what its steps got.

    Parameters
    ----------
    engine : TokenClassifier
    template : ProcessTemplate, optional
        Must be that of the model's training; None takes "qwen-prm".
    aggregation : {"last", "min", "product", "mean"}
        How the scores of the steps become one.
    positive : int
        Index of the class that means "right"; the last one unless set.
    """

    max_tokens = 0  # it generates nothing

    def __init__(
        self,
        engine: TokenClassifier,
        template: ProcessTemplate | None = None,
        *,
        aggregation: str = "last",
        positive: int = -1,
    ) -> None:
        check_aggregation(aggregation)
        self._engine = engine
        self._template = template or ProcessTemplate.load("qwen-prm")
        self._aggregation = aggregation
        self._positive = positive

    @cached_property
    def name(self) -> str:
        """The engine's model, the template by content, the tag, the class, the aggregation."""
        return (
            f"{self._engine.name}/{self._template.name}/class {self._positive}/{self._aggregation}"
        )

    async def score(
        self, problem: str, solutions: Sequence[tuple[str, ...]]
    ) -> Sequence[Judgement]:
        """Judge finished or partial solutions of one problem; one without steps gets NaN."""
        scores = await self.step_scores(problem, solutions)
        return [Judgement(aggregate(steps, self._aggregation), 0) for steps in scores]

    async def step_scores(
        self, problem: str, solutions: Sequence[tuple[str, ...]]
    ) -> list[tuple[float, ...]]:
        """Return, per solution, one score for each of its steps, NaN where there is none.

        Raises
        ------
        EngineError
            The engine does not answer, or rejects the request.
        AnswerFormatError
            There are more or fewer scores than steps.
        """
        asked = [steps for steps in solutions if steps]
        if not asked:
            return [()] * len(solutions)
        tag = self._template.step_tag
        rows = await self._engine.token_classify(
            [self._template.render(problem, steps) for steps in asked], tag
        )
        if len(rows) != len(asked):
            raise AnswerFormatError(
                f"{self._engine.name}: {len(asked)} solutions were put, {len(rows)} answers came"
            )
        for steps, found in zip(asked, rows, strict=True):
            if len(found) != len(steps):
                raise AnswerFormatError(
                    f"{self.name}: {len(found)} scores came for {len(steps)} steps: template and "
                    f"step tag {tag!r} must be those of the model, and the tag one token of it"
                )
        scores = iter(
            tuple(class_share(row, self._positive, self._engine.name) for row in found)
            for found in rows
        )
        return [next(scores) if steps else () for steps in solutions]

    async def aclose(self) -> None:
        """Close the engine (engines may be closed twice, so it may be shared)."""
        await self._engine.aclose()
