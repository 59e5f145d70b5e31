"""One simulation from its leaf to its judgement: the stages that wait for models.

Everything here is a function of the leaf, the seed and the models' answers; nothing touches a tree.
The stages keep the numbers that they have in `driver`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace

from ..answers import final_answer
from ..errors import AnswerFormatError
from ..policy.protocol import Policy, Sample, SampleRequest
from ..reward.protocol import Reward
from ..steps import Splitter
from . import calculator
from .ledger import Claim
from .options import SearchOptions
from .records import Candidate
from .seeds import derive_seed
from .task import Child, Outcome, Task

__all__ = ["Simulator"]


class Simulator:
    """Runs simulations, any number at once.

    Parameters
    ----------
    policy, reward : Policy, Reward
    splitter : Splitter
    options : SearchOptions
    """

    def __init__(
        self, policy: Policy, reward: Reward, splitter: Splitter, options: SearchOptions
    ) -> None:
        self.policy = policy
        self.reward = reward
        self.splitter = splitter
        self.options = options

    async def run(self, outcome: Outcome, claim: Claim) -> Outcome:
        """Fill the outcome of a job; what it generates is spent from the claim."""
        job = outcome.job
        if job.width == 0:
            # one judgement is held back from what may be generated
            tokens = claim.left - self.reward.max_tokens
            candidate = await self._roll_out(
                outcome, claim, job.steps, job.num_tokens, (*job.path, -1), tokens
            )
            outcome.candidates.append(candidate)
        else:
            samples = await self._ask(outcome, claim)
            outcome.children = self._correct(outcome, samples)
            if self.options.value != "prefix":
                await self._roll_out_children(outcome, claim)
        await self._score(outcome, claim)
        return outcome

    # --- 2 ask -------------------------------------------------------------------------

    async def _ask(self, outcome: Outcome, claim: Claim) -> Sequence[Sample]:
        """Sample the next steps of a leaf."""
        options, job = self.options, outcome.job
        judgements = 1 if options.value == "prefix" else 1 + options.rollouts
        spare = claim.left - job.width * judgements * self.reward.max_tokens
        # with rollouts to follow, steps get at most half of what there is
        share = spare // (job.width if options.value == "prefix" else 2 * job.width)
        seeds = [self._seed(outcome.task, job.path, i) for i in range(job.width)]
        limit = min(share, options.max_solution_tokens - job.num_tokens)
        return await self._sample(outcome, claim, job.steps, seeds, limit, one_step=True)

    async def _sample(
        self,
        outcome: Outcome,
        claim: Claim,
        steps: tuple[str, ...],
        seeds: Sequence[int],
        max_tokens: int,
        *,
        one_step: bool,
    ) -> Sequence[Sample]:
        """One request to the policy, checked and counted."""
        options = self.options
        if one_step:
            max_tokens = min(max_tokens, options.max_step_tokens)
            max_tokens = min(max_tokens, self.splitter.max_tokens or max_tokens)
        request = SampleRequest(
            problem=outcome.task.problem.problem,
            steps=(*steps, self.splitter.lead),
            seeds=tuple(seeds),
            max_tokens=max(1, max_tokens),
            temperature=0.0 if outcome.job.greedy else options.temperature,
            top_p=options.top_p,
            stop=self.splitter.stop if one_step else (),
        )
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

    def _seed(self, task: Task, path: tuple[int, ...], index: int = 0) -> int:
        return derive_seed(self.options.seed, task.problem.unique_id, path, index)

    # --- 3 correct ---------------------------------------------------------------------

    def _correct(self, outcome: Outcome, samples: Sequence[Sample]) -> list[Child]:
        """Turn samples into children: arithmetic put right, duplicates merged."""
        options, job = self.options, outcome.job
        children: dict[object, Child] = {}
        for number, sample in enumerate(samples):
            step = self._close_step(outcome, job.steps, sample)
            if not step:
                continue
            key = " ".join(step.casefold().split()) if options.deduplicate else number
            if key in children:
                children[key].prior += 1 / len(samples)
                continue
            steps = (*job.steps, step)
            num_tokens = job.num_tokens + sample.num_tokens
            finished = self.splitter.is_final(steps, sample.finish_reason)
            full = len(steps) >= options.max_depth or num_tokens >= options.max_solution_tokens
            child = Child(step, 1 / len(samples), num_tokens, finished or full, finished)
            if child.terminal:
                child.candidates.append(_candidate(steps, num_tokens, finished))
            children[key] = child
        return list(children.values())

    def _close_step(self, outcome: Outcome, steps: Sequence[str], sample: Sample) -> str:
        """The sample as a step after `steps`; "" if the model had nothing to add."""
        before = steps[-1] if steps else ""
        text = self.splitter.lead + sample.text
        step = self.splitter.close(text, sample.finish_reason, before)
        if self.options.calculator:
            step, corrections = calculator.correct(step)
            outcome.usage.corrections += corrections
        return step

    # --- 5 roll out --------------------------------------------------------------------

    async def _roll_out_children(self, outcome: Outcome, claim: Claim) -> None:
        """Continue each unfinished child to finished solutions."""
        job, rollouts = outcome.job, self.options.rollouts
        places = [
            (child, (*job.path, number, -1 - r))
            for number, child in enumerate(outcome.children)
            if not child.terminal
            for r in range(rollouts)
        ]
        if not places:
            return
        judgements = len(outcome.children) * (1 + rollouts)
        tokens = (claim.left - judgements * self.reward.max_tokens) // len(places)
        candidates = await asyncio.gather(
            *(
                self._roll_out(
                    outcome, claim, (*job.steps, child.step), child.num_tokens, path, tokens
                )
                for child, path in places
            )
        )
        for (child, _), candidate in zip(places, candidates, strict=True):
            child.candidates.append(candidate)

    async def _roll_out(
        self,
        outcome: Outcome,
        claim: Claim,
        steps: tuple[str, ...],
        num_tokens: int,
        path: tuple[int, ...],
        tokens: int,
    ) -> Candidate:
        """Continue a solution to its end, with at most `tokens` more tokens.

        With the calculator on, step by step: a model that is corrected goes on from the corrected
        step. Off, in one piece.
        """
        options, start = self.options, len(steps)
        one_step = options.calculator
        while True:
            limit = min(tokens, options.max_solution_tokens - num_tokens)
            if limit < 1 or len(steps) >= options.max_depth:
                return _candidate(steps, num_tokens, finished=False)
            seed = self._seed(outcome.task, (*path, len(steps) - start))
            (sample,) = await self._sample(outcome, claim, steps, [seed], limit, one_step=one_step)
            tokens -= sample.num_tokens
            num_tokens += sample.num_tokens
            if one_step:
                step = self._close_step(outcome, steps, sample)
                steps = (*steps, step) if step else steps
                finished = self.splitter.is_final(steps, sample.finish_reason)
                if finished or not step:
                    return _candidate(steps, num_tokens, finished)
                continue
            for piece in self.splitter.split(self.splitter.lead + sample.text):
                steps = (*steps, piece)
                if self.splitter.is_final(steps, "stop"):  # what follows an answer is chatter
                    return _candidate(steps, num_tokens, finished=True)
            return _candidate(steps, num_tokens, finished=sample.finish_reason == "eos")

    # --- 6 score -----------------------------------------------------------------------

    async def _score(self, outcome: Outcome, claim: Claim) -> None:
        """Have the reward model judge all finished solutions, and prefixes where wanted.

        A solution that is cut off or names no answer is not shown to the reward model: its score
        stays NaN, and it has no vote.
        """
        holders = [outcome.candidates, *(child.candidates for child in outcome.children)]
        finished = [
            (holder, i)
            for holder in holders
            for i, candidate in enumerate(holder)
            if candidate.finished and candidate.answer is not None
        ]
        prefixes = (
            [child for child in outcome.children if not child.terminal]
            if self.options.value != "rollout"
            else []
        )
        solutions = [holder[i].steps for holder, i in finished]
        solutions += [(*outcome.job.steps, child.step) for child in prefixes]
        if not solutions:
            return
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
        for (holder, i), judgement in zip(finished, judgements, strict=False):
            holder[i] = replace(holder[i], score=judgement.score)
        for child, judgement in zip(prefixes, judgements[len(finished) :], strict=True):
            child.prefix_score = judgement.score


def _candidate(steps: tuple[str, ...], num_tokens: int, finished: bool) -> Candidate:
    answer = final_answer("".join(steps)) if finished else None
    return Candidate(steps, answer, math.nan, num_tokens, finished)
