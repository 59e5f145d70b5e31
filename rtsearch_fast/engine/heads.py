"""Reward models with a head of their own, in this process, with batching and a prefix cache.

The tokens before a place that is read are in the cache of `Batcher` if any text had them before, so
a step that is judged costs its own tokens, also where each step of a path is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..aio import all_of
from ..errors import EngineError
from .batching.batcher import Batcher
from .batching.packed_model import PackedModel
from .checks import Check, run_check
from .head import Head
from .marks import MarkedText, token_places
from .pooling_protocol import ClassProbs
from .protocol import CompletionRequest, EngineStats
from .squash import squash
from .tokens import Tokens

if TYPE_CHECKING:
    from ..kernels.dispatch import UseKernels

__all__ = ["HeadEngine"]

_READ = CompletionRequest("", (), 1)
_PROBE = "What is 1 + 1? 1 + 1 = 2."


class HeadEngine:
    """Runs a causal model with a head in this process; implements `Classifier` and `MarkReader`.

    The model is what transformers has for its `model_type`, and the head is read by its name in the
    weights: `score` (classifiers of sequences and tokens, Qwen2.5-Math-PRM and -RM), `classifier`,
    `v_head` (Skywork-o1-Open-PRM, PQM). No code that came with the weights is run. A folder with
    weights that neither of them reads is refused, for its scores would be others.

    Parameters
    ----------
    model : str or path
        A model folder with safetensors weights.
    labels : tuple of str, optional
        Take the output embedding's rows of these tokens for the head: those of a language model
        that was trained to write a label behind each step.
    dtype : {"auto", "float32", "bfloat16"}
        Of the model, as `TransformersEngine` has it; the head computes in float32.
    device : str, optional
    cache_tokens : int
        Most tokens whose keys and values are kept for later texts.
    use_kernels : {"auto", "triton", "torch"}
        What computes the head: the Triton kernel where there is a GPU and nothing is against it,
        the kernel or an error, or torch.

    Raises
    ------
    EngineError
        The folder is missing or holds no such model; a label is not one token.
    MissingExtraError
        torch or transformers is not installed.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        labels: tuple[str, ...] | None = None,
        dtype: str = "auto",
        device: str | None = None,
        cache_tokens: int = 32768,
        use_kernels: UseKernels = "auto",
    ) -> None:
        folder = Path(model)
        self.name = folder.resolve().name
        #: The labels that the head's outputs stand for, if any.
        self.labels = labels

        def head(tokenizer: Any) -> Head:
            self._tokens = Tokens(tokenizer, self.name)
            if labels is None:
                found = Head.load(folder)
            else:
                found = Head.of_labels(folder, [self._tokens.of_label(label) for label in labels])
            return replace(found, use_kernels=use_kernels)

        self._model = PackedModel(folder, dtype=dtype, device=device, min_rows=64, head=head)
        self._classes = list(range(self._model.outputs))
        self._batcher = Batcher(
            self.name, self._model, self._tokens.decode, max_batch=64, cache_tokens=cache_tokens
        )

    @property
    def stats(self) -> EngineStats:
        """The work done so far."""
        return self._batcher.stats

    def encode(self, text: str) -> list[int]:
        """The tokens of a text; nothing is added."""
        return self._tokens.encode(text)

    async def classify(self, prompts: Sequence[str], *, raw: bool = False) -> list[ClassProbs]:
        """Return, per prompt, the class probabilities at its last token; see `Classifier`."""
        rows = await self.read_marks([MarkedText(text, (len(text),)) for text in prompts], raw=raw)
        return [row for (row,) in rows]

    async def read_marks(
        self, prompts: Sequence[MarkedText], *, raw: bool = False
    ) -> list[list[ClassProbs]]:
        """Return, per prompt, one row of class probabilities a mark; see `MarkReader`."""
        asked = []
        for prompt in prompts:
            tokens, places = token_places(prompt, self.encode)
            if len(tokens) > self._model.context:
                raise EngineError(
                    f"the text has {len(tokens)} tokens, but {self.name} has a context of "
                    f"{self._model.context}: shorten it or limit the depth of the search"
                )
            asked.append([tokens[: place + 1] for place in places])
        jobs = [self._batcher.submit(part, _READ, self._classes) for text in asked for part in text]
        rows = iter(await all_of(jobs))
        how = partial(squash, how="none" if raw else "auto")
        return [[how(next(rows)) for _ in text] for text in asked]

    async def probe(self, labels: tuple[str, ...] = ()) -> list[Check]:
        """Check the model: "head" tells its outputs at the end of a text."""

        async def answer() -> tuple[bool, str]:
            (row,) = await self.classify([_PROBE])
            of = f" ({', '.join(map(repr, self.labels))})" if self.labels else ""
            numbers = ", ".join(f"{value:.3f}" for value in row)
            return True, f"{len(row)} outputs{of}, {numbers} ({self._model.head_route})"

        return [await run_check("head", answer)]

    async def aclose(self) -> None:
        """End the worker thread; calls still awaited raise EngineError."""
        await asyncio.get_running_loop().run_in_executor(None, self._batcher.close)
