"""Reward models that judge beginnings at once, and write a check of what is finished."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest
from toy_models import ToyPolicy, ToyReward, toy_problem

from rtsearch_fast import Budget, Judgement, Searcher, SearchOptions, SearchResult
from rtsearch_fast.answers import final_answer
from rtsearch_fast.reward.protocol import prefix_tokens

PROBLEMS = [toy_problem(random.Random(i), 4) for i in range(8)]  # solutions of 40 tokens
CHECK = 60


class Checker(ToyReward):
    """The toy reward; its checks of solutions with an answer take up to `CHECK` tokens."""

    max_tokens = CHECK
    prefix_tokens = 1

    async def score(
        self, problem: str, solutions: Sequence[tuple[str, ...]]
    ) -> Sequence[Judgement]:
        judged = await super().score(problem, solutions)
        return [
            Judgement(each.score, 1 if final_answer("".join(steps)) is None else CHECK - 7)
            for each, steps in zip(judged, solutions, strict=True)
        ]


class Reserved(Checker):
    """As dear, and says so of everything."""

    prefix_tokens = CHECK


def search(reward: ToyReward, tokens: int, method: str = "mcts_g", **more: object):
    settings = {"value": "prefix", "width": 6, "max_step_tokens": 12, "in_flight": 1, **more}
    searcher = Searcher(
        ToyPolicy(),
        reward,
        method=method,
        budget=Budget(tokens=tokens),
        options=SearchOptions(**settings),  # type: ignore[arg-type]
    )
    results: list[SearchResult] = asyncio.run(searcher.solve_async(PROBLEMS))
    return results


def test_prefix_tokens_when_not_told_are_those_of_any_judgement() -> None:
    assert prefix_tokens(ToyReward()) == 1
    assert prefix_tokens(Checker()) == 1 and prefix_tokens(Reserved()) == CHECK


@pytest.mark.parametrize("method", ["mcts", "mcts_g", "beam"])
@pytest.mark.parametrize("tokens", [60, 130, 200, 350, 500, 900, 3000])
def test_budget_when_verdicts_are_dear_is_never_exceeded(method: str, tokens: int) -> None:
    for result in search(Checker(), tokens, method):
        assert result.usage.tokens <= tokens


def test_small_budget_when_only_finished_solutions_are_dear_finds_answers() -> None:
    """Six children with a check each would be 360 tokens held back, of which none are used."""
    assert all(result.usage.tokens == 0 for result in search(Reserved(), 400))
    found = search(Checker(), 400)
    assert sum(result.answer is not None for result in found) >= 6


def test_finished_solutions_beyond_the_claim_are_kept_without_a_verdict() -> None:
    candidates = [
        candidate
        for tokens in (900, 1000, 1100)
        for result in search(Checker(), tokens, deduplicate=False)
        for candidate in result.candidates
        if candidate.answer is not None
    ]
    unjudged = [candidate for candidate in candidates if candidate.score != candidate.score]
    assert 0 < len(unjudged) < len(candidates)


def test_search_when_answers_come_in_any_order_is_the_same() -> None:
    trees = {tuple(r.signature for r in search(Checker(delay_seed=seed), 500)) for seed in range(4)}
    assert len(trees) == 1
