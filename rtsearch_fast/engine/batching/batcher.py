"""Continuous batching: a thread that draws the tokens of many samples, one pass after the other.

Requests join between passes and samples leave as soon as they end; nobody waits for the slowest.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...errors import EngineError
from ..protocol import CompletionRequest, EngineStats, FinishReason, Sample
from .jobs import Job, Row
from .kv_cache import BLOCK_TOKENS, PrefixCache
from .packed_model import PackedModel, Span
from .sampling import TextStream, choose_tokens, uniform
from .shelves import Place
from .threads import torch_threads

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Batcher"]

#: Prompt tokens that the decoding of a sample's first token looks back on.
_TEXT_CONTEXT = 8


class Batcher:
    """Owns the thread, the samples in flight and the prefix cache.

    Parameters
    ----------
    name : str
        The engine's, for messages.
    model : PackedModel
    decode : callable
        Token ids to text.
    max_batch : int
        Most samples in flight.
    cache_tokens : int
        Size of the prefix cache.
    pieces : dict, optional
        See `TextStream`.
    """

    def __init__(
        self,
        name: str,
        model: PackedModel,
        decode: Callable[[list[int]], str],
        *,
        max_batch: int,
        cache_tokens: int,
        pieces: dict[int, str] | None = None,
    ) -> None:
        self.name = name
        self.stats = EngineStats()
        self.cache = PrefixCache(cache_tokens)
        self.thread = threading.Thread(target=self._run, name=f"engine {name}", daemon=True)
        self._model = model
        self._shelves = model.new_shelves()
        self._decode = decode
        self._pieces = pieces
        self._max_batch = max_batch
        self._rows: list[Row] = []
        self._prefills: list[Job] = []
        # Shared with callers, under _wake: jobs not begun, and all that are not answered.
        self._waiting: list[Job] = []
        self._open: set[Job] = set()
        self._wake = threading.Condition()
        self._closed = False
        self.thread.start()

    @property
    def num_open(self) -> int:
        """Prompts not yet answered."""
        return len(self._open)

    def submit(
        self, tokens: list[int], request: CompletionRequest, labels: list[int] | None = None
    ) -> Future[Any]:
        """Ask for the samples of a request, or for label log-probabilities.

        Parameters
        ----------
        tokens : list of int
            The prompt.
        request : CompletionRequest
            At most ``max_batch`` seeds.
        labels : list of int, optional
            Tokens whose log-probabilities after the prompt are wanted instead of samples.

        Returns
        -------
        Future
            Of a list of Sample, or of a tuple of float; cancelling it drops the work.
        """
        job = Job(tokens, request, labels, Future())
        with self._wake:
            if self._closed:
                raise EngineError(f"engine {self.name} was closed")
            self._waiting.append(job)
            self._open.add(job)
            self._wake.notify()
        job.future.add_done_callback(lambda _: self._forget(job))
        return job.future

    def close(self) -> None:
        """End the thread and fail what is pending; blocks for one pass at most."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self.thread.join()

    def _forget(self, job: Job) -> None:
        with self._wake:
            self._open.discard(job)

    def _run(self) -> None:
        with torch_threads(self._model.threads):
            self._loop()

    def _loop(self) -> None:
        while True:
            with self._wake:
                while not (self._closed or self._waiting or self._prefills or self._rows):
                    self._wake.wait()
                if self._closed:
                    break
            try:
                self._step()
            except Exception as error:  # whatever it is, every awaiting call must hear of it
                self._fail_all(f"engine {self.name} failed: {type(error).__name__}: {error}")
        self._fail_all(f"engine {self.name} was closed")
        self.cache.clear()

    def _fail_all(self, reason: str) -> None:
        with self._wake:
            jobs = list(self._open)
            self._waiting, self._prefills, self._rows = [], [], []
            self._shelves = self._model.new_shelves()
        for job in jobs:
            job.settle(error=EngineError(reason))

    def _step(self) -> None:
        """Run one pass: a token for each sample in flight, and as much of prompts as fits."""
        self._admit()
        rows = self._rows
        for row in rows:
            row.place.grow(len(row.job.tokens) + row.num_tokens)
        rows.sort(key=lambda row: row.place.order)
        spans = [
            Span([row.token], len(row.job.tokens) + row.num_tokens - 1, row.place, True)
            for row in rows
        ]
        space = self._model.max_rows - len(spans)
        parts = []
        for job in self._prefills:
            end = min(len(job.tokens), job.computed + space)
            if end == job.computed:
                break
            tokens = job.tokens[job.computed : end]
            parts.append((job, Span(tokens, job.computed, job.kv, end == len(job.tokens))))
            space -= end - job.computed
            job.computed = end
        spans += [span for _, span in parts]
        if not spans:
            return
        logprobs = self._model.forward(spans)
        self.stats = replace(self.stats, passes=self.stats.passes + 1)
        for job, span in parts:
            assert not isinstance(span.kv, Place)
            job.kv = span.kv
        ready = [job for job, span in parts if span.wants_logits]
        # A broken logit makes the whole row NaN.
        broken = logprobs[:, 0].isnan().tolist()
        drawn = []
        for i, row in enumerate(rows):
            if broken[i]:
                self._fail_nan(row.job)
            else:
                drawn.append((row, i))
        for i, job in enumerate(ready, len(rows)):
            self._prefills.remove(job)
            if broken[i]:
                self._fail_nan(job)
                continue
            self.cache.insert(job.tokens, job.kv)
            if job.labels:
                job.settle(tuple(logprobs[i, job.labels].tolist()))
            else:
                drawn += [(row, i) for row in self._new_rows(job)]
        self._draw(drawn, logprobs)

    def _admit(self) -> None:
        """Drop what was cancelled, and begin what waits and has room."""
        import torch

        self._leave([row for row in self._rows if row.job.future.done()])
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
            blocks = self.cache.match(job.tokens[:-1])
            known = len(blocks) * BLOCK_TOKENS
            if self._will_be_cached(job.tokens, known + BLOCK_TOKENS):
                left.append(job)
                continue
            room -= job.num_rows
            job.kv = torch.cat(blocks, 3) if blocks else self._model.no_kv()
            job.computed = known
            self._prefills.append(job)
            self.stats = replace(
                self.stats,
                prompt_tokens=self.stats.prompt_tokens + len(job.tokens),
                cached_tokens=self.stats.cached_tokens + known,
            )
        with self._wake:
            self._waiting = left + self._waiting

    def _will_be_cached(self, tokens: list[int], count: int) -> bool:
        """Whether a prompt being computed will leave these first tokens in the cache."""
        return (
            self.cache.enabled
            and count < len(tokens)
            and any(
                len(job.tokens) >= count and job.tokens[:count] == tokens[:count]
                for job in self._prefills
            )
        )

    def _new_rows(self, job: Job) -> list[Row]:
        size = len(job.tokens)
        rows = []
        for index in range(job.num_rows):
            place = self._shelves.place(size + 1, job.kv, size)
            context = job.tokens[-_TEXT_CONTEXT:]
            stream = TextStream(self._decode, context, job.request.stop, self._pieces)
            rows.append(Row(job, index, place, stream))
        self._rows += rows
        return rows

    def _leave(self, rows: Sequence[Row]) -> None:
        if not rows:
            return
        # Those that lie last first: then none must be moved twice.
        for row in sorted(rows, key=lambda row: row.place.order, reverse=True):
            row.place.drop()
        gone = set(rows)
        self._rows = [row for row in self._rows if row not in gone]

    def _draw(self, drawn: Sequence[tuple[Row, int]], logprobs: Tensor) -> None:
        """Give each row its next token, given which log-probabilities are its."""
        import torch

        alike: dict[tuple[float, float], list[tuple[Row, int]]] = {}
        for row, i in drawn:
            key = (row.job.request.temperature, row.job.request.top_p)
            alike.setdefault(key, []).append((row, i))
        ended = []
        for (temperature, top_p), group in alike.items():
            indices = torch.tensor([i for _, i in group], device=logprobs.device)
            after = logprobs[indices]
            uniforms = [
                uniform(row.job.request.seeds[row.index], row.num_tokens) for row, _ in group
            ]
            tokens = choose_tokens(after, uniforms, temperature, top_p)
            chosen = after[range(len(tokens)), tokens].tolist()
            for (row, _), token, logprob in zip(group, tokens, chosen, strict=True):
                if not self._advance(row, token, logprob):
                    ended.append(row)
        self.stats = replace(self.stats, generated_tokens=self.stats.generated_tokens + len(drawn))
        self._leave(ended)

    def _fail_nan(self, job: Job) -> None:
        text = f"{self.name} computed NaN: its weights are damaged, or too large for its dtype"
        job.settle(error=EngineError(text))

    def _advance(self, row: Row, token: int, logprob: float) -> bool:
        """Add a token; return whether the sample goes on."""
        request = row.job.request
        row.token = token
        row.token_ids.append(token)
        row.num_tokens += 1
        row.logprob += logprob
        reason: FinishReason | None = None
        if token in self._model.eos:
            reason = "eos"
        elif row.stream.push(token):
            reason = "stop"
        elif row.num_tokens == request.max_tokens:
            reason = "length"
        row.ends.append(len(row.stream.text))
        if reason is None:
            return True
        if reason != "stop":
            row.stream.finish()
        samples = row.job.samples
        text = row.stream.text
        row.ends[-1] = len(text)
        samples[row.index] = Sample(
            text=text,
            num_tokens=row.num_tokens,
            finish_reason=reason,
            logprob=row.logprob,
            ends=tuple(min(end, len(text)) for end in row.ends),
            token_ids=tuple(row.token_ids),
        )
        if len(samples) == row.job.num_rows:
            row.job.settle([samples[i] for i in range(len(samples))])
        return False
