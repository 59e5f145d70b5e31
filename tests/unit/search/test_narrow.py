"""Searches at the end of their budget: fewer children instead of many that are cut off."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest
from toy_models import ToyPolicy, ToyReward, toy_problem

from rtsearch_fast import Budget, Searcher, SearchOptions, SearchResult

PROBLEMS = [toy_problem(random.Random(i), 4) for i in range(6)]  # solutions of 40 tokens


class DearReward(ToyReward):
    """Judgements that cost as much as a solution, as those that are written out do."""

    max_tokens = 50

    async def score(self, problem, solutions):
        judgements = await super().score(problem, solutions)
        return [replace(judgement, num_tokens=45) for judgement in judgements]


def search(
    method: str, tokens: int, reward: ToyReward | None = None, **options: object
) -> list[SearchResult]:
    settings = {"max_solution_tokens": 50, "max_step_tokens": 12, "narrow": True, **options}
    searcher = Searcher(
        ToyPolicy(),
        reward or ToyReward(),
        method=method,
        budget=Budget(tokens=tokens),
        options=SearchOptions(**settings),  # type: ignore[arg-type]
    )
    return asyncio.run(searcher.solve_async(PROBLEMS))


@pytest.mark.parametrize("method", ["mcts", "mcts_g"])
@pytest.mark.parametrize("in_flight", [1, 2])
@pytest.mark.parametrize("tokens", [45, 90, 130, 170, 300, 700])
def test_tree_search_uses_a_small_budget_for_whole_solutions(method, in_flight, tokens):
    for result in search(method, tokens, in_flight=in_flight):
        assert result.answer is not None
        assert all(candidate.finished for candidate in result.candidates)
        assert result.usage.tokens <= tokens
        # a tree without an open leaf has no use for more
        assert result.stop_reason == "exhausted" or result.usage.tokens > tokens - 41 - 10


@pytest.mark.parametrize("method", ["mcts", "mcts_g"])
@pytest.mark.parametrize("tokens", [150, 400, 600, 1000])
def test_tree_search_when_judgements_are_dear_narrows_instead_of_stopping(method, tokens):
    for result in search(method, tokens, DearReward(), width=6, value="rollout", in_flight=1):
        assert all(candidate.finished for candidate in result.candidates)
        # less is left than a solution and its judgement need
        assert result.stop_reason == "exhausted" or tokens - 40 - 50 < result.usage.tokens <= tokens


def test_tree_search_without_it_cuts_all_children_off():
    assert all(result.answer is None for result in search("mcts_g", 130, narrow=False))


@pytest.mark.parametrize("method", ["cot", "best_of_n", "beam"])
def test_methods_without_rollouts_do_not_change(method):
    found = [[r.signature for r in search(method, 300, narrow=n)] for n in (False, True)]
    assert found[0] == found[1]
