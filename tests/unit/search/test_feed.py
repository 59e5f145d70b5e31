"""Problems that are put while others are under search."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing

import pytest
from toy_models import ToyPolicy, ToyReward, toy_problem

from rtsearch_fast import Budget, Problem, Searcher, SearchResult
from rtsearch_fast.errors import InvalidArgumentError
from rtsearch_fast.search.feed import Feed

PROBLEMS = [Problem(str(i), toy_problem(random.Random(i), 3)) for i in range(6)]
PATIENCE = 60  # seconds; only a search that hangs comes near


def searcher(policy: ToyPolicy | None = None, **more: object) -> Searcher:
    settings = {"budget": Budget(tokens=200), "concurrency": 3, **more}
    return Searcher(policy or ToyPolicy(), ToyReward(), **settings)


def signatures(results: list[SearchResult]) -> dict[str, str]:
    return {result.problem.unique_id: result.signature for result in results}


def test_feed_when_problems_are_put_one_after_the_other_gives_the_results_of_a_list() -> None:
    expected = signatures(asyncio.run(searcher().solve_async(PROBLEMS)))

    async def fed() -> list[SearchResult]:
        feed = Feed()
        feed.put(PROBLEMS[0])
        results = []
        async for result in searcher().stream(feed):
            results.append(result)
            if len(results) < len(PROBLEMS):
                feed.put(PROBLEMS[len(results)])  # only now, when nothing else is under way
            else:
                feed.close()
        return results

    found = asyncio.run(asyncio.wait_for(fed(), PATIENCE))
    assert signatures(found) == expected
    assert [result.problem for result in found] == PROBLEMS


def test_feed_when_filled_from_another_task_wakes_a_search_that_waits() -> None:
    async def fed() -> list[SearchResult]:
        feed = Feed()

        async def fill() -> None:
            for problem in PROBLEMS:
                for _ in range(50):
                    await asyncio.sleep(0)
                feed.put(problem)
            feed.close()

        filling = asyncio.ensure_future(fill())
        results = [result async for result in searcher(ToyPolicy(delay_seed=1)).stream(feed)]
        await filling
        return results

    found = asyncio.run(asyncio.wait_for(fed(), PATIENCE))
    assert sorted(signatures(found)) == [problem.unique_id for problem in PROBLEMS]


def test_feed_when_closed_empty_ends_the_search() -> None:
    async def fed() -> list[SearchResult]:
        feed = Feed()
        asyncio.get_running_loop().call_later(0.01, feed.close)
        return [result async for result in searcher().stream(feed)]

    assert asyncio.run(asyncio.wait_for(fed(), PATIENCE)) == []


def test_feed_when_open_and_empty_under_a_budget_of_seconds_waits_for_problems() -> None:
    async def fed() -> list[SearchResult]:
        feed = Feed()
        loop = asyncio.get_running_loop()
        loop.call_later(0.01, feed.put, PROBLEMS[0])
        loop.call_later(0.02, feed.close)
        limited = searcher(budget=Budget(tokens=200, seconds=PATIENCE))
        return [result async for result in limited.stream(feed)]

    assert len(asyncio.run(asyncio.wait_for(fed(), PATIENCE))) == 1


def test_feed_when_the_engine_is_full_keeps_its_problems() -> None:
    policy = ToyPolicy()

    async def fed() -> int:
        feed = Feed()
        for problem in PROBLEMS:
            feed.put(problem)
        feed.close()
        async with aclosing(searcher(policy, concurrency=1).stream(feed)) as results:
            await anext(results)
            return feed.taken

    assert asyncio.run(asyncio.wait_for(fed(), PATIENCE)) == 1
    assert {request.problem for request in policy.requests} == {PROBLEMS[0].problem}


def test_feed_when_its_reader_goes_away_leaves_no_task_behind() -> None:
    async def fed() -> set[asyncio.Task[object]]:
        before = asyncio.all_tasks()
        feed = Feed()
        for problem in PROBLEMS[:3]:
            feed.put(problem)
        async with aclosing(searcher(ToyPolicy(delay_seed=1)).stream(feed)) as results:
            await anext(results)
        return asyncio.all_tasks() - before

    assert asyncio.run(asyncio.wait_for(fed(), PATIENCE)) == set()


def test_feed_when_put_after_its_close_refuses_the_problem_by_name() -> None:
    feed = Feed()
    feed.close()
    with pytest.raises(InvalidArgumentError, match="problem 0: the feed is closed"):
        feed.put(PROBLEMS[0])


def test_feed_when_a_problem_is_begun_tells_whoever_fills_it() -> None:
    told: list[int] = []
    feed = Feed(on_take=lambda: told.append(feed.taken))
    feed.put(PROBLEMS[0])
    assert feed.take() == PROBLEMS[0] and feed.take() is None
    assert told == [1]
