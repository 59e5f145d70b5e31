"""Functions of another framework as policy and reward model, alone and under a search."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from toy_models import ToyPolicy, ToyReward

from rtsearch_fast import Budget, Judgement, SampleRequest, Searcher
from rtsearch_fast.adapters.foreign import (
    Continuation,
    ForeignPolicy,
    ForeignReward,
    Gathered,
    why_ended,
)
from rtsearch_fast.errors import AnswerFormatError, EngineError, InvalidArgumentError


def request(seeds: int = 1, max_tokens: int = 20, stop: tuple[str, ...] = ("\n",)) -> SampleRequest:
    return SampleRequest("1 2", (), tuple(range(seeds)), max_tokens, stop=stop)


def sampled(policy: ForeignPolicy, asked: SampleRequest | None = None) -> Any:
    (sample,) = asyncio.run(policy.sample(asked or request()))
    return sample


def judged(function: Any, **settings: Any) -> Judgement:
    reward = ForeignReward("judge", function, **settings)
    (judgement,) = asyncio.run(reward.score("1 2", [("a", "b")]))
    return judgement


# --- under a search ----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["best_of_n", "beam", "mcts", "mcts_g"])
def test_search_when_its_models_are_foreign_is_the_one_over_the_models_themselves(
    method: str,
) -> None:
    policy, reward = ToyPolicy(), ToyReward()

    async def awaited(asked: SampleRequest) -> list[Continuation]:
        samples = await policy.sample(asked)
        return [Continuation(s.text, s.num_tokens, s.finish_reason) for s in samples]

    def blocking(asked: SampleRequest) -> list[Continuation]:
        return asyncio.run(awaited(asked))

    def together(asked: list[SampleRequest]) -> list[list[Continuation]]:
        return [blocking(one) for one in asked]

    def score(problem: str, solutions: Sequence[tuple[str, ...]]) -> list[Judgement]:
        return list(asyncio.run(reward.score(problem, solutions)))

    def solve(policy: Any, reward: Any) -> Any:
        searcher = Searcher(policy, reward, method=method, budget=Budget(tokens=600))
        return searcher.solve("3 5 9 12")

    wanted = solve(policy, reward)
    judge = ForeignReward("judge", score, max_tokens=reward.max_tokens, threads=2)
    for function in (awaited, blocking, Gathered(together)):
        foreign = ForeignPolicy("toy", function, threads=2)
        found = solve(foreign, judge)
        assert (found.signature, found.usage) == (wanted.signature, wanted.usage)
        asyncio.run(foreign.aclose())
    asyncio.run(judge.aclose())


def test_budget_of_tokens_when_nothing_is_counted_is_not_exceeded() -> None:
    policy = ToyPolicy()

    async def uncounted(asked: SampleRequest) -> list[Continuation]:
        samples = await policy.sample(asked)
        return [Continuation(s.text, finish_reason=s.finish_reason) for s in samples]

    searcher = Searcher(
        ForeignPolicy("toy", uncounted), ToyReward(), method="mcts_g", budget=Budget(tokens=900)
    )
    result = searcher.solve("3 5 9 12")
    assert result.answer == "29"
    assert policy.tokens_per_step * result.usage.policy_samples < result.usage.tokens <= 900


# --- policies ----------------------------------------------------------------------------


def test_tokens_when_not_counted_are_the_most_that_the_text_can_be() -> None:
    policy = ForeignPolicy("p", lambda asked: [Continuation("3 + é")])
    assert sampled(policy).num_tokens == 7  # six bytes and the end
    assert sampled(policy, request(max_tokens=5)).num_tokens == 5
    counting = ForeignPolicy("p", lambda asked: [Continuation("3 + 4")], count=lambda t: len(t) - 2)
    assert sampled(counting).num_tokens == 3


@pytest.mark.parametrize(
    ("continuation", "stop", "reason"),
    [
        (Continuation("a", 3, "length"), ("\n",), "length"),
        (Continuation("a", 20), ("\n",), "length"),
        (Continuation("a" * 30), ("\n",), "stop"),  # an upper bound says nothing about length
        (Continuation("a", 3), ("\n",), "stop"),
        (Continuation("", 1), ("\n",), "eos"),
        (Continuation("a", 3), (), "eos"),
    ],
)
def test_finish_reason_when_told_or_not_is_what_the_notes_say(
    continuation: Continuation, stop: tuple[str, ...], reason: str
) -> None:
    policy = ForeignPolicy("p", lambda asked: [continuation])
    assert sampled(policy, request(stop=stop)).finish_reason == reason


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        ({"finish_reason": "length"}, "length"),
        ({"finish_reason": "stop", "stop_reason": "\n"}, "stop"),
        ({"finish_reason": "stop", "matched_stop": 151645}, "eos"),
        ({"finish_reason": "stop"}, None),
        ({"finish_reason": "tool_calls"}, "eos"),
        ({}, None),
    ],
)
def test_end_of_a_choice_when_read_is_told_or_left_open(
    choice: dict[str, Any], reason: str | None
) -> None:
    assert why_ended(choice) == reason


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "p returned 'None': return a list of 1"),
        ([], "p returned 0 answers, 1 were asked: return one for each"),
        (["text"], "p returned 'text': return a Continuation, its text a str"),
        ([Continuation("a", -1)], "p counted -1 tokens of 'a'"),
    ],
)
def test_policy_when_the_answer_is_of_a_wrong_shape_says_which(answer: Any, message: str) -> None:
    with pytest.raises(AnswerFormatError) as error:
        sampled(ForeignPolicy("p", lambda asked: answer))
    assert str(error.value) == message


class Several(Exception):
    """As the standard library's ExceptionGroup, which Python 3.10 lacks."""

    exceptions = (ConnectionError("connection\nrefused"), ValueError("another"))


@pytest.mark.parametrize(
    ("error", "cause", "message"),
    [
        (ValueError("too\nlong"), OSError("below"), "p: ValueError: too long"),
        (Several("2 errors"), None, "p: ConnectionError: connection refused"),
        (RuntimeError("2 errors"), Several(), "p: ConnectionError: connection refused"),
    ],
)
def test_policy_when_the_function_fails_names_the_error_or_the_first_of_several(
    error: Exception, cause: Exception | None, message: str
) -> None:
    def fails(asked: SampleRequest) -> list[Continuation]:
        raise error from cause

    with pytest.raises(EngineError) as caught:
        sampled(ForeignPolicy("p", fails))
    assert str(caught.value) == message
    assert caught.value.__cause__ is error


def test_policy_when_the_function_writes_one_at_a_time_asks_side_by_side() -> None:
    asked, together = [], threading.Barrier(3, timeout=30)

    def write(request: SampleRequest) -> list[Continuation]:
        asked.append(request.seeds)
        together.wait()
        return [Continuation(f"{request.seeds[0]}")]

    policy = ForeignPolicy("p", write, single=True, threads=3)
    samples = asyncio.run(policy.sample(request(seeds=3)))
    assert [sample.text for sample in samples] == ["0", "1", "2"]
    assert sorted(asked) == [(0,), (1,), (2,)]
    asyncio.run(policy.aclose())


def test_policy_when_cancelled_leaves_what_waits_for_a_thread() -> None:
    release, calls = threading.Event(), []

    def slow(asked: SampleRequest) -> list[Continuation]:
        calls.append(asked)
        release.wait(30)
        return [Continuation("a")]

    async def run() -> None:
        policy = ForeignPolicy("p", slow)
        first, second = (asyncio.ensure_future(policy.sample(request())) for _ in range(2))
        while not calls:
            await asyncio.sleep(0.001)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        release.set()
        assert len(await first) == 1
        await policy.aclose()

    asyncio.run(run())
    assert len(calls) == 1


# --- gathered questions --------------------------------------------------------------------


def test_gathered_when_a_call_is_under_way_sends_the_others_together() -> None:
    batches = []

    def square(numbers: list[int]) -> list[int]:
        batches.append(numbers)
        time.sleep(0.01)
        return [number**2 for number in numbers]

    async def run() -> list[int]:
        gathered = Gathered(square, most=3)

        async def later(number: int) -> int:
            while not batches:
                await asyncio.sleep(0.001)
            return await gathered(number)

        return await asyncio.gather(gathered(1), *map(later, (2, 3, 4, 5)))

    assert asyncio.run(run()) == [1, 4, 9, 16, 25]
    assert batches == [[1], [2, 3, 4], [5]]


def test_gathered_when_the_function_fails_tells_all_and_goes_on() -> None:
    async def invert(numbers: list[int]) -> list[float]:
        return [1 / number for number in numbers]

    async def run() -> None:
        gathered = Gathered(invert)
        errors = await asyncio.gather(gathered(0), gathered(2), return_exceptions=True)
        assert [type(error) for error in errors] == [EngineError, EngineError]
        assert await gathered(4) == 0.25

    asyncio.run(run())


# --- reward models -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "score"),
    [
        (1, 1.0),
        (np.float32(0.5), 0.5),
        (np.array(0.25), 0.25),
        ([0.25, 0.75], 0.75),
        (np.array([0.25, 0.5]), 0.5),
        (None, math.nan),
    ],
)
def test_score_when_given_as_a_number_or_steps_is_read(verdict: Any, score: float) -> None:
    judgement = judged(lambda problem, solutions: [verdict], max_tokens=3)
    assert judgement.score == pytest.approx(score, abs=0, nan_ok=True)
    assert judgement.num_tokens == 3


def test_score_when_of_steps_is_aggregated_as_asked() -> None:
    def steps(problem: str, solutions: Sequence[tuple[str, ...]]) -> list[list[float]]:
        return [[0.25, 0.75]]

    assert judged(steps, aggregation="min").score == 0.25
    assert judged(steps, aggregation="mean").score == 0.5


@pytest.mark.parametrize(
    ("verdict", "message"),
    [
        (1.5, "judge gave the score 1.5: scale scores to [0, 1], and give None for no verdict"),
        (
            math.nan,
            "judge gave the score nan: scale scores to [0, 1], and give None for no verdict",
        ),
        ([0.5, -1], "judge gave the score -1.0: scale scores to [0, 1]"),
        ("0.5", "judge gave '0.5': a verdict is a number in [0, 1], one for each step, or None"),
        ([], "judge gave []: a verdict is a number in [0, 1], one for each step, or None"),
        (["x"], "judge gave 'x': a verdict is a number in [0, 1], one for each step, or None"),
    ],
)
def test_score_when_it_is_none_at_all_is_refused_by_name(verdict: Any, message: str) -> None:
    with pytest.raises(AnswerFormatError) as error:
        judged(lambda problem, solutions: [verdict])
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("settings", [{"threads": 0}, {"max_tokens": -1}, {"aggregation": "best"}])
def test_reward_when_a_setting_is_out_of_range_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(settings))):
        judged(lambda problem, solutions: [0.5], **settings)
