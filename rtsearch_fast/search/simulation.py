"""One simulation from its leaf to its judgement: the stages that wait for models.

Everything here is a function of the leaf, the seed and the models' answers; nothing touches a tree.
The stages keep the numbers that they have in `driver`.

A request for a step ends with the step. In a job that is *whole*, a request goes on to the end of
the solution: a child and its first rollout are then one sample, which has the same distribution and
saves the engine most of the requests.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..aio import together
from ..answers import final_answer
from ..errors import AnswerFormatError
from ..policy.protocol import Policy, Sample, SampleRequest
from ..reward.protocol import Judgement, Reward, prefix_tokens
from ..steps import Splitter, answer_reader
from .growth import Grower, Solution
from .ledger import Claim
from .options import SearchOptions
from .records import Candidate
from .seeds import derive_seed
from .sequences import Sequences
from .task import Child, Outcome

__all__ = ["Simulator"]


@dataclass(frozen=True, slots=True)
class _Branch:
    """A next step, and the solution that was rolled out from it already, if one was."""

    first: Solution
    candidate: Candidate | None = None


class Simulator:
    """Runs simulations, any number at once.

    Parameters
    ----------
    policy, reward : Policy, Reward
    splitter : Splitter
    options : SearchOptions
    sequences : Sequences
        Bounds what is asked of the policy at once.
    """

    def __init__(
        self,
        policy: Policy,
        reward: Reward,
        splitter: Splitter,
        options: SearchOptions,
        sequences: Sequences,
    ) -> None:
        self.policy = policy
        self.reward = reward
        self.splitter = splitter
        self.options = options
        self.sequences = sequences
        self.grower = Grower(splitter, options)
        self.read_answer = answer_reader(splitter)
        self.prefix_tokens = prefix_tokens(reward)
        #: Whether valuing a child costs less than judging a finished solution.
        self.holds_prefixes_cheap = (
            options.value == "prefix" and self.prefix_tokens < reward.max_tokens
        )

    def start(self, outcome: Outcome, claim: Claim) -> asyncio.Task[Outcome]:
        """Start to fill the outcome of a job; what it generates is spent from the claim."""
        self._want(outcome, max(1, outcome.job.width))
        run = self._expand if outcome.job.width else self._complete
        task = asyncio.ensure_future(run(outcome, claim))
        task.add_done_callback(lambda _: self._want(outcome, 0))
        return task

    def _want(self, outcome: Outcome, sequences: int) -> None:
        """Say how many sequences a simulation keeps the policy busy with."""
        self.sequences.wanted += sequences - outcome.sequences
        outcome.sequences = sequences

    async def _complete(self, outcome: Outcome, claim: Claim) -> Outcome:
        """Bring one whole solution."""
        job = outcome.job
        tokens = claim.left - self.reward.max_tokens  # one judgement is held back
        start = Solution(job.steps, job.num_tokens)
        candidate = await self._candidate(outcome, claim, start, (*job.path, -1), tokens)
        outcome.candidates.append(candidate)
        return outcome

    async def _expand(self, outcome: Outcome, claim: Claim) -> Outcome:
        """Bring the children of a leaf, with their values."""
        options, job = self.options, outcome.job
        ask = self._ask_solutions if job.whole else self._ask_steps
        children = self._merge(outcome, await ask(outcome, claim))
        # What is left to do for each child: (child, from where, place in the search).
        work: list[tuple[Child, Solution, tuple[int, ...]]] = []
        for number, child in enumerate(children):
            start = Solution((*job.steps, child.step), child.num_tokens, child.finished)
            missing = options.rollouts if options.value != "prefix" else 0
            if child.terminal:
                start, missing = replace(start, stuck=True), 1
            for r in range(len(child.candidates), missing):
                work.append((child, start, (*job.path, number, -1 - r)))
        prefixes = [c for c in children if options.value != "rollout" and not c.terminal]
        unfinished = sum(not start.ended for _, start, _ in work)
        self._want(outcome, unfinished)
        held_back = len(prefixes) * self.prefix_tokens + len(work) * self.reward.max_tokens
        tokens = (claim.left - held_back) // max(1, unfinished)
        candidates: dict[int, Candidate] = {}

        async def roll_out(number: int) -> None:
            _, start, path = work[number]
            candidates[number] = await self._candidate(outcome, claim, start, path, tokens)

        async def judge_prefix(child: Child) -> None:
            (judgement,) = await self._judge(outcome, claim, [(*job.steps, child.step)])
            child.prefix_score = judgement.score

        if self.holds_prefixes_cheap:
            # one that names an answer before its end is judged as if it were finished
            named = [c for c in prefixes if final_answer("".join((*job.steps, c.step))) is not None]
            await together(judge_prefix(c) for c in prefixes if c not in named)
            for child in named:  # one by one: the claim may not pay for all
                if claim.left >= self.reward.max_tokens:
                    await judge_prefix(child)
            for number in range(len(work)):
                await roll_out(number)
        else:
            await together([*map(roll_out, range(len(work))), *map(judge_prefix, prefixes)])
        for number, (child, _, _) in enumerate(work):
            child.candidates.append(candidates[number])
        outcome.children = children
        return outcome

    # --- 2 ask -------------------------------------------------------------------------

    async def _ask_steps(self, outcome: Outcome, claim: Claim) -> list[_Branch]:
        """Sample the next steps of a leaf, in one request."""
        options, job = self.options, outcome.job
        share = self._spare(outcome, claim) // job.width
        if options.value != "prefix":  # rollouts follow: steps get at most half of what there is
            share //= 2
        seeds = [self._seed(outcome, job.path, i) for i in range(job.width)]
        limit = min(share, options.max_solution_tokens - job.num_tokens)
        samples = await self._sample(outcome, claim, job.steps, seeds, limit)
        start = Solution(job.steps, job.num_tokens)
        grown = [self._grow(outcome, start, sample) for sample in samples]
        return [_Branch(solutions[0]) for solutions in grown if solutions]

    async def _ask_solutions(self, outcome: Outcome, claim: Claim) -> list[_Branch]:
        """Sample the next steps of a leaf and what follows them, each in a request of its own.

        So a short one does not wait for the longest before it is judged and another takes its
        place. Sent together, they still find their prompt in the engine's prefix cache.
        """
        job = outcome.job
        share = self._spare(outcome, claim) // (job.width * self.options.rollouts)

        async def ask(number: int) -> _Branch | None:
            start = Solution(job.steps, job.num_tokens)
            limit = min(share, self.options.max_solution_tokens - job.num_tokens)
            seed = self._seed(outcome, job.path, number)
            (sample,) = await self._sample(outcome, claim, job.steps, [seed], limit)
            grown = self._grow(outcome, start, sample)
            if not grown or grown[-1].ended:
                self._want(outcome, outcome.sequences - 1)
            if not grown or grown[0].ended:
                return _Branch(grown[0]) if grown else None
            path = (*job.path, number, -1)
            left = share - sample.num_tokens
            candidate = await self._candidate(outcome, claim, grown[-1], path, left)
            return _Branch(grown[0], candidate)

        branches = await together(map(ask, range(job.width)))
        return [branch for branch in branches if branch is not None]

    def _spare(self, outcome: Outcome, claim: Claim) -> int:
        """Tokens that the policy may generate, with all judgements held back."""
        options = self.options
        judgements = 1 if options.value == "prefix" else 1 + options.rollouts
        if options.narrow and options.value == "rollout":
            judgements = options.rollouts  # prefixes are not judged
        if self.holds_prefixes_cheap:  # of the children at least one may be finished
            return claim.left - outcome.job.width * self.prefix_tokens - self.reward.max_tokens
        return claim.left - outcome.job.width * judgements * self.reward.max_tokens

    async def _sample(
        self,
        outcome: Outcome,
        claim: Claim,
        steps: tuple[str, ...],
        seeds: Sequence[int],
        max_tokens: int,
    ) -> Sequence[Sample]:
        """One request to the policy, checked and counted."""
        options, job = self.options, outcome.job
        if not job.whole:
            max_tokens = min(max_tokens, options.max_step_tokens)
            max_tokens = min(max_tokens, self.splitter.max_tokens or max_tokens)
        request = SampleRequest(
            problem=outcome.task.problem.problem,
            steps=(*steps, self.splitter.lead),
            seeds=tuple(seeds),
            max_tokens=max(1, max_tokens),
            temperature=0.0 if job.greedy else options.temperature,
            top_p=options.top_p,
            stop=() if job.whole else self.splitter.stop,
        )
        async with self.sequences.slot(len(seeds), outcome.task.started_at):
            samples = await self.policy.sample(request)
        if len(samples) != len(seeds):
            raise AnswerFormatError(
                f"{self.policy.name} returned {len(samples)} samples, {len(seeds)} were asked"
            )
        # Some servers do not count the token that ends a text. An empty sample costs one all the
        # same: a budget of tokens must come to its end.
        samples = [replace(s, num_tokens=1) if s.num_tokens == 0 else s for s in samples]
        for sample in samples:
            if not 1 <= sample.num_tokens <= request.max_tokens:
                raise AnswerFormatError(
                    f"{self.policy.name} generated {sample.num_tokens} tokens, at most "
                    f"{request.max_tokens} were asked: budgets cannot be kept with this engine"
                )
            claim.spend(sample.num_tokens)
            outcome.usage.policy_tokens += sample.num_tokens
        outcome.usage.policy_samples += len(samples)
        return samples

    def _seed(self, outcome: Outcome, path: tuple[int, ...], index: int = 0) -> int:
        return derive_seed(self.options.seed, outcome.task.problem.unique_id, path, index)

    # --- 3 correct ---------------------------------------------------------------------

    def _grow(self, outcome: Outcome, start: Solution, sample: Sample) -> list[Solution]:
        """Append a sample to a solution, arithmetic put right; see `Grower.grow`."""
        solutions, corrections = self.grower.grow(start, sample, whole=outcome.job.whole)
        outcome.usage.corrections += corrections
        return solutions

    def _merge(self, outcome: Outcome, branches: Sequence[_Branch]) -> list[Child]:
        """Turn branches into children, duplicates merged with what was rolled out from them."""
        children: dict[object, Child] = {}
        for number, branch in enumerate(branches):
            first = branch.first
            step = first.steps[-1]
            key = " ".join(step.casefold().split()) if self.options.deduplicate else number
            child = children.get(key)
            if child is None:
                child = Child(step, 0.0, first.num_tokens, first.ended, first.finished)
                children[key] = child
            child.prior += 1 / outcome.job.width
            if branch.candidate is not None and not child.terminal:
                child.candidates.append(branch.candidate)
        return list(children.values())

    # --- 5 roll out --------------------------------------------------------------------

    async def _candidate(
        self,
        outcome: Outcome,
        claim: Claim,
        start: Solution,
        path: tuple[int, ...],
        tokens: int,
    ) -> Candidate:
        """Continue a solution to its end and have it judged, while others are generated."""
        if not start.ended:
            start = await self._roll_out(outcome, claim, start, path, tokens)
            self._want(outcome, outcome.sequences - 1)
        return await self._judge_solution(outcome, claim, start)

    async def _roll_out(
        self,
        outcome: Outcome,
        claim: Claim,
        solution: Solution,
        path: tuple[int, ...],
        tokens: int,
    ) -> Solution:
        """Continue a solution to its end, with at most `tokens` more tokens.

        A model that was corrected goes on from the corrected step.
        """
        depth = len(outcome.job.steps)
        while not solution.ended:
            limit = min(tokens, self.options.max_solution_tokens - solution.num_tokens)
            if limit < 1:
                break
            seed = self._seed(outcome, (*path, len(solution.steps) - depth))
            (sample,) = await self._sample(outcome, claim, solution.steps, [seed], limit)
            tokens -= sample.num_tokens
            grown = self._grow(outcome, solution, sample)
            if not grown:
                break
            solution = grown[-1]
        return solution

    # --- 6 score -----------------------------------------------------------------------

    async def _judge_solution(
        self, outcome: Outcome, claim: Claim, solution: Solution
    ) -> Candidate:
        """Have the reward model judge a rolled-out solution.

        One that is cut off or names no answer is not shown to the reward model, nor one that the
        claim does not pay for: its score stays NaN, and it has no vote.
        """
        candidate = solution.to_candidate(self.read_answer)
        if candidate.answer is None or claim.left < self.reward.max_tokens:
            return candidate
        (judgement,) = await self._judge(outcome, claim, [candidate.steps])
        return replace(candidate, score=judgement.score)

    async def _judge(
        self, outcome: Outcome, claim: Claim, solutions: Sequence[tuple[str, ...]]
    ) -> Sequence[Judgement]:
        """One call of the reward model, checked and counted."""
        judgements = await self.reward.score(outcome.task.problem.problem, solutions)
        if len(judgements) != len(solutions):
            raise AnswerFormatError(
                f"{self.reward.name} returned {len(judgements)} scores for {len(solutions)} "
                "solutions"
            )
        for judgement in judgements:
            if not (0 <= judgement.score <= 1 or math.isnan(judgement.score)):
                raise AnswerFormatError(
                    f"{self.reward.name} gave the score {judgement.score}: scores must be in "
                    "[0, 1], or NaN for no verdict"
                )
            if not 0 <= judgement.num_tokens <= self.reward.max_tokens:
                raise AnswerFormatError(
                    f"{self.reward.name} generated {judgement.num_tokens} tokens for a judgement, "
                    f"at most {self.reward.max_tokens} are announced: budgets cannot be kept with "
                    "this reward model"
                )
            claim.spend(judgement.num_tokens)
            outcome.usage.reward_tokens += judgement.num_tokens
        outcome.usage.reward_calls += len(judgements)
        return judgements
