"""An engine that runs no model: it answers when a real one would have, by the event loop's clock.

In `virtual_time` a search over thousands of trees takes minutes where a GPU would take hours, and
what is measured is the search's own scheduling.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ...errors import EngineError
from ..protocol import CompletionRequest, FinishReason, LabelLogprobs, Sample
from .calibration import Measurement, fit_engine_model, predicted_seconds
from .model import EngineModel
from .scheduler import Generation, Scheduler, SimulatorStats
from .writer import SyntheticWriter, Writer

__all__ = [
    "EngineModel",
    "Measurement",
    "SimulatedEngine",
    "SimulatorStats",
    "SyntheticWriter",
    "Writer",
    "fit_engine_model",
    "predicted_seconds",
]


class SimulatedEngine:
    """An `Engine` with continuous batching, chunked prefill and a prefix cache, all simulated.

    One event loop may use it; what it answers depends on prompts and seeds alone.

    Parameters
    ----------
    model : EngineModel
        How fast it is.
    writer : Writer
        What it writes.

    Examples
    --------
    >>> from rtsearch_fast.engine.simulator.virtual_time import run
    >>> engine = SimulatedEngine(EngineModel(base=0.5), SyntheticWriter([8], [3]))
    >>> (sample,) = run(engine.complete(CompletionRequest("##", (1,), 100, stop=("\\n##",))))
    >>> sample.num_tokens, engine.stats.seconds
    (8, 4.0)
    """

    def __init__(self, model: EngineModel, writer: Writer) -> None:
        self.model = model
        self.writer = writer
        self.name = f"simulated/{model.name}"
        self._scheduler = Scheduler(model)
        self._block_chars = model.block_tokens * writer.chars_per_token
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0  # not every loop's handles tell
        self._calls: dict[Generation, _Call] = {}

    @property
    def stats(self) -> SimulatorStats:
        """What it has done so far."""
        return self._scheduler.stats

    async def complete(self, request: CompletionRequest) -> Sequence[Sample]:
        """Draw ``len(request.seeds)`` samples, in the order of the seeds.

        Raises
        ------
        EngineError
            The prompt is token ids, or does not fit into the simulated memory.
        """
        prompt = request.prompt
        if not isinstance(prompt, str):
            raise EngineError(
                f"a prompt of {len(prompt)} token ids: a simulated engine has no vocabulary; send "
                "it text"
            )
        samples: list[Sample] = []
        generations: list[Generation] = []
        for seed in request.seeds:
            text = self.writer.write(prompt, seed if request.temperature else 0)
            sample = _cut(text, request, self.writer.chars_per_token)
            samples.append(sample)
            generations.append(self._generation(prompt, text, sample.num_tokens))
            # siblings share the keys of their prompt's blocks, which are most of the work here
            shared = len(prompt) // self._block_chars
            generations[-1].keys = generations[0].keys_of(shared)
        await self._run(generations)
        return samples

    async def label_logprobs(
        self, prompts: Sequence[str], labels: tuple[str, ...]
    ) -> Sequence[LabelLogprobs]:
        """Return, per prompt, the log-probability of each label as the next token.

        Each prompt is a request with one generated token.

        Raises
        ------
        EngineError
            A prompt does not fit into the simulated memory.
        """
        await self._run([self._generation(prompt, "", 1) for prompt in prompts])
        return [self.writer.judge(prompt, labels) for prompt in prompts]

    async def aclose(self) -> None:
        """Stop the clock; what is under way is not answered."""
        if self._timer is not None:
            self._timer.cancel()

    def _generation(self, prompt: str, text: str, num_tokens: int) -> Generation:
        prompt_tokens = max(1, -(-len(prompt) // self.writer.chars_per_token))
        return Generation(prompt + text, prompt_tokens, num_tokens, self._block_chars)

    async def _run(self, generations: Sequence[Generation]) -> None:
        """Send sequences to the engine and wait until all of them have ended."""
        if not generations:
            return
        loop = asyncio.get_running_loop()
        call = _Call(loop.create_future(), len(generations))
        seen_at = loop.time() + self.model.per_request
        try:
            for generation in generations:
                self._scheduler.add(generation, seen_at)
                self._calls[generation] = call
            self._set_timer(loop)
            await call.future
        except BaseException:
            for generation in generations:
                if self._calls.pop(generation, None):
                    self._scheduler.cancel(generation, loop.time())
            self._set_timer(loop)
            raise

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        """Be woken when the scheduler has something to do."""
        time = self._scheduler.next_time()
        if self._timer is not None:
            if self._timer_at == time and not self._timer.cancelled():
                return
            self._timer.cancel()
        self._timer_at = time or 0.0
        self._timer = None if time is None else loop.call_at(time, self._advance, loop, time)

    def _advance(self, loop: asyncio.AbstractEventLoop, time: float) -> None:
        self._timer = None
        for generation in self._scheduler.advance(time):
            self._calls.pop(generation).end_one()
        self._set_timer(loop)


class _Call:
    """A call that waits for its sequences."""

    __slots__ = ("future", "left")

    def __init__(self, future: asyncio.Future[None], left: int) -> None:
        self.future = future
        self.left = left

    def end_one(self) -> None:
        self.left -= 1
        if not self.left and not self.future.done():
            self.future.set_result(None)


def _cut(text: str, request: CompletionRequest, size: int) -> Sample:
    """What a request gets of all that the model would write, in tokens of `size` characters."""
    tokens = -(-len(text) // size) + 1  # the last one ends the text
    reason: FinishReason = "eos"
    length = len(text)
    starts = {stop: text.find(stop) for stop in request.stop}
    # a stop string is noticed with the token in which it ends
    ends = {s: -(-(start + len(s)) // size) for s, start in starts.items() if start >= 0}
    if ends:
        tokens, reason = min(ends.values()), "stop"
        length = min(starts[stop] for stop, end in ends.items() if end == tokens)
    if tokens > request.max_tokens:
        tokens, reason = request.max_tokens, "length"
        length = tokens * size
    return Sample(
        text=text[:length],
        num_tokens=tokens,
        finish_reason=reason,
        ends=(*range(size, length + 1, size), *[length] * (tokens - length // size)),
    )
