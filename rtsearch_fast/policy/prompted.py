"""A policy that is a prompt over an engine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from ..engine.protocol import CompletionRequest, Engine, Sample
from .prompt import PromptTemplate
from .protocol import SampleRequest

__all__ = ["PromptedPolicy"]


class PromptedPolicy:
    """Continues solutions with a language model.

    Parameters
    ----------
    engine : Engine
        May be shared with a reward model.
    template : PromptTemplate
        Must fit the model: its chat format, or "plain" for a model without one.
    """

    def __init__(self, engine: Engine, template: PromptTemplate) -> None:
        self._engine = engine
        self._template = template

    @cached_property
    def name(self) -> str:
        """The engine's model and the template, by content."""
        return f"{self._engine.name}/{self._template.name}"

    async def sample(self, request: SampleRequest) -> Sequence[Sample]:
        """Draw ``len(request.seeds)`` continuations, in the order of the seeds."""
        return await self._engine.complete(
            CompletionRequest(
                prompt=self._template.render(request.problem, request.steps),
                seeds=request.seeds,
                max_tokens=request.max_tokens,
                temperature=request.temperature,
                top_p=request.top_p,
                stop=request.stop,
            )
        )

    async def aclose(self) -> None:
        """Close the engine (engines may be closed twice, so it may be shared)."""
        await self._engine.aclose()
