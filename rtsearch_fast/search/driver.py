"""The one loop that runs every search: many problems, many simulations, no barrier between them.

A simulation walks through nine stages, the numbered methods of `Driver` below:

    1 select -> 2 ask -> 3 correct -> 4 expand -> 5 roll out -> 6 score -> 7 backup -> 8 stop? -> 9 vote

Stages 2, 3, 5 and 6 wait for models; all simulations of all problems run through them at once, and
the engines batch them. Stages 1, 4 and 7 touch the trees, in one call for all problems that are
ready; 4 and 7 are one stage here, because children enter the tree with their values at once.

Determinism: a problem's simulations are *committed* (stages 4 and 7) in the order in which they
were *selected*, however their answers arrive, and after each commit comes the next selection. So
the sequence of operations on a tree is fixed by the seed and the models' answers alone.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import replace
from itertools import islice

from ..errors import AnswerFormatError, InvalidArgumentError
from ..policy.protocol import Policy, Sample, SampleRequest
from ..reward.protocol import Reward
from ..steps import Splitter, final_answer
from . import calculator, votes
from .ledger import Claim, Ledger
from .options import Budget, SearchOptions
from .records import Candidate, Problem, SearchResult
from .seeds import derive_seed
from .signature import search_signature
from .task import Child, Job, Method, Outcome, Running, Task

__all__ = ["Driver"]


class Driver:
    """Runs one method over problems.

    Parameters
    ----------
    policy, reward : Policy, Reward
    method : Method
        Fresh, used by this driver alone.
    method_name : str
    splitter : Splitter
    budget : Budget
        Of each problem.
    options : SearchOptions
    concurrency : int
        Problems under search at once.
    on_commit : callable, optional
        Called with the task after each committed simulation, for progress displays.
    """

    def __init__(
        self,
        policy: Policy,
        reward: Reward,
        method: Method,
        *,
        method_name: str,
        splitter: Splitter,
        budget: Budget,
        options: SearchOptions,
        concurrency: int = 16,
        on_commit: Callable[[Task], None] | None = None,
    ) -> None:
        if concurrency < 1:
            raise InvalidArgumentError(f"concurrency={concurrency}: must be at least 1")
        self.policy = policy
        self.reward = reward
        self.method = method
        self.method_name = method_name
        self.splitter = splitter
        self.budget = budget
        self.options = options
        self.concurrency = concurrency
        self.on_commit = on_commit

    # --- the loop ----------------------------------------------------------------------

    async def run(self, problems: Iterable[Problem]) -> AsyncIterator[SearchResult]:
        """Search all problems; yields each result as it is finished.

        Raises
        ------
        EngineError
            An engine failed for good. Results yielded before are complete.
        """
        waiting = iter(problems)
        active: list[Task] = []
        try:
            while True:
                for problem in islice(waiting, self.concurrency - len(active)):
                    active.append(Task(problem, Ledger(self.budget)))
                    self.method.start(active[-1])
                    self._select(active[-1:])
                for task in [task for task in active if not task.running]:
                    active.remove(task)
                    yield self._vote(task)
                    break  # its place may be filled before the others are looked at
                else:
                    if not active:
                        return
                    await self._wait(active)
                    self._commit_ready(active)
        finally:
            await self._abandon(active)

    async def _wait(self, active: Sequence[Task]) -> None:
        """Wait until the first simulation in line of some problem is done, or time is up."""
        timeout = min((task.ledger.seconds_left() for task in active), default=math.inf)
        await asyncio.wait(
            [task.running[0].future for task in active],
            timeout=None if timeout == math.inf else timeout,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if late := [task for task in active if task.ledger.seconds_left() <= 0]:
            for task in late:
                task.stop_reason = "seconds"
            await self._abandon(late)

    def _commit_ready(self, active: Sequence[Task]) -> None:
        """Commit what is done, in order. One commit, then the next selection, for each problem."""
        while ready := [t for t in active if t.running and t.running[0].future.done()]:
            outcomes = [task.running[0].future.result() for task in ready]  # raises their errors
            for task in ready:
                task.ledger.settle(task.running.popleft().claim)
            self._expand_and_backup(outcomes)
            for task in ready:
                self._stop(task)
                if self.on_commit is not None:
                    self.on_commit(task)
            self._select(ready)

    async def _abandon(self, tasks: Sequence[Task]) -> None:
        """Cancel the simulations of problems that have no more use for them."""
        futures = [running.future for task in tasks for running in task.running]
        for future in futures:
            future.cancel()
        await asyncio.gather(*futures, return_exceptions=True)
        for task in tasks:
            self.method.cancel(task, [running.job for running in task.running])
            task.running.clear()

    # --- 1 select ----------------------------------------------------------------------

    def _select(self, tasks: Sequence[Task]) -> None:
        """Start simulations until every problem has enough under way or may start no more."""
        while tasks:
            grants: dict[Task, tuple[int, Claim]] = {}
            for task in tasks:
                width = self._next_width(task)
                if width is not None and (claim := self._claim(task, width)) is not None:
                    grants[task] = (width, claim)
            tasks = list(grants)
            jobs = self.method.select(tasks) if tasks else []
            for task, job in zip(tasks, jobs, strict=True):
                width, claim = grants[task]
                if job is None:
                    task.ledger.settle(claim)
                    del grants[task]
                    if not task.running:
                        task.stop_reason = "exhausted"
                    continue
                job = replace(job, width=width)
                task.jobs_started += 1
                future = asyncio.ensure_future(self._simulate(Outcome(task, job), claim))
                task.running.append(Running(job, claim, future))
            tasks = list(grants)

    def _next_width(self, task: Task) -> int | None:
        """Width of the simulation that may start now; None if none may."""
        options, budget = self.options, self.budget
        width = self.method.next_width(task)
        # a whole solution is one sequence, a simulation is several
        window = options.in_flight * (1 if width else options.width)
        if task.stop_reason is not None or len(task.running) >= window:
            return None
        if budget.simulations is not None and task.jobs_started >= budget.simulations:
            return None
        if budget.nodes is not None and width:
            growing = sum(running.job.width for running in task.running)
            width = min(width, budget.nodes - task.usage.nodes - growing)
            return width if width >= 1 else None
        return width

    def _claim(self, task: Task, width: int) -> Claim | None:
        """Set aside the tokens that a simulation may need, so that the budget is never exceeded."""
        options, judged = self.options, self.reward.max_tokens
        if width == 0:
            worst = options.max_solution_tokens + judged
        else:
            each = options.max_step_tokens + judged
            if options.value != "prefix":
                each += options.rollouts * (options.max_solution_tokens + judged)
            worst = width * each
        # A last simulation may begin with less than it could need, but not with next to nothing.
        minimum = worst // 4 if task.jobs_started else 2 * max(1, width) * (judged + 1)
        claim = task.ledger.claim(worst, minimum, bool(task.running))
        if claim is None and not task.running:
            task.stop_reason = "tokens"
        return claim

    # --- 2 to 6: one simulation, waiting for models ----------------------------------------

    async def _simulate(self, outcome: Outcome, claim: Claim) -> Outcome:
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
        for sample in samples:
            if sample.num_tokens > request.max_tokens:
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
            claim.spend(judgement.num_tokens)
            outcome.usage.reward_tokens += judgement.num_tokens
        outcome.usage.reward_calls += len(judgements)
        for (holder, i), judgement in zip(finished, judgements, strict=False):
            holder[i] = replace(holder[i], score=judgement.score)
        for child, judgement in zip(prefixes, judgements[len(finished) :], strict=True):
            child.prefix_score = judgement.score

    # --- 4 expand and 7 backup -----------------------------------------------------------

    def _expand_and_backup(self, outcomes: Sequence[Outcome]) -> None:
        """Enter outcomes into their trees, at most one a problem."""
        for outcome in outcomes:
            task = outcome.task
            task.usage.add(outcome.usage)
            task.usage.simulations += 1
            task.candidates += outcome.candidates
            for child in outcome.children:
                task.candidates += child.candidates
        self.method.commit(outcomes)

    # --- 8 stop? -----------------------------------------------------------------------

    def _stop(self, task: Task) -> None:
        """Decide after a commit whether the problem starts further simulations."""
        task.stop_reason = task.stop_reason or task.ledger.exhausted(task.usage)
        wanted = self.options.confidence
        if task.stop_reason is None and wanted is not None:
            voters = sum(c.finished and c.answer is not None for c in task.candidates)
            if voters >= 4 and votes.confidence(task.candidates) >= wanted:
                task.stop_reason = "confident"

    # --- 9 vote ------------------------------------------------------------------------

    def _vote(self, task: Task) -> SearchResult:
        """Choose the answer and close the problem."""
        chosen = self.choose(task)
        best = None if chosen is None else task.candidates[chosen]
        signature, tree = self.method.finish(task)
        return SearchResult(
            problem=task.problem,
            method=self.method_name,
            answer=best.answer if best else None,
            solution=best.text if best else "",
            candidates=tuple(task.candidates),
            usage=task.usage,
            stop_reason=task.stop_reason or "complete",
            signature=search_signature(signature, task.candidates),
            tree=tree,
            seconds=time.monotonic() - task.started_at,
        )

    def choose(self, task: Task) -> int | None:
        """Index of the candidate that is the answer so far; None if there is none."""
        vote = self.options.vote or self.method.vote
        if vote == "path":
            return self.method.best_path(task)
        return votes.choose(task.candidates, vote, self.options.self_consistency)


def _candidate(steps: tuple[str, ...], num_tokens: int, finished: bool) -> Candidate:
    answer = final_answer("".join(steps)) if finished else None
    return Candidate(steps, answer, math.nan, num_tokens, finished)
