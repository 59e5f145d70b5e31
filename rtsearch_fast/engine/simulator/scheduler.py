"""Which sequences a simulated engine works on in each of its steps, and when the steps end.

The rules are those of vLLM's V1 scheduler: requests wait in line and run together; a step gives
each decoding sequence its token and fills what is left of its token budget with prompts, in
pieces where they are long. A prompt takes over the full blocks that are known and computes at least
its last token. A block is known from the step on in which it fills, so sequences that begin in the
same step share the full blocks of their prompt and each computes its incomplete last one. When
memory runs out, the sequence that began last starts over later.

Nothing here waits or knows a clock: times come in and go out as numbers.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field

from ...errors import EngineError
from .block_pool import Block, BlockPool
from .model import EngineModel

__all__ = ["Generation", "Scheduler", "SimulatorStats"]


@dataclass(slots=True)
class SimulatorStats:
    """What an engine has done; times are seconds of its clock.

    Attributes
    ----------
    requests : int
        Sequences that began to run.
    generated_tokens, prompt_tokens, cached_tokens : int
        Cached are the prompt tokens that were found in known blocks when their sequence began.
    prefill_tokens, decode_tokens, context_tokens : int
        What the steps computed: prompt tokens, tokens of decoding sequences, and the tokens that
        these looked back on.
    steps : int
    busy_seconds : float
        Sum of all steps.
    running_seconds, waiting_seconds : float
        Sum over sequences of the time that they ran, or waited in line.
    aborted_requests, aborted_tokens : int
        Sequences that were cancelled, and what they had generated till then.
    preemptions : int
        How often a sequence had to make room and start over.
    started_at, ended_at : float
        First arrival and end of the last step.
    """

    requests: int = 0
    generated_tokens: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    prefill_tokens: int = 0
    decode_tokens: int = 0
    context_tokens: int = 0
    steps: int = 0
    busy_seconds: float = 0.0
    running_seconds: float = 0.0
    waiting_seconds: float = 0.0
    aborted_requests: int = 0
    aborted_tokens: int = 0
    preemptions: int = 0
    started_at: float = math.nan
    ended_at: float = math.nan

    @property
    def seconds(self) -> float:
        """From the first arrival to the end of the last step."""
        return self.ended_at - self.started_at

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens a second."""
        return self.generated_tokens / self.seconds

    @property
    def mean_running(self) -> float:
        """Sequences that ran at once, on the average over time."""
        return self.running_seconds / self.seconds

    @property
    def mean_waiting(self) -> float:
        """Sequences in line, on the average over time."""
        return self.waiting_seconds / self.seconds

    @property
    def cache_hit_rate(self) -> float:
        """Share of the prompt tokens that need not be computed."""
        return self.cached_tokens / self.prompt_tokens if self.prompt_tokens else 0.0


@dataclass(slots=True, eq=False)
class Generation:
    """One sequence: a prompt and what will be generated after it.

    Attributes
    ----------
    text : str
        The prompt and the generated text; equal beginnings share blocks.
    prompt_tokens, new_tokens : int
        At least 1 each.
    block_chars : int
        Characters in one block.
    generated : int
        Tokens so far; kept up when it ends, not in every step.
    finished, cancelled : bool
    seen_at : float
        When it got in line.
    """

    text: str
    prompt_tokens: int
    new_tokens: int
    block_chars: int
    generated: int = 0
    finished: bool = False
    cancelled: bool = False
    seen_at: float = 0.0
    # the scheduler's own
    begun: bool = False
    computed: int = 0  # tokens that have keys and values, until it decodes
    serial: int = 0  # not 0 while it decodes; then
    offset: int = 0  # steps ended + offset = tokens that have keys and values
    due: int = 0  # steps ended when it ends
    blocks: list[Block] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)

    @property
    def target(self) -> int:
        """Tokens to compute before the next one can be generated."""
        return self.prompt_tokens + self.generated

    def key(self, index: int) -> int:
        """What stands for block `index` and all before it: a hash of their text, chained."""
        keys, size = self.keys, self.block_chars
        while len(keys) <= index:
            start = len(keys) * size
            keys.append(hash((keys[-1] if keys else 0, self.text[start : start + size])))
        return keys[index]

    def keys_of(self, blocks: int) -> list[int]:
        """The keys of so many blocks, for another sequence that begins with the same text."""
        if blocks:
            self.key(blocks - 1)
        return self.keys[:blocks]


@dataclass(slots=True)
class _Plan:
    """Steps with the same sequences, one after the other; each may take a little longer."""

    start: float
    steps: int
    first: float  # duration of the first
    growth: float  # of each against the one before

    def end_of(self, step: int) -> float:
        return self.start + step * self.first + self.growth * (step * (step - 1) / 2)

    @property
    def end(self) -> float:
        return self.end_of(self.steps)

    def cut(self, time: float) -> None:
        """End with the step in which `time` falls."""
        if time <= self.end_of(self.steps - 1):
            self.steps = 1 + bisect_left(range(1, self.steps), time, key=self.end_of)


class Scheduler:
    """A simulated engine without its clock.

    Steps in which nothing begins or ends are planned together: who drives it calls `advance` at
    `next_time`, and asks again after each `add` and `cancel`.

    Parameters
    ----------
    model : EngineModel

    Examples
    --------
    >>> scheduler = Scheduler(EngineModel(base=0.5))
    >>> scheduler.add(Generation("abcdef", prompt_tokens=2, new_tokens=4, block_chars=48), at=1.0)
    >>> while (time := scheduler.next_time()) is not None:
    ...     finished = scheduler.advance(time)
    >>> finished[0].generated, scheduler.stats.ended_at
    (4, 3.0)
    """

    def __init__(self, model: EngineModel) -> None:
        self.model = model
        self.stats = SimulatorStats()
        self._pool = BlockPool(model.cache_blocks)
        self._arriving: deque[Generation] = deque()  # sent, not yet seen
        self._waiting: deque[Generation] = deque()
        self._running: dict[Generation, None] = {}  # the last to begin is last
        self._prefilling: dict[Generation, None] = {}  # of these
        self._leaving: list[Generation] = []  # cancelled while they ran
        self._ready: list[Generation] = []  # their prompt is complete with the step under way
        self._plan: _Plan | None = None
        self._step = 0  # steps ended
        self._context = 0  # sum of what decoding sequences have computed
        self._decoding = 0
        # Each decoding sequence gets a token in every step. So when it begins to decode, the step
        # with which it ends is known (its serial number tells whether the entry still holds),
        self._due: list[tuple[int, int, Generation]] = []
        self._serial = 0
        # and in which steps, modulo the size of a block, it needs another block.
        self._growing: list[dict[Generation, None]] = [{} for _ in range(model.block_tokens)]

    # --- from outside --------------------------------------------------------------------

    @property
    def num_unfinished(self) -> int:
        """Sequences that arrive, wait or run."""
        return len(self._arriving) + len(self._waiting) + len(self._running)

    def add(self, generation: Generation, at: float) -> None:
        """Let a sequence arrive; `at` must not be before that of an earlier call.

        Raises
        ------
        EngineError
            It does not fit into memory.
        """
        needed = -(-(generation.prompt_tokens + generation.new_tokens) // self.model.block_tokens)
        if needed > self.model.cache_blocks:
            raise EngineError(
                f"prompt of {generation.prompt_tokens} tokens, {generation.new_tokens} new ones: "
                f"they need {needed} blocks, the engine has {self.model.cache_blocks}; shorten "
                "them, or raise cache_blocks"
            )
        generation.seen_at = at
        self._arriving.append(generation)
        if math.isnan(self.stats.started_at):
            self.stats.started_at = self.stats.ended_at = at
        if self._plan is not None:
            self._plan.cut(at)

    def cancel(self, generation: Generation, now: float) -> None:
        """Give up a sequence. If it runs, it leaves with the step under way."""
        if generation.finished or generation.cancelled:
            return
        generation.cancelled = True
        self.stats.aborted_requests += 1
        if generation in self._running:
            self._leaving.append(generation)
            if self._plan is not None:
                self._plan.cut(now)
            return
        line = self._arriving if generation in self._arriving else self._waiting
        line.remove(generation)
        self.stats.aborted_tokens += generation.generated  # had it been thrown out
        self.stats.waiting_seconds += max(0.0, now - generation.seen_at)

    def next_time(self) -> float | None:
        """When to call `advance` next; None if nothing is left to do."""
        if self._plan is not None:
            return self._plan.end
        return self._arriving[0].seen_at if self._arriving else None

    def advance(self, now: float) -> list[Generation]:
        """End the steps that end at `now` and begin the next ones; returns who has finished."""
        finished: list[Generation] = []
        if self._plan is not None and self._plan.end <= now:
            finished = self._end(self._plan)
            self._plan = None
        if self._plan is None:
            while self._arriving and self._arriving[0].seen_at <= now:
                self._waiting.append(self._arriving.popleft())
            self._begin(now)
        return finished

    # --- steps ---------------------------------------------------------------------------

    def _begin(self, now: float) -> None:
        """Choose the sequences of the next step, and plan as many steps as can be the same."""
        model, preemptions = self.model, self.stats.preemptions
        self._grow(now)
        budget = model.max_num_batched_tokens - self._decoding
        prefill = 0
        for generation in list(self._prefilling):
            if prefill == budget or generation not in self._running:
                continue
            chunk = min(generation.target - generation.computed, budget - prefill)
            if self._make_room(generation, generation.computed + chunk, now):
                self._compute(generation, chunk)
                prefill += chunk
        preempted = self.stats.preemptions > preemptions
        while self._waiting and not preempted:
            if prefill == budget or len(self._running) == model.max_num_seqs:
                break
            chunk = self._admit(self._waiting[0], budget - prefill, now)
            if not chunk:
                break  # first come, first served: nobody steps past it
            self._waiting.popleft()
            prefill += chunk
        if not self._running:
            return
        steps = 1
        if not prefill and not preempted:
            while self._due[0][1] != self._due[0][2].serial:
                heapq.heappop(self._due)
            # no further than memory lasts for certain
            lasts = self._pool.available // self._decoding * model.block_tokens - 1
            steps = max(1, min(self._due[0][0] - self._step, lasts))
        first = model.step_seconds(self._decoding, prefill, self._context)
        self._plan = _Plan(now, steps, first, model.per_context_token * self._decoding)
        if self._arriving:
            self._plan.cut(self._arriving[0].seen_at)
        self.stats.prefill_tokens += prefill

    def _end(self, plan: _Plan) -> list[Generation]:
        """Account for steps that are over; returns who has finished."""
        steps, decoding, stats = plan.steps, self._decoding, self.stats
        for _ in range(steps - 1):
            self._step += 1
            self._grow(plan.start)
        self._step += 1
        stats.steps += steps
        stats.decode_tokens += steps * decoding
        stats.generated_tokens += steps * decoding + len(self._ready)
        stats.context_tokens += steps * self._context + decoding * (steps * (steps - 1) // 2)
        stats.busy_seconds += plan.end - plan.start
        stats.running_seconds += len(self._running) * (plan.end - plan.start)
        stats.ended_at = plan.end
        self._context += steps * decoding

        for generation in self._ready:
            generation.generated += 1
        for generation in self._leaving:
            self._leave(generation)
            stats.aborted_tokens += generation.generated
        self._leaving.clear()
        finished = []
        while self._due and self._due[0][0] <= self._step:
            _, serial, generation = heapq.heappop(self._due)
            if serial == generation.serial:
                finished.append(generation)
        for generation in self._ready:
            if generation.cancelled:
                continue
            if generation.generated == generation.new_tokens:
                finished.append(generation)
            else:
                self._decode(generation)
        self._ready.clear()
        for generation in finished:
            self._leave(generation)
            generation.finished = True
        return finished

    def _grow(self, now: float) -> None:
        """Give decoding sequences the room that the next step needs; make known what it fills."""
        size, step = self.model.block_tokens, self._step
        for generation in list(self._growing[step % size]):
            if generation.serial:  # not thrown out by the one before it
                self._make_room(generation, generation.offset + step + 1, now)
        for generation in self._growing[(step + 1) % size]:
            index = (generation.offset + step + 1) // size - 1
            self._pool.fill(generation.blocks[index], generation.key(index))

    # --- one sequence --------------------------------------------------------------------

    def _admit(self, generation: Generation, budget: int, now: float) -> int:
        """Begin with a sequence; returns how much of its prompt is computed, 0 without memory."""
        size, pool, stats = self.model.block_tokens, self._pool, self.stats
        known: list[Block] = []
        for index in range((generation.target - 1) // size):
            block = pool.find(generation.key(index))
            if block is None:
                break
            known.append(block)
        cached = len(known) * size
        chunk = min(generation.target - cached, budget)
        needed = -(-(cached + chunk) // size) - len(known)
        if pool.available - sum(not block.users for block in known) < needed:
            return 0
        for block in known:
            pool.share(block)
        generation.blocks = known + [pool.take() for _ in range(needed)]
        generation.computed = cached
        self._running[generation] = self._prefilling[generation] = None
        stats.waiting_seconds += max(0.0, now - generation.seen_at)
        if not generation.begun:
            generation.begun = True
            stats.requests += 1
            stats.prompt_tokens += generation.prompt_tokens
            stats.cached_tokens += cached
        self._compute(generation, chunk)
        return chunk

    def _compute(self, generation: Generation, chunk: int) -> None:
        """Compute a piece of a prompt in this step."""
        size, before = self.model.block_tokens, generation.computed
        generation.computed += chunk
        for index in range(before // size, generation.computed // size):
            self._pool.fill(generation.blocks[index], generation.key(index))
        if generation.computed == generation.target:
            del self._prefilling[generation]
            self._ready.append(generation)

    def _decode(self, generation: Generation) -> None:
        """Let a sequence whose first token is there decode the others."""
        self._serial += 1
        generation.serial = self._serial
        generation.offset = generation.computed - self._step
        generation.due = self._step + generation.new_tokens - generation.generated
        heapq.heappush(self._due, (generation.due, generation.serial, generation))
        self._growing[-generation.offset % self.model.block_tokens][generation] = None
        self._decoding += 1
        self._context += generation.computed

    def _leave(self, generation: Generation) -> None:
        """Take a sequence out of the batch, between two steps."""
        if generation.serial:
            generation.serial = 0
            generation.generated = generation.new_tokens - (generation.due - self._step)
            del self._growing[-generation.offset % self.model.block_tokens][generation]
            self._decoding -= 1
            self._context -= generation.offset + self._step
        self._prefilling.pop(generation, None)
        del self._running[generation]
        self._pool.release(generation.blocks)
        generation.blocks = []

    def _make_room(self, generation: Generation, tokens: int, now: float) -> bool:
        """Give a sequence blocks for so many tokens, the last to begin leaving where they lack.

        Returns False if the last was the sequence itself.
        """
        needed = -(-tokens // self.model.block_tokens) - len(generation.blocks)
        while self._pool.available < needed:
            last = next(reversed(self._running))
            self._leave(last)
            last.computed, last.seen_at = 0, now
            self._waiting.appendleft(last)
            self.stats.preemptions += 1
            if last is generation:
                return False
        generation.blocks += [self._pool.take() for _ in range(needed)]
        return True
