"""its_hub's best-of-N and beam search with its own algorithms and with ours, one import apart.

Prints, for each: whether all results are the same, model calls, processor time outside the models
(of the original, of ours, and their ratio: above 1 ours takes less), and seconds of both with a
language model that takes 5 ms a token. Then how many of the problems each search solves, and what
it asked.

    python bench/frameworks/its_hub.py [--problems 20] [--repeats 7]
"""

# ruff: noqa: E402 - the path is put right before the framework is imported
from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections import Counter
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # the folder of this file would hide the framework

from frameworks.chat_server import chance, judge, solve_on
from its_hub import BestOfN, LMOrchestrator, StepGeneration
from its_hub.api import (
    AbstractLanguageModel,
    AbstractOutcomeRewardModel,
    AbstractProcessRewardModel,
)
from its_hub.core.algorithms.beam_search import BeamSearch

from rtsearch_fast.adapters import its_hub as ours


class Model(AbstractLanguageModel):
    """Adds numbers; answers depend on the conversation and how often it came before."""

    def __init__(self, seconds_a_token: float = 0.0) -> None:
        self.asked: Counter[object] = Counter()
        self.seconds = 0.0
        self.seconds_a_token = seconds_a_token

    async def agenerate_single(self, messages, stop=None, **_):
        begin = time.process_time()
        problem = messages[0].content
        written = messages[1].content if len(messages) > 1 else ""
        number = self.asked[problem, written]
        self.asked[problem, written] += 1
        text = solve_on(problem, written, number)
        if stop is not None:
            text = text.partition(stop)[0]
        self.seconds += time.process_time() - begin
        if self.seconds_a_token:  # steps of one model differ a lot in length
            tokens = len(text.split()) * (0.5 + 4 * chance(text, number) ** 3)
            await asyncio.sleep(self.seconds_a_token * tokens)
        return {"role": "assistant", "content": text}

    async def agenerate(self, messages, stop=None, **_):
        if isinstance(messages[0], list):
            return list(
                await asyncio.gather(*(self.agenerate_single(one, stop) for one in messages))
            )
        return await self.agenerate_single(messages, stop)


class Judge:
    """Judges texts; in batches, of which each takes its time."""

    def __init__(self, seconds_a_batch: float = 0.0) -> None:
        self.judged = 0
        self.seconds = 0.0
        self.seconds_a_batch = seconds_a_batch

    async def judge(self, texts):
        begin = time.process_time()
        scores = [judge(text) for text in texts]
        self.judged += len(texts)
        self.seconds += time.process_time() - begin
        if self.seconds_a_batch:
            await asyncio.sleep(self.seconds_a_batch * (0.5 + len(texts) / 32))
        return scores


class Process(Judge, AbstractProcessRewardModel):
    def score(self, prompt, texts):
        return asyncio.run(self.judge(texts))

    async def ascore(self, prompt, texts):
        return await self.judge(texts)


class Outcome(Judge, AbstractOutcomeRewardModel):
    def score(self, messages, **_):
        return asyncio.run(self.ascore(messages))

    async def ascore(self, messages, orchestrator=None, **_):
        return await self.judge([conversation[-1].content for conversation in messages])


STEPS = StepGeneration(12, step_token="\n\n", stop_token="\\boxed")


def original_best_of_n(reward):
    return BestOfN(reward, LMOrchestrator(-1))


def our_best_of_n(reward):
    return ours.BestOfN(reward, sequences=64)


def original_beam(reward):
    return BeamSearch(STEPS, reward, 4)


def our_beam(reward):
    return ours.BeamSearch(STEPS, reward, 4, as_original=True, sequences=64)


def run(make, reward_class, problem, budget, wait=0.0):
    """One inference: result, model calls, leaf evaluations, processor time outside, seconds."""
    lm, reward = Model(wait), reward_class(20 * wait)
    algorithm = make(reward)

    async def infer():
        begin, clock = time.process_time(), time.perf_counter()
        result = await algorithm.ainfer(lm, problem, budget, return_response_only=False)
        outside = time.process_time() - begin - lm.seconds - reward.seconds
        return result, outside, time.perf_counter() - clock

    result, outside, seconds = asyncio.run(infer())
    return result, lm.asked.total(), reward.judged, outside, seconds


def compare(name, theirs, mine, reward_class, budget, problems, repeats):
    outside: list[list[float]] = [[], []]
    seconds: list[list[float]] = [[], []]
    calls, judged, same = Counter(), Counter(), True
    for _ in range(repeats):
        for problem in problems:
            both = [run(make, reward_class, problem, budget) for make in (theirs, mine)]
            for i, (_, asked, scored, took, _) in enumerate(both):
                outside[i].append(took)
                calls[i] += asked
                judged[i] += scored
            same &= (both[0][0].responses, both[0][0].scores, both[0][0].selected_index) == (
                both[1][0].responses,
                both[1][0].scores,
                both[1][0].selected_index,
            )
    for problem in problems[:5]:
        for i, make in enumerate((theirs, mine)):
            seconds[i].append(run(make, reward_class, problem, budget, wait=0.005)[4])
    times = [1e3 * statistics.median(values) for values in outside]
    waits = [statistics.median(values) for values in seconds]
    runs = len(problems) * repeats
    print(
        f"{name:22} {'same' if same else 'NOT THE SAME':5} {calls[0] / runs:6.1f} "
        f"{calls[1] / runs:6.1f} {judged[0] / runs:7.1f} {judged[1] / runs:6.1f} "
        f"{times[0]:8.2f} {times[1]:7.2f} {times[0] / times[1]:6.2f} "
        f"{waits[0]:9.2f} {waits[1]:6.2f} {waits[0] / waits[1]:6.2f}"
    )
    assert same


def accuracy(name, make, reward_class, budget, problems):
    right = calls = judged = 0
    for problem in problems:
        result, asked, scored, _, _ = run(make, reward_class, problem, budget)
        total = sum(map(int, problem.split()))
        right += f"\\boxed{{{total}}}" in result.the_one["content"]
        calls += asked
        judged += scored
    n = len(problems)
    print(f"{name:30} {budget:6} {right:4} of {n} {calls / n:8.1f} {judged / n:8.1f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--problems", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    rng = random.Random(0)
    problems = [
        " ".join(str(rng.randrange(1, 100)) for _ in range(8)) for _ in range(arguments.problems)
    ]
    print("                                calls           judged    ms outside models     ")
    print(
        "algorithm, budget            theirs  ours  theirs   ours   theirs    ours  ratio"
        "  s theirs   ours  ratio"
    )
    both = (problems, arguments.repeats)
    compare("BestOfN, 64", original_best_of_n, our_best_of_n, Outcome, 64, *both)
    compare("BeamSearch of 4, 32", original_beam, our_beam, Process, 32, *both)
    print()
    print("search                         budget  right      calls   judged")
    accuracy("BestOfN", original_best_of_n, Outcome, 64, problems)
    accuracy("BeamSearch of 4", original_beam, Process, 8, problems)
    accuracy("ours.BeamSearch of 4", lambda r: ours.BeamSearch(STEPS, r, 4), Process, 8, problems)
    for name in ("MCTS", "MCTS_G"):
        search = getattr(ours, name)
        accuracy(f"ours.{name}", lambda r, search=search: search(STEPS, r), Outcome, 64, problems)


if __name__ == "__main__":
    main()
