"""What the batcher keeps of a prompt being answered and of a sample being drawn."""

from __future__ import annotations

from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...errors import EngineError
from ..protocol import CompletionRequest, Sample
from .sampling import TextStream
from .shelves import Place

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Job", "Row"]


@dataclass(eq=False, slots=True)
class Job:
    """One prompt, and either the samples or the label log-probabilities wanted of it."""

    tokens: list[int]
    request: CompletionRequest
    labels: list[int] | None
    future: Future[Any]
    kv: Tensor = field(init=False)  # made when the job begins
    computed: int = 0  # prompt tokens in kv
    samples: dict[int, Sample] = field(default_factory=dict)  # by index of the seed

    @property
    def num_rows(self) -> int:
        return 1 if self.labels else len(self.request.seeds)

    def settle(self, result: Any = None, error: EngineError | None = None) -> None:
        """Answer a call, unless it was cancelled or failed before."""
        try:
            if error is not None:
                self.future.set_exception(error)
            else:
                self.future.set_result(result)
        except InvalidStateError:
            pass


@dataclass(eq=False, slots=True)
class Row:
    """One sample being drawn."""

    job: Job
    index: int
    place: Place
    stream: TextStream
    token: int = -1  # drawn last
    num_tokens: int = 0
    logprob: float = 0.0
    ends: list[int] = field(default_factory=list)  # length of the text after each token
    token_ids: list[int] = field(default_factory=list)
