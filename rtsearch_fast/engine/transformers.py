"""A model of transformers in this process, with continuous batching and reuse of prefixes.

What a sample becomes depends on its prompt and seed alone, bit for bit: see `packed_model`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..aio import all_of
from ..errors import EngineError, InvalidArgumentError
from .batching.batcher import Batcher
from .batching.packed_model import PackedModel
from .protocol import CompletionRequest, EngineStats, LabelLogprobs, Sample
from .tokens import Tokens

__all__ = ["EngineStats", "TransformersEngine"]

#: Samples that join and share a prefill as one; more are split up, so that few wait for room.
_PART = 16


class TransformersEngine:
    """Runs a causal language model in this process; implements `Engine`.

    Parameters
    ----------
    model : str or path
        A model folder with safetensors weights.
    dtype : {"auto", "float32", "bfloat16"}
        "auto" is bfloat16 where the processor computes with it, else float32.
    device : str, optional
        As torch names it; by default "cuda" if there is one, else "cpu".
    max_batch : int
        Most samples in flight; more wait. Each holds the keys and values of its whole text.
    cache_tokens : int
        Most prompt tokens whose keys and values are kept for later prompts; 0 keeps none.

    Raises
    ------
    EngineError
        The folder is missing or holds no such model.
    MissingExtraError
        torch or transformers is not installed.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        dtype: str = "auto",
        device: str | None = None,
        max_batch: int = 64,
        cache_tokens: int = 32768,
    ) -> None:
        if max_batch < 1:
            raise InvalidArgumentError(f"max_batch is {max_batch}: it must be at least 1")
        if cache_tokens < 0:
            raise InvalidArgumentError(f"cache_tokens is {cache_tokens}: it must be at least 0")
        folder = Path(model)
        self.name = folder.resolve().name
        # One row more than the samples in flight, so that prompts always advance too.
        self._model = PackedModel(folder, dtype=dtype, device=device, min_rows=max_batch + 1)
        self._tokenizer = self._model.tokenizer
        self._tokens = Tokens(self._tokenizer, self.name)
        #: Most samples in flight.
        self.max_sequences = self._max_batch = max_batch
        self._batcher = Batcher(
            self.name,
            self._model,
            self._tokens.decode,
            max_batch=max_batch,
            cache_tokens=cache_tokens,
            pieces={} if _decodes_token_by_token(self._tokenizer) else None,
        )

    @property
    def stats(self) -> EngineStats:
        """The work done so far."""
        return self._batcher.stats

    def format_chat(self, system: str, user: str) -> str:
        """Return the model's own chat prompt for these two messages, up to its reply.

        An empty ``system`` leaves that message out.
        """
        if not self._tokenizer.chat_template:
            raise EngineError(
                f"{self.name} has no chat template: use a model trained for chat, or a plain prompt"
            )
        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": user})
        return str(
            self._tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True
            )
        )

    def encode(self, text: str) -> list[int]:
        """The tokens of a text; nothing is added."""
        return self._tokens.encode(text)

    async def complete(self, request: CompletionRequest) -> list[Sample]:
        """Draw the samples of a request; see `Engine.complete`."""
        _check(request)
        tokens = self._encode_prompt(request.prompt, request.max_tokens)
        seeds = request.seeds
        size = min(_PART, self._max_batch)
        parts = [
            self._batcher.submit(tokens, replace(request, seeds=seeds[i : i + size]))
            for i in range(0, len(seeds), size)
        ]
        return [sample for part in await all_of(parts) for sample in part]

    async def label_logprobs(
        self, prompts: Sequence[str], labels: tuple[str, ...]
    ) -> list[LabelLogprobs]:
        """Return the log-probability of each label after each prompt; see the protocol."""
        ids = [self._tokens.of_label(label) for label in labels]
        if not ids:
            return [()] * len(prompts)
        jobs = [(prompt, self._encode_prompt(prompt, 1)) for prompt in prompts]
        return await all_of(
            [
                self._batcher.submit(tokens, CompletionRequest(prompt, (), 1), ids)
                for prompt, tokens in jobs
            ]
        )

    async def aclose(self) -> None:
        """End the worker thread; calls still awaited raise EngineError."""
        await asyncio.get_running_loop().run_in_executor(None, self._batcher.close)

    def _encode_prompt(self, prompt: str | tuple[int, ...], max_tokens: int) -> list[int]:
        tokens = self.encode(prompt) if isinstance(prompt, str) else list(prompt)
        if not tokens:
            raise EngineError("the prompt is empty: give the model at least one token to continue")
        if len(tokens) + max_tokens > self._model.context:
            raise EngineError(
                f"the prompt has {len(tokens)} tokens and max_tokens is {max_tokens}, but "
                f"{self.name} has a context of {self._model.context}: shorten the prompt, "
                "lower max_tokens or limit the depth of the search"
            )
        return tokens


def _decodes_token_by_token(tokenizer: Any) -> bool:
    """Whether a text is its tokens' texts in a row, but for characters of several tokens."""
    core = getattr(tokenizer, "backend_tokenizer", None)
    decoder = type(getattr(core, "decoder", 0)).__name__
    return decoder in ("NoneType", "ByteLevel", "Fuse")


def _check(request: CompletionRequest) -> None:
    if request.max_tokens < 1:
        raise InvalidArgumentError(f"max_tokens is {request.max_tokens}: it must be at least 1")
    if not 0 <= request.temperature < math.inf:
        raise InvalidArgumentError(f"temperature is {request.temperature}: it must be 0 or more")
    if not 0 < request.top_p <= 1:
        raise InvalidArgumentError(f"top_p is {request.top_p}: it must be in (0, 1]")
    if "" in request.stop:
        raise InvalidArgumentError("a stop string is empty: leave it out")
