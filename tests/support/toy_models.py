"""A policy and a reward model small enough to reason about, for tests of the search alone.

A toy problem is a list of numbers to add: "3 5 9". A right solution adds them one a step and boxes
the total. The policy slips now and then; the reward model sees most slips. Both are functions of
their input and of the seeds, so a search over them is reproducible.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Sequence

from rtsearch_fast import Judgement, Sample, SampleRequest


def total(problem: str) -> int:
    return sum(map(int, problem.split()))


def toy_problem(rng: random.Random, length: int = 5) -> str:
    return " ".join(str(rng.randrange(1, 50)) for _ in range(length))


class Delay:
    """Makes answers arrive in a shuffled order; 0 keeps the order of the calls."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = random.Random(seed) if seed else None

    async def __call__(self) -> None:
        if self.rng is not None:
            for _ in range(self.rng.randrange(30)):
                await asyncio.sleep(0)


class ToyPolicy:
    """Writes the labelled format; like a model, it goes on from the ``##`` that it is given."""

    name = "toy-policy"

    def __init__(self, slip: float = 0.2, delay_seed: int = 0, tokens_per_step: int = 10) -> None:
        self.slip = slip
        self.delay = Delay(delay_seed)
        self.tokens_per_step = tokens_per_step
        self.requests: list[SampleRequest] = []

    async def sample(self, request: SampleRequest) -> Sequence[Sample]:
        self.requests.append(request)
        await self.delay()
        return [self._one(request, seed) for seed in request.seeds]

    def _one(self, request: SampleRequest, seed: int) -> Sample:
        rng = random.Random(0 if request.temperature == 0 else seed)
        if request.max_tokens < self.tokens_per_step:
            return Sample(" Cut", request.max_tokens, "length")
        numbers = [int(word) for word in request.problem.split()]
        done = [step for step in request.steps if step.startswith("## Step")]
        value = int(done[-1].split()[-1]) if done else numbers[0]
        if len(done) == len(numbers) - 1:
            return Sample(f" Answer\n\\boxed{{{value}}}", self.tokens_per_step, "eos", -1.0)
        number = numbers[len(done) + 1]
        result = value + number + (rng.choice([-10, 1, 10]) if rng.random() < self.slip else 0)
        text = f" Step {len(done) + 1}: add {number}\nwe get {result}"
        return Sample(text, self.tokens_per_step, "stop", -1.0)

    async def aclose(self) -> None:
        pass


class ToyReward:
    name = "toy-reward"
    max_tokens = 1

    def __init__(self, noise: float = 0.1, delay_seed: int = 0) -> None:
        self.noise = noise
        self.delay = Delay(delay_seed)

    async def score(
        self, problem: str, solutions: Sequence[tuple[str, ...]]
    ) -> Sequence[Judgement]:
        await self.delay()
        return [Judgement(self._one(problem, "".join(solution)), 1) for solution in solutions]

    def _one(self, problem: str, text: str) -> float:
        numbers = [int(word) for word in problem.split()]
        values = [int(line.split()[-1]) for line in text.splitlines() if line.startswith("we get")]
        right = all(value == sum(numbers[: i + 2]) for i, value in enumerate(values))
        digest = hashlib.blake2b((problem + text).encode(), digest_size=4).digest()
        wobble = int.from_bytes(digest, "little") / 2**32
        return (1 - self.noise) * (0.9 if right else 0.1) + self.noise * wobble

    async def aclose(self) -> None:
        pass
