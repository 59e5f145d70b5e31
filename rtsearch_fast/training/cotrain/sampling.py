"""Sample solutions of questions, as a search samples them, and mark them right or wrong."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence

from ...evaluation.data import Item
from ...evaluation.grade import Grader
from ...policy.protocol import Policy
from ...reward.protocol import Judgement, Reward
from ...search.options import Budget, SearchOptions
from ...search.records import SearchResult
from ...search.searcher import Searcher
from ..harvest import harvest_results
from ..progress import duration
from ..samples import Sampled
from .settings import CotrainSettings

__all__ = ["NoReward", "sample_solutions"]

#: Seconds between two lines of progress.
_EVERY = 20.0


class NoReward:
    """Gives no verdicts: for sampling before there is a reward model."""

    name = "none"
    max_tokens = 1

    async def score(
        self, problem: str, solutions: Sequence[tuple[str, ...]]
    ) -> Sequence[Judgement]:
        """No verdict on each."""
        return [Judgement(float("nan"), 0) for _ in solutions]

    async def aclose(self) -> None:
        """Nothing is held."""


async def sample_solutions(
    items: Sequence[Item],
    policy: Policy,
    reward: Reward,
    settings: CotrainSettings,
    *,
    samples: int,
    greedy: bool = False,
    quiet: bool = False,
) -> list[Sampled]:
    """Draw solutions of each problem and grade them.

    The steps are what a search would have: cut at their headers, arithmetic corrected.
    """
    options = SearchOptions(
        temperature=settings.temperature,
        max_solution_tokens=settings.max_solution_tokens,
        max_step_tokens=settings.max_solution_tokens,
        seed=settings.seed,
        in_flight=samples,
    )
    searcher = Searcher(
        policy,
        reward,
        method="cot" if greedy else "best_of_n",
        budget=Budget(simulations=1 if greedy else samples),
        options=options,
        sequences=settings.sequences,
    )
    results: list[SearchResult] = []
    tokens = 0
    began = told = time.monotonic()
    async for result in searcher.stream([item.problem for item in items]):
        results.append(result)
        tokens += result.usage.tokens
        now = time.monotonic()
        if now - told > _EVERY and not quiet:
            told = now
            left = (now - began) / len(results) * (len(items) - len(results))
            print(
                f"  sampled {len(results)} of {len(items)} questions, "
                f"{tokens / (now - began):.0f} tokens/s, {duration(left)} left",
                file=sys.stderr,
                flush=True,
            )
        await asyncio.sleep(0)
    place = {item.problem.unique_id: i for i, item in enumerate(items)}
    results.sort(key=lambda result: place[result.problem.unique_id])
    with Grader() as grader:
        return harvest_results(results, items, grader)
