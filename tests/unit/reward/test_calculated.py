"""A reward model that is shown corrected arithmetic."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rtsearch_fast import Judgement
from rtsearch_fast.reward.calculated import CalculatedReward, with_corrections


class Recorder:
    name = "recorder"
    max_tokens = 3

    def __init__(self) -> None:
        self.seen: list[tuple[str, ...]] = []
        self.closed = False

    async def score(
        self, problem: str, solutions: Sequence[tuple[str, ...]]
    ) -> Sequence[Judgement]:
        self.seen += solutions
        return [Judgement(0.5, 3) for _ in solutions]

    async def aclose(self) -> None:
        self.closed = True


def test_with_corrections_when_sums_are_right_changes_nothing() -> None:
    steps = ("## Step 1: 3+4=7\n\n", "## Answer\n\\boxed{7}")
    assert with_corrections(steps) == steps


def test_with_corrections_when_a_sum_is_wrong_puts_it_right() -> None:
    shown = with_corrections(("## Step 1: 3+4=8\n\n", "## Answer\n\\boxed{8}"))
    assert shown == ("## Step 1: 3+4=7\n\n", "## Answer\n\\boxed{8}")
    assert with_corrections(shown) == shown


def test_calculated_reward_when_asked_shows_corrected_steps_and_passes_verdicts_on() -> None:
    inner = Recorder()
    reward = CalculatedReward(inner)
    judged = asyncio.run(reward.score("?", [("## Step 1: 1+1=3\n\n",), ("## Step 1: 1+1=2\n\n",)]))
    assert [judgement.num_tokens for judgement in judged] == [3, 3]
    assert inner.seen == [("## Step 1: 1+1=2\n\n",), ("## Step 1: 1+1=2\n\n",)]
    assert (reward.max_tokens, reward.name) == (3, "recorder/calculator")
    asyncio.run(reward.aclose())
    assert inner.closed
