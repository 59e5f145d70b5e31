"""A model of transformers in this process, with continuous batching and reuse of prefixes.

What a sample becomes depends on its prompt and seed alone, bit for bit: see `packed_model`.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .kv_cache import BLOCK_TOKENS, PrefixCache
from .packed_model import PackedModel, Span
from .protocol import CompletionRequest, FinishReason, LabelLogprobs, Sample
from .sampling import TextStream, choose_tokens, uniform
from ..errors import EngineError, InvalidArgumentError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["EngineStats", "TransformersEngine"]

#: Samples that join and share a prefill as one; more are split up, so that few wait for room.
_PART = 16
#: Prompt tokens that the decoding of a sample's first token looks back on.
_TEXT_CONTEXT = 8


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
        Forward passes of the model.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    passes: int = 0


@dataclass(eq=False, slots=True)
class _Job:
    """One prompt, and either the samples or the label log-probabilities wanted of it."""

    tokens: list[int]
    request: CompletionRequest
    labels: list[int] | None
    future: Future[Any]
    kv: Tensor | None = None
    computed: int = 0  # prompt tokens in kv
    samples: dict[int, Sample] = field(default_factory=dict)  # by index of the seed

    @property
    def num_rows(self) -> int:
        return 1 if self.labels else len(self.request.seeds)


@dataclass(eq=False, slots=True)
class _Row:
    """One sample being drawn."""

    job: _Job
    index: int
    kv: Tensor
    stream: TextStream
    token: int = -1  # drawn last
    num_tokens: int = 0
    logprob: float = 0.0


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
        self._cache = PrefixCache(cache_tokens)
        self._max_batch = max_batch
        self._stats = EngineStats()
        self._rows: list[_Row] = []
        self._prefills: list[_Job] = []
        # Shared with callers, under _wake: jobs not begun, and all that are not answered.
        self._waiting: list[_Job] = []
        self._open: set[_Job] = set()
        self._wake = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"engine {self.name}", daemon=True)
        self._thread.start()

    @property
    def stats(self) -> EngineStats:
        """The work done so far."""
        return self._stats

    def format_chat(self, system: str, user: str) -> str:
        """Return the model's own chat prompt for these two messages, up to its reply.

        An empty ``system`` leaves that message out.
        """
        if not self._tokenizer.chat_template:
            raise EngineError(
                f"{self.name} has no chat template: use an instruction-tuned model or a plain prompt"
            )
        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": user})
        return self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )

    async def complete(self, request: CompletionRequest) -> list[Sample]:
        """Draw the samples of a request; see `Engine.complete`."""
        _check(request)
        tokens = self._encode_prompt(request.prompt, request.max_tokens)
        seeds = request.seeds
        size = min(_PART, self._max_batch)
        parts = [
            self._submit(tokens, replace(request, seeds=seeds[i : i + size]), None)
            for i in range(0, len(seeds), size)
        ]
        return [sample for part in await _all(parts) for sample in part]

    async def label_logprobs(
        self, prompts: Sequence[str], labels: tuple[str, ...]
    ) -> list[LabelLogprobs]:
        """Return the log-probability of each label after each prompt; see the protocol."""
        ids = [self._label_token(label) for label in labels]
        if not ids:
            return [()] * len(prompts)
        jobs = [(prompt, self._encode_prompt(prompt, 1)) for prompt in prompts]
        return await _all(
            [self._submit(tokens, CompletionRequest(prompt, (), 1), ids) for prompt, tokens in jobs]
        )

    async def aclose(self) -> None:
        """End the worker thread; calls still awaited raise EngineError."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    # --- on the caller's side -------------------------------------------------

    def _submit(
        self, tokens: list[int], request: CompletionRequest, labels: list[int] | None
    ) -> asyncio.Future[Any]:
        job = _Job(tokens, request, labels, Future())
        with self._wake:
            if self._closed:
                raise EngineError(f"engine {self.name} was closed")
            self._waiting.append(job)
            self._open.add(job)
            self._wake.notify()
        job.future.add_done_callback(lambda _: self._forget(job))
        # Cancelling the awaited future cancels the job's, which the worker looks at.
        return asyncio.wrap_future(job.future)

    def _forget(self, job: _Job) -> None:
        with self._wake:
            self._open.discard(job)

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _encode_prompt(self, prompt: str, max_tokens: int) -> list[int]:
        tokens = self._encode(prompt)
        if not tokens:
            raise EngineError("the prompt is empty: give the model at least one token to continue")
        if len(tokens) + max_tokens > self._model.context:
            raise EngineError(
                f"the prompt has {len(tokens)} tokens and max_tokens is {max_tokens}, but "
                f"{self.name} has a context of {self._model.context}: shorten the prompt, "
                "lower max_tokens or limit the depth of the search"
            )
        return tokens

    def _label_token(self, label: str) -> int:
        tokens = self._encode(label)
        if len(tokens) != 1:
            pieces = [self._decode([token]) for token in tokens]
            raise EngineError(
                f"label {label!r} is {len(tokens)} tokens of {self.name}, {pieces}: "
                "choose a label that is one token (a leading space may matter)"
            )
        return tokens[0]

    def _decode(self, tokens: list[int]) -> str:
        return self._tokenizer.decode(
            tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )

    # --- on the worker thread -------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._closed or self._waiting or self._prefills or self._rows):
                    self._wake.wait()
                if self._closed:
                    break
            try:
                self._step()
            except Exception as error:  # noqa: BLE001 - every awaiting call must hear of it
                self._fail_all(f"engine {self.name} failed: {type(error).__name__}: {error}")
        self._fail_all(f"engine {self.name} was closed")
        self._cache.clear()

    def _fail_all(self, reason: str) -> None:
        with self._wake:
            jobs = list(self._open)
            self._waiting, self._prefills, self._rows = [], [], []
        for job in jobs:
            _settle(job.future, error=EngineError(reason))

    def _step(self) -> None:
        """Run one pass: a token for each sample in flight, and as much of prompts as fits."""
        self._admit()
        rows = self._rows
        spans = [
            Span([row.token], len(row.job.tokens) + row.num_tokens - 1, row.kv, True, True)
            for row in rows
        ]
        space = self._model.max_rows - len(spans)
        ready = []  # prompts that end in this pass
        for job in self._prefills:
            end = min(len(job.tokens), job.computed + space)
            if end == job.computed:
                break
            whole = end == len(job.tokens)
            spans.append(Span(job.tokens[job.computed : end], job.computed, job.kv, False, whole))
            space -= end - job.computed
            job.computed = end
            if whole:
                ready.append(job)
        if not spans:
            return
        logprobs = self._model.forward(spans)
        self._stats = replace(self._stats, passes=self._stats.passes + 1)
        drawn = [(row, logprobs[i : i + 1]) for i, row in enumerate(rows)]
        for job, after in zip(ready, logprobs[len(rows) :, None], strict=True):
            self._prefills.remove(job)
            self._cache.insert(job.tokens, job.kv)
            if job.labels:
                _settle(job.future, tuple(after[0, job.labels].tolist()))
            else:
                drawn += [(row, after) for row in self._new_rows(job)]
        self._draw(drawn)

    def _admit(self) -> None:
        """Drop what was cancelled, and begin what waits and has room."""
        self._rows = [row for row in self._rows if not row.job.future.done()]
        self._prefills = [job for job in self._prefills if not job.future.done()]
        with self._wake:
            waiting, self._waiting = self._waiting, []
        room = self._max_batch - len(self._rows) - sum(job.num_rows for job in self._prefills)
        left = []
        for job in waiting:
            if job.future.done():
                continue
            # Strictly first come, first served as to room, or large requests might never fit.
            if job.num_rows > room:
                room = 0
                left.append(job)
                continue
            # The last token is always computed: its logits are what is wanted.
            blocks = self._cache.match(job.tokens[:-1])
            known = len(blocks) * BLOCK_TOKENS
            if self._will_be_cached(job.tokens, known + BLOCK_TOKENS):
                left.append(job)
                continue
            room -= job.num_rows
            job.kv = self._model.new_kv(len(job.tokens) + job.request.max_tokens)
            for i, block in enumerate(blocks):
                job.kv[:, :, :, i * BLOCK_TOKENS : (i + 1) * BLOCK_TOKENS] = block
            job.computed = known
            self._prefills.append(job)
            self._stats = replace(
                self._stats,
                prompt_tokens=self._stats.prompt_tokens + len(job.tokens),
                cached_tokens=self._stats.cached_tokens + known,
            )
        with self._wake:
            self._waiting = left + self._waiting

    def _will_be_cached(self, tokens: list[int], count: int) -> bool:
        """Whether a prompt being computed will leave these first tokens in the cache."""
        return (
            self._cache.enabled
            and count < len(tokens)
            and any(
                len(job.tokens) >= count and job.tokens[:count] == tokens[:count]
                for job in self._prefills
            )
        )

    def _new_rows(self, job: _Job) -> list[_Row]:
        size = len(job.tokens)
        rows = []
        for index in range(job.num_rows):
            kv = job.kv
            if index:
                kv = self._model.new_kv(size + job.request.max_tokens)
                kv[:, :, :, :size] = job.kv[:, :, :, :size]
            stream = TextStream(self._decode, job.tokens[-_TEXT_CONTEXT:], job.request.stop)
            rows.append(_Row(job, index, kv, stream))
        return rows

    def _draw(self, drawn: Sequence[tuple[_Row, Tensor]]) -> None:
        """Give each row its next token, given log-probabilities [1, vocabulary]."""
        import torch

        alike: dict[tuple[float, float], list[tuple[_Row, Tensor]]] = {}
        for row, logprobs in drawn:
            key = (row.job.request.temperature, row.job.request.top_p)
            alike.setdefault(key, []).append((row, logprobs))
        self._rows = []
        for (temperature, top_p), group in alike.items():
            logprobs = torch.cat([row_logprobs for _, row_logprobs in group])
            broken = logprobs.isnan().any(-1).tolist()
            uniforms = [
                uniform(row.job.request.seeds[row.index], row.num_tokens) for row, _ in group
            ]
            tokens = choose_tokens(logprobs, uniforms, temperature, top_p)
            chosen = logprobs[range(len(tokens)), tokens].tolist()
            for (row, _), token, logprob, bad in zip(group, tokens, chosen, broken, strict=True):
                if bad:
                    text = f"{self.name} computed NaN: its weights or its dtype are unsound"
                    _settle(row.job.future, error=EngineError(text))
                else:
                    self._advance(row, token, logprob)

    def _advance(self, row: _Row, token: int, logprob: float) -> None:
        request = row.job.request
        row.token = token
        row.num_tokens += 1
        row.logprob += logprob
        self._stats = replace(self._stats, generated_tokens=self._stats.generated_tokens + 1)
        reason: FinishReason | None = None
        if token in self._model.eos:
            reason = "eos"
        elif row.stream.push(token):
            reason = "stop"
        elif row.num_tokens == request.max_tokens:
            reason = "length"
        if reason is None:
            self._rows.append(row)
            return
        if reason != "stop":
            row.stream.finish()
        samples = row.job.samples
        samples[row.index] = Sample(row.stream.text, row.num_tokens, reason, row.logprob)
        if len(samples) == row.job.num_rows:
            _settle(row.job.future, [samples[i] for i in range(len(samples))])


async def _all(futures: Sequence[asyncio.Future[Any]]) -> list[Any]:
    """Await all; if one fails or the caller is cancelled, the others are no longer wanted."""
    try:
        return await asyncio.gather(*futures)
    finally:
        for future in futures:
            future.cancel()


def _settle(future: Future[Any], result: Any = None, error: EngineError | None = None) -> None:
    """Answer a call, unless it was cancelled or failed before."""
    try:
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
    except InvalidStateError:
        pass


def _check(request: CompletionRequest) -> None:
    if request.max_tokens < 1:
        raise InvalidArgumentError(f"max_tokens is {request.max_tokens}: it must be at least 1")
    if not 0 <= request.temperature < math.inf:
        raise InvalidArgumentError(f"temperature is {request.temperature}: it must be 0 or more")
    if not 0 < request.top_p <= 1:
        raise InvalidArgumentError(f"top_p is {request.top_p}: it must be in (0, 1]")
    if "" in request.stop:
        raise InvalidArgumentError("a stop string is empty: leave it out")
