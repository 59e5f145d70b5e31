"""What the search asks of a policy model: continue this solution of this problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..engine.protocol import Sample

__all__ = ["Policy", "Sample", "SampleRequest"]


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """One partial solution and the continuations wanted of it.

    Attributes
    ----------
    problem : str
        The problem statement, as the user gave it.
    steps : tuple of str
        The solution so far, one text a step; the model continues ``"".join(steps)``.
    seeds, max_tokens, temperature, top_p, stop
        As in `rtsearch_fast.engine.protocol.CompletionRequest`.
    """

    problem: str
    steps: tuple[str, ...]
    seeds: tuple[int, ...]
    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()


class Policy(Protocol):
    """A model that continues solutions. Many requests may be awaited at once."""

    @property
    def name(self) -> str:
        """Identifies model and prompt for resuming runs: same name, same answers to expect."""
        ...

    async def sample(self, request: SampleRequest) -> Sequence[Sample]:
        """Draw ``len(request.seeds)`` samples, in the order of the seeds.

        Raises
        ------
        EngineError
            The engine does not answer, or rejects the request.
        """
        ...

    async def aclose(self) -> None:
        """Release what the policy holds."""
        ...
