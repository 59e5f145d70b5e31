"""A reward model that writes its verdicts: on each step, or as a number in JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

from ..aio import together
from ..engine.protocol import CompletionRequest, Engine
from ..errors import AnswerFormatError, InvalidArgumentError
from .aggregate import aggregate
from .parse import json_score, verdicts
from .protocol import Judgement
from .spec import RewardSpec

__all__ = ["ParsedReward"]

#: What is written is drawn at these temperatures, one after the other, until it has a score.
_TRIES = (0.0, 0.7)


class ParsedReward:
    """Has a language model write, and reads its verdicts by the rules of a format.

    It is asked once more, with some chance in its words, if what it wrote gives no score. After
    that there is none: NaN.

    Parameters
    ----------
    engine : Engine
        May be shared with the policy.
    spec : RewardSpec
        Of those that read verdicts or json.
    """

    def __init__(self, engine: Engine, spec: RewardSpec) -> None:
        if spec.read not in ("verdicts", "json"):
            raise InvalidArgumentError(
                f"reward {spec.name} reads {spec.read}: ParsedReward reads verdicts or json"
            )
        self._engine = engine
        self._spec = spec
        #: Most tokens of one judgement, both tries together.
        self.max_tokens = len(_TRIES) * spec.max_tokens

    @cached_property
    def name(self) -> str:
        """The engine's model, and the format by content."""
        return f"{self._engine.name}/{self._spec.identity}"

    async def score(
        self, problem: str, solutions: Sequence[tuple[str, ...]]
    ) -> Sequence[Judgement]:
        """Judge finished or partial solutions of one problem, side by side."""
        return await together(self._judge(problem, steps) for steps in solutions)

    async def aclose(self) -> None:
        """Close the engine (engines may be closed twice, so it may be shared)."""
        await self._engine.aclose()

    async def _judge(self, problem: str, steps: tuple[str, ...]) -> Judgement:
        spec = self._spec
        tokens, score = 0, math.nan
        if not steps:
            return Judgement(score, tokens)
        prompt = (
            spec.process.render(problem, steps)
            if spec.step
            else spec.question.render(problem, steps)
        )
        for seed, temperature in enumerate(_TRIES):
            samples = await self._engine.complete(
                CompletionRequest(prompt, (seed,), spec.max_tokens, temperature)
            )
            if len(samples) != 1 or not 0 <= samples[0].num_tokens <= spec.max_tokens:
                raise AnswerFormatError(
                    f"{self._engine.name}: one text of at most {spec.max_tokens} tokens was asked, "
                    f"{len(samples)} came, or a longer one"
                )
            tokens += samples[0].num_tokens
            score = self._read(samples[0].text, len(steps))
            if not math.isnan(score):
                break
        return Judgement(score, tokens)

    def _read(self, text: str, count: int) -> float:
        spec = self._spec
        if spec.read == "json":
            low, high = spec.scale
            return json_score(text, spec.key, (low, high))
        found = verdicts(text, spec.pattern, spec.label_pair, count)
        return aggregate(found, spec.aggregation)
