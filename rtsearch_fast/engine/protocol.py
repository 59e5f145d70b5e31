"""What this package asks of anything that runs a language model: two calls, both on plain text.

Policies and generative reward models are prompts over an engine, so a new engine is one file.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

__all__ = [
    "CompletionRequest",
    "Engine",
    "EngineStats",
    "FinishReason",
    "LabelLogprobs",
    "Sample",
    "seed_runs",
]

#: "stop": a stop string was met; "eos": the model ended the text; "length": max_tokens was reached.
FinishReason = Literal["stop", "eos", "length"]


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """One prompt and the samples wanted of it.

    Attributes
    ----------
    prompt : str or tuple of int
        The text to continue, special tokens spelled out, or its token ids; nothing is added to it.
    seeds : tuple of int
        One seed in [0, 2**63) per sample; ``len(seeds)`` samples are drawn. An engine that can be
        seeded draws sample i from ``seeds[i]`` alone, so that it does not depend on its neighbours.
    max_tokens : int
        Most tokens to generate per sample, >= 1.
    temperature : float
        >= 0; 0 is greedy decoding.
    top_p : float
        Nucleus mass in (0, 1].
    stop : tuple of str
        Generation ends before the first of these; the stop string is not part of the sample.
    """

    prompt: str | tuple[int, ...]
    seeds: tuple[int, ...]
    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One continuation.

    Attributes
    ----------
    text : str
        The generated text, without the stop string.
    num_tokens : int
        Tokens generated (what a budget counts), those of the stop string and the end-of-text token
        included.
    finish_reason : {"stop", "eos", "length"}
    logprob : float
        Sum of the log-probabilities of the generated tokens at temperature 1, in nats, <= 0;
        NaN where the engine does not tell.
    ends : tuple of int
        Per generated token the length of the text up to its end (at most ``len(text)``: a stop
        string is cut off); empty where the engine does not tell. Which tokens a piece of the text
        took is read off here.
    token_ids : tuple of int
        The generated tokens, for who trains on them; empty where the engine does not tell.
    """

    text: str
    num_tokens: int
    finish_reason: FinishReason
    logprob: float = float("nan")
    ends: tuple[int, ...] = ()
    token_ids: tuple[int, ...] = ()

    def tokens_until(self, length: int) -> int:
        """Tokens that the first `length` characters took, the one that ends behind them included.

        In proportion, where the engine does not tell where tokens end.

        Examples
        --------
        >>> Sample("one two", 2, "eos", ends=(3, 7)).tokens_until(4)
        2
        """
        if length >= len(self.text):
            return self.num_tokens
        if self.ends:
            return min(bisect_left(self.ends, length) + 1, self.num_tokens)
        return -(-self.num_tokens * length // len(self.text))


#: Log-probability of each label as the next token, over the whole vocabulary, in nats.
LabelLogprobs = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class EngineStats:
    """Work done so far, in tokens.

    Attributes
    ----------
    prompt_tokens : int
        Of all prompts begun.
    cached_tokens : int
        Those of them whose keys and values came from the prefix cache.
    generated_tokens : int
    passes : int
        Forward passes of the model; 0 where the engine does not tell.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    passes: int = 0


class Engine(Protocol):
    """A running language model. Many calls may be awaited at once; the engine batches them."""

    @property
    def name(self) -> str:
        """Identifies the model for resuming runs (a folder's or served model's name)."""
        ...

    async def complete(self, request: CompletionRequest) -> Sequence[Sample]:
        """Draw ``len(request.seeds)`` samples, in the order of the seeds.

        Raises
        ------
        EngineError
            The engine does not answer, or rejects the request; the text says what to do.
        """
        ...

    async def label_logprobs(
        self, prompts: Sequence[str], labels: tuple[str, ...]
    ) -> Sequence[LabelLogprobs]:
        """Return, per prompt, the log-probability of each label as the next token.

        Parameters
        ----------
        prompts : sequence of str
        labels : tuple of str
            Each must be one token of the model's vocabulary.

        Raises
        ------
        EngineError
            A label is not one token, or the engine does not answer.
        """
        ...

    async def aclose(self) -> None:
        """Release what the engine holds (connections, threads, memory)."""
        ...


def seed_runs(seeds: Sequence[int]) -> list[tuple[int, int]]:
    """Cut seeds into runs of consecutive ones, as (first, count).

    vLLM draws sample i of a request with ``n > 1`` from ``seed + i``, as it would alone: so a run
    can be one request.

    Examples
    --------
    >>> seed_runs([5, 6, 7, 2])
    [(5, 3), (2, 1)]
    """
    runs: list[tuple[int, int]] = []
    for seed in seeds:
        if runs and seed == sum(runs[-1]):
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((seed, 1))
    return runs
