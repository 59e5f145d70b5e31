"""Answers of the models kept in memory, so that several searches of one problem generate once.

Like a recording this sits between the search and its two protocols, and a search with it is the
same search. It knows more of samples than a recording: what one becomes depends on its limit of
tokens only in where it is cut. So best-of-N at one budget finds the samples of another, and MCTS at
a small budget those of a large one. Ask the large budget first: a sample that was cut off has to be
generated again for a larger limit.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from ..errors import InvalidArgumentError
from ..policy.protocol import Policy, Sample, SampleRequest
from ..reward.protocol import Judgement, Reward, prefix_tokens

__all__ = ["MemoPolicy", "MemoReward", "MemoStats"]

_T = TypeVar("_T")
#: Answers that are kept unless told otherwise: some hundred megabytes.
_MAX_ANSWERS = 200_000


@dataclass(slots=True)
class MemoStats:
    """Samples or judgements, and the tokens in them: generated, and found in the memo."""

    asked: int = 0
    known: int = 0
    asked_tokens: int = 0
    known_tokens: int = 0


class _Shelf(Generic[_T]):
    """Answers by key, and who is asking for which now. The oldest go when there is no room.

    A key has more than one answer where none of them serves all that is asked.
    """

    def __init__(self, max_answers: int) -> None:
        if max_answers < 1:
            raise InvalidArgumentError(f"max_answers={max_answers}: must be at least 1")
        self._max = max_answers
        self._answers: dict[Hashable, tuple[_T, ...]] = {}
        self._asking: dict[Hashable, asyncio.Future[None]] = {}

    def clear(self) -> None:
        self._answers.clear()

    def put(self, key: Hashable, answer: _T) -> None:
        self._answers[key] = (*self._answers.pop(key, ()), answer)
        while len(self._answers) > self._max:
            del self._answers[next(iter(self._answers))]

    async def fill(
        self,
        keys: Sequence[Hashable],
        use: Callable[[_T], _T | None],
        ask: Callable[[list[int]], Awaitable[Sequence[_T]]],
    ) -> tuple[list[_T], set[int]] | None:
        """The answers to `keys`: of what is kept, what `use` makes of it; the rest is asked.

        What another caller is asking at this moment is waited for.

        Returns
        -------
        list
            In the order of the keys.
        set of int
            Which of them were asked.

        None if `ask` brought another number of answers than it should.
        """
        found: dict[int, _T] = {}
        asked: set[int] = set()
        while True:
            mine: dict[Hashable, int] = {}
            others: set[asyncio.Future[None]] = set()
            for index, key in enumerate(keys):
                if index in found:
                    continue
                uses = (use(kept) for kept in self._answers.get(key, ()))
                if (answer := next((a for a in uses if a is not None), None)) is not None:
                    found[index] = answer
                elif key in self._asking:
                    others.add(self._asking[key])
                else:
                    mine.setdefault(key, index)
            if mine:
                indices = list(mine.values())
                done = asyncio.get_running_loop().create_future()
                self._asking.update(dict.fromkeys(mine, done))
                try:
                    answers = await ask(indices)
                finally:
                    # whoever waits looks again: if this was cancelled, it asks itself
                    for key in mine:
                        del self._asking[key]
                    done.set_result(None)
                if len(answers) != len(indices):
                    return None
                for index, answer in zip(indices, answers, strict=True):
                    found[index] = answer
                    self.put(keys[index], answer)
                asked.update(indices)
            elif others:
                await asyncio.wait(others)
            else:
                return [found[index] for index in range(len(keys))], asked


class MemoPolicy:
    """A policy that is asked for each sample once.

    A kept sample answers a request with another limit of tokens where it is known to be what the
    policy would give: if it ended by itself within the new limit, or was cut off at that very
    limit. It is cut to a smaller limit where the ends of its tokens are known; its log-probability
    is then not.

    Parameters
    ----------
    policy : Policy
        Must draw a sample from its seed alone, as engines do that can be seeded.
    max_answers : int
        Samples that are kept.
    """

    def __init__(self, policy: Policy, max_answers: int = _MAX_ANSWERS) -> None:
        self._policy = policy
        self._shelf: _Shelf[Sample] = _Shelf(max_answers)
        self.stats = MemoStats()

    @property
    def name(self) -> str:
        return self._policy.name

    def clear(self) -> None:
        """Forget everything: a problem is done."""
        self._shelf.clear()

    async def sample(self, request: SampleRequest) -> Sequence[Sample]:
        """Draw ``len(request.seeds)`` samples, in the order of the seeds."""
        raw: Sequence[Sample] = ()

        async def ask(indices: list[int]) -> Sequence[Sample]:
            nonlocal raw
            seeds = tuple(request.seeds[i] for i in indices)
            raw = await self._policy.sample(replace(request, seeds=seeds))
            return raw

        limit = request.max_tokens
        keys = [_sample_key(request, seed) for seed in request.seeds]
        filled = await self._shelf.fill(keys, lambda kept: _within(kept, limit), ask)
        if filled is None:
            return raw  # who asked will complain
        samples, asked = filled
        _count(self.stats, samples, asked)
        return samples

    async def aclose(self) -> None:
        await self._policy.aclose()


class MemoReward:
    """A reward model that judges each solution once.

    Parameters
    ----------
    reward : Reward
    max_answers : int
        Judgements that are kept.
    """

    def __init__(self, reward: Reward, max_answers: int = _MAX_ANSWERS) -> None:
        self._reward = reward
        self._shelf: _Shelf[Judgement] = _Shelf(max_answers)
        self.stats = MemoStats()

    @property
    def name(self) -> str:
        return self._reward.name

    @property
    def max_tokens(self) -> int:
        return self._reward.max_tokens

    @property
    def prefix_tokens(self) -> int:
        return prefix_tokens(self._reward)

    def clear(self) -> None:
        """Forget everything: a problem is done."""
        self._shelf.clear()

    async def score(
        self, problem: str, solutions: Sequence[tuple[str, ...]]
    ) -> Sequence[Judgement]:
        """Judge solutions of one problem, in their order."""
        raw: Sequence[Judgement] = ()

        async def ask(indices: list[int]) -> Sequence[Judgement]:
            nonlocal raw
            raw = await self._reward.score(problem, [solutions[i] for i in indices])
            return raw

        keys = [(problem, steps) for steps in solutions]
        filled = await self._shelf.fill(keys, lambda kept: kept, ask)
        if filled is None:
            return raw  # who asked will complain
        judgements, asked = filled
        _count(self.stats, judgements, asked)
        return judgements

    async def aclose(self) -> None:
        await self._reward.aclose()


def _count(stats: MemoStats, answers: Sequence[Sample | Judgement], asked: set[int]) -> None:
    for index, answer in enumerate(answers):
        if index in asked:
            stats.asked += 1
            stats.asked_tokens += answer.num_tokens
        else:
            stats.known += 1
            stats.known_tokens += answer.num_tokens


def _sample_key(request: SampleRequest, seed: int) -> Hashable:
    """All that a sample depends on, but for where it is cut off."""
    return (
        request.problem,
        request.steps,
        request.temperature,
        request.top_p,
        request.stop,
        seed if request.temperature else None,  # greedy samples have no use for it
    )


def _within(kept: Sample, limit: int) -> Sample | None:
    """The same sample with another limit of tokens; None where that cannot be told."""
    ended = kept.finish_reason != "length"
    if kept.num_tokens == limit or (ended and kept.num_tokens < limit):
        return kept
    if kept.num_tokens < limit or len(kept.ends) != kept.num_tokens:
        return None
    end, before = kept.ends[limit - 1], kept.ends[limit - 2] if limit > 1 else 0
    # A token that adds no text may hold a part of a character; and of a stop string that was cut
    # off, or of a last character that never came, the text before them does not tell.
    if end == before or end == len(kept.text):
        return None
    return Sample(
        text=kept.text[:end],
        num_tokens=limit,
        finish_reason="length",
        logprob=math.nan,
        ends=kept.ends[:limit],
        token_ids=kept.token_ids[:limit],
    )
