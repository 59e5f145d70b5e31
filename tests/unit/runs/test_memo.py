"""The memo: the same searches as without it, and nothing generated twice."""

from __future__ import annotations

import asyncio
import math
import random
from typing import Any

import pytest
from toy_models import ToyPolicy, ToyReward, toy_problem
from toy_text import POLICY_TEMPLATE, ToyEngine

from rtsearch_fast import Budget, Problem, Sample, SampleRequest, Searcher, SearchOptions
from rtsearch_fast.engine.template import Template
from rtsearch_fast.errors import InvalidArgumentError
from rtsearch_fast.policy.prompt import PromptTemplate
from rtsearch_fast.policy.prompted import PromptedPolicy
from rtsearch_fast.runs.memo import MemoPolicy, MemoReward

PROBLEMS = [Problem(f"toy/{i}", toy_problem(random.Random(i), 4)) for i in range(3)]
METHODS = ("cot", "best_of_n", "majority", "weighted_majority", "beam", "mcts", "mcts_g")


class Counting(ToyEngine):
    def __init__(self) -> None:
        self.asked: list[tuple[str, int, float]] = []

    async def complete(self, request):
        self.asked += [(request.prompt, seed, request.temperature) for seed in request.seeds]
        return await super().complete(request)


def text_policy(engine: Any = None) -> PromptedPolicy:
    template = PromptTemplate(Template("toy", POLICY_TEMPLATE))
    return PromptedPolicy(engine or Counting(), template)


def search(policy: Any, reward: Any, method: str, tokens: int, **options: Any) -> list[str]:
    searcher = Searcher(
        policy,
        reward,
        method=method,
        budget=Budget(tokens=tokens),
        options=SearchOptions(max_solution_tokens=90, max_step_tokens=40, **options),
    )
    return [result.signature for result in asyncio.run(searcher.solve_async(PROBLEMS))]


@pytest.mark.parametrize("make", [text_policy, ToyPolicy], ids=["text", "steps"])
@pytest.mark.parametrize("seed", range(4))
def test_searches_with_a_memo_are_the_same(make, seed: int) -> None:
    rng = random.Random(seed)
    policy, reward = MemoPolicy(make()), MemoReward(ToyReward(delay_seed=seed))
    for _ in range(40):
        method, tokens = rng.choice(METHODS), rng.randrange(20, 700)
        options = {
            "width": rng.choice([2, 3]),
            "in_flight": rng.choice([1, 2]),
            "request": rng.choice(["auto", "step"]),
            "value": rng.choice(["rollout", "mix"]),
            "calculator": rng.random() < 0.5,
            "seed": rng.randrange(2),
        }
        with_memo = search(policy, reward, method, tokens, **options)
        assert with_memo == search(make(), ToyReward(), method, tokens, **options), options
    assert policy.stats.known > policy.stats.asked / 2 and reward.stats.known > 0


def test_small_budgets_find_the_samples_of_large_ones() -> None:
    engine = Counting()
    policy, reward = MemoPolicy(text_policy(engine)), MemoReward(ToyReward())
    for method in ("best_of_n", "majority", "weighted_majority"):
        for tokens in (800, 400, 200, 100):
            search(policy, reward, method, tokens)
    assert len(engine.asked) == len(set(engine.asked)) == policy.stats.asked
    for method in ("mcts", "mcts_g"):
        search(policy, reward, method, 800, in_flight=1)
        before = policy.stats.asked
        search(policy, reward, method, 400, in_flight=1)
        # of the first half all but what its end cuts short is known
        assert policy.stats.asked - before <= 2 * len(PROBLEMS)


def test_concurrent_searches_ask_once() -> None:
    engine = Counting()
    policy = MemoPolicy(text_policy(engine))

    async def both() -> list[list[str]]:
        searchers = [
            Searcher(policy, ToyReward(), method=method, budget=Budget(tokens=400))
            for method in ("best_of_n", "majority", "best_of_n")
        ]
        results = await asyncio.gather(*(s.solve_async(PROBLEMS) for s in searchers))
        return [[result.signature for result in of] for of in results]

    first, second, third = asyncio.run(both())
    assert first == second == third
    assert len(engine.asked) == len(set(engine.asked))


# --- limits ------------------------------------------------------------------------------


class Fixed:
    """Gives one sample, and keeps the limits that it was asked with."""

    name = "fixed"

    def __init__(self, *samples: Sample) -> None:
        self.samples = list(samples)
        self.limits: list[int] = []

    async def sample(self, request: SampleRequest) -> list[Sample]:
        self.limits.append(request.max_tokens)
        return [self.samples[min(len(self.limits), len(self.samples)) - 1] for _ in request.seeds]


def ask(policy: MemoPolicy, limit: int, *seeds: int, **settings: Any) -> list[Sample]:
    request = SampleRequest("1 2 3", ("##",), seeds or (1,), limit, **settings)
    return list(asyncio.run(policy.sample(request)))


LONG = Sample("abcdef", 4, "stop", -1.0, (1, 1, 5, 6), (7, 8, 9, 10))


@pytest.mark.parametrize(
    ("kept", "limit", "known"),
    [
        (Sample("abc", 3, "eos"), 3, True),
        (Sample("abc", 3, "eos"), 9, True),
        (Sample("abc", 3, "eos"), 2, False),  # where its tokens end is not told
        (Sample("abc", 3, "length"), 3, True),
        (Sample("abc", 3, "length"), 4, False),
        (LONG, 3, True),
        (LONG, 2, False),  # the second token is a part of a character
        (LONG, 1, True),
        (Sample("abc", 4, "stop", -1.0, (1, 2, 3, 3)), 3, False),  # may be in the stop string
        (Sample("abc", 4, "stop", -1.0, (1, 2, 3, 3)), 2, True),
        (Sample("bc", 2, "length", -1.0, (0, 2)), 1, False),
    ],
)
def test_kept_sample_serves_another_limit_only_where_that_is_exact(kept, limit, known) -> None:
    inner = Fixed(kept, Sample("new", 1, "eos"))
    policy = MemoPolicy(inner)
    ask(policy, kept.num_tokens)
    (sample,) = ask(policy, limit)
    assert len(inner.limits) == (1 if known else 2)
    if known and kept.num_tokens > limit:
        assert (sample.text, sample.num_tokens) == (kept.text[: kept.ends[limit - 1]], limit)
        assert (sample.finish_reason, math.isnan(sample.logprob)) == ("length", True)
        assert (sample.ends, sample.token_ids) == (kept.ends[:limit], kept.token_ids[:limit])
    elif known:
        assert sample is kept


def test_short_sample_does_not_replace_a_long_one() -> None:
    inner = Fixed(Sample("abcdef", 6, "eos"), Sample("ab", 2, "length"))
    policy = MemoPolicy(inner)
    texts = [ask(policy, limit)[0].text for limit in (9, 2, 9, 2)]
    assert texts == ["abcdef", "ab", "abcdef", "ab"] and inner.limits == [9, 2]


def test_only_missing_seeds_are_asked_and_greedy_ones_once() -> None:
    engine = Counting()
    policy = MemoPolicy(text_policy(engine))
    both = ask(policy, 20, 1, 2)
    assert ask(policy, 20, 3, 2, 1)[1:] == both[::-1]
    assert [seed for _, seed, _ in engine.asked] == [1, 2, 3]
    ask(policy, 20, 4, 5, temperature=0.0)
    ask(policy, 20, 6, temperature=0.0)
    assert len(engine.asked) == 4
    ask(policy, 20, 1, stop=("\n",))
    ask(policy, 20, 1, temperature=0.5)
    assert len(engine.asked) == 6


def test_memo_when_full_forgets_the_oldest() -> None:
    engine = Counting()
    policy = MemoPolicy(text_policy(engine), max_answers=2)
    for seed in (1, 2, 3, 3, 2, 1):
        ask(policy, 20, seed)
    assert [seed for _, seed, _ in engine.asked] == [1, 2, 3, 1]
    policy.clear()
    ask(policy, 20, 1)
    assert len(engine.asked) == 5
    with pytest.raises(InvalidArgumentError, match="max_answers=0"):
        MemoPolicy(text_policy(), max_answers=0)


def test_waiting_caller_asks_itself_if_the_first_is_cancelled() -> None:
    class Slow(ToyPolicy):
        async def sample(self, request):
            self.requests.append(request)
            await asyncio.sleep(0.05)
            return [self._one(request, seed) for seed in request.seeds]

    async def run(inner: Slow) -> Any:
        policy = MemoPolicy(inner)
        request = SampleRequest("1 2", ("##",), (1,), 20)
        first = asyncio.ensure_future(policy.sample(request))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(policy.sample(request))
        await asyncio.sleep(0)
        first.cancel()
        return await second

    inner = Slow()
    (sample,) = asyncio.run(run(inner))
    assert sample.text and len(inner.requests) == 2


def test_wrong_number_of_answers_reaches_who_asked() -> None:
    class Short(ToyPolicy):
        async def sample(self, request):
            return (await super().sample(request))[1:]

    policy = MemoPolicy(Short())
    request = SampleRequest("1 2", ("##",), (1, 2), 20)
    assert len(asyncio.run(policy.sample(request))) == 1
    assert policy.stats.asked == 0
