"""A reward model that is read behind each step of a solution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import cast

from ..engine.marks import MarkedText, MarkReader
from ..engine.pooling_protocol import ClassProbs, TokenClassifier
from ..engine.protocol import Engine
from ..errors import AnswerFormatError, InvalidArgumentError
from .aggregate import aggregate, steps_that_count
from .labels import positive_shares
from .protocol import Judgement
from .readout import class_share
from .spec import RewardSpec

__all__ = ["ProcessReward"]


class ProcessReward:
    """Judges the steps of a solution, and the solution by what its steps got.

    Reading generates nothing, also where labels are read.

    Parameters
    ----------
    engine : MarkReader, TokenClassifier or Engine
        The first reads any format with marks, the second heads at a tag, the third labels.
    spec : RewardSpec
        With `step`.

    Raises
    ------
    InvalidArgumentError
        The engine cannot read this format.
    """

    max_tokens = 0

    def __init__(self, engine: MarkReader | TokenClassifier | Engine, spec: RewardSpec) -> None:
        self._engine = engine
        self._spec = spec
        self._reads_marks = hasattr(engine, "read_marks")
        self._check()

    @cached_property
    def name(self) -> str:
        """The engine's model, and the format by content."""
        return f"{self._engine.name}/{self._spec.identity}"

    async def score(
        self, problem: str, solutions: Sequence[tuple[str, ...]]
    ) -> Sequence[Judgement]:
        """Judge finished or partial solutions of one problem; one without steps gets NaN.

        Raises
        ------
        EngineError
            The engine does not answer, or rejects the request.
        AnswerFormatError
            There are more or fewer scores than steps.
        """
        how = self._spec.aggregation
        scores = await self._scores(problem, solutions, steps_that_count(how))
        return [Judgement(aggregate(steps, how), 0) for steps in scores]

    async def step_scores(
        self, problem: str, solutions: Sequence[tuple[str, ...]]
    ) -> list[tuple[float, ...]]:
        """Return, per solution, one score for each of its steps, NaN where there is none.

        Raises
        ------
        EngineError, AnswerFormatError
            As `score`.
        """
        return await self._scores(problem, solutions, None)

    async def aclose(self) -> None:
        """Close the engine (engines may be closed twice, so it may be shared)."""
        await self._engine.aclose()

    async def _scores(
        self, problem: str, solutions: Sequence[tuple[str, ...]], last: int | None
    ) -> list[tuple[float, ...]]:
        asked = [self._spec.process.lay(problem, steps) for steps in solutions if steps]
        if not asked:
            return [()] * len(solutions)
        if last is not None and not self._reads_tags:
            asked = [replace(text, marks=text.marks[-last:]) for text in asked]
        found = await self._read(asked)
        if len(found) != len(asked):
            raise AnswerFormatError(
                f"{self.name}: {len(asked)} solutions were put, {len(found)} answers came"
            )
        for text, scores in zip(asked, found, strict=True):
            if len(scores) != len(text.marks):
                raise AnswerFormatError(
                    f"{self.name}: {len(scores)} scores came for {len(text.marks)} steps: template "
                    f"and step tag {self._spec.tag!r} must be those of the model, and the tag one "
                    "token of it"
                )
        each = iter(found)
        return [tuple(next(each)) if steps else () for steps in solutions]

    async def _read(self, texts: Sequence[MarkedText]) -> list[list[float]]:
        """The scores at the marks of each text."""
        spec = self._spec
        if not self._reads_marks and spec.read == "label":
            prompts = [prefix for text in texts for prefix in text.prefixes]
            shares = iter(
                await positive_shares(cast(Engine, self._engine), prompts, spec.label_pair)
            )
            return [[next(shares) for _ in text.marks] for text in texts]
        raw = spec.squash != "auto"
        rows: Sequence[Sequence[ClassProbs]]
        if self._reads_marks:
            rows = await cast(MarkReader, self._engine).read_marks(texts, raw=raw)
        else:
            rows = await cast(TokenClassifier, self._engine).token_classify(
                [text.text for text in texts], spec.tag, raw=raw
            )
        # of two labels the first is the positive one
        positive = {"label": 0, "class": spec.positive, "value": None}[spec.read]
        name = self._engine.name
        return [[class_share(row, positive, name, spec.squash) for row in text] for text in rows]

    @property
    def _reads_tags(self) -> bool:
        return not self._reads_marks and self._spec.read != "label"

    def _check(self) -> None:
        spec, engine = self._spec, type(self._engine).__name__
        if not spec.step or spec.read not in ("label", "class", "value"):
            raise InvalidArgumentError(
                f"reward {spec.name}: ProcessReward reads behind steps: give `step`, and read "
                "label, class or value"
            )
        if self._reads_marks:
            labels = getattr(self._engine, "labels", None)
            if labels != (spec.labels or None):
                raise InvalidArgumentError(
                    f"reward {spec.name} has labels={spec.labels!r}, {engine} was made with "
                    f"labels={labels!r}: make it with those of the format"
                )
            return
        if spec.pieces:
            raise InvalidArgumentError(
                f"reward {spec.name} was trained on steps that were tokenised apart, which "
                f"{engine} does not do: run it in this process (HeadEngine, --reward-model FOLDER) "
                "or by `rtsearch engine start --task reward-head`"
            )
        if spec.read == "label":
            needed, kind = "label_logprobs", "one that generates"
        else:
            needed, kind = "token_classify", "HeadEngine, or PoolingEngine for token_classify"
        if not hasattr(self._engine, needed):
            raise InvalidArgumentError(
                f"reward {spec.name} reads a {spec.read} behind steps, which {engine} cannot: use "
                f"{kind}"
            )
        if self._reads_tags and not spec.tag:
            raise InvalidArgumentError(
                f"reward {spec.name} has no `tag`, by which {engine} finds the places: give it, or "
                "run the model in this process (HeadEngine, --reward-model FOLDER), or by "
                "`rtsearch engine start --task reward-head`"
            )
