"""The one loop that runs every search: many problems, many simulations, no barrier between them.

A problem walks through nine stages, again and again:

    1 select, 2 ask, 3 correct, 4 expand, 5 roll out, 6 score, 7 backup, 8 stop?, 9 vote

Stages 2, 3, 5 and 6 wait for models (`simulation`); all simulations of all problems run through
them at once, and the engines batch them. Stages 1, 4 and 7 touch the trees, in one call for all
problems that are ready; 4 and 7 are one stage here, because children enter the tree with their
values at once.

Determinism: a problem's simulations are *committed* (stages 4 and 7) in the order in which they
were *selected*, however their answers arrive, and after each commit comes the next selection. So
the sequence of operations on a tree is fixed by the seed and the models' answers alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from ..errors import InvalidArgumentError
from ..policy.protocol import Policy
from ..reward.protocol import Reward
from ..steps import Splitter
from . import votes
from .events import EventLog, event_of, restore
from .feed import Feed
from .ledger import Claim, Ledger
from .options import Budget, SearchOptions
from .records import Problem, SearchResult
from .sequences import Sequences
from .signature import search_signature
from .simulation import Simulator
from .task import Method, Outcome, Running, Task

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
    sequences : int
        Sequences that the policy's engine generates at once: problems are begun while fewer are
        wanted.
    concurrency : int
        Most problems under search at once.
    on_commit : callable, optional
        Called with the task after each committed simulation, for progress displays.
    events : EventLog, optional
        Where commits are kept, and found again by a later session.
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
        sequences: int = 128,
        concurrency: int = 256,
        on_commit: Callable[[Task], None] | None = None,
        events: EventLog | None = None,
    ) -> None:
        for name, value in (("concurrency", concurrency), ("sequences", sequences)):
            if value < 1:
                raise InvalidArgumentError(f"{name}={value}: must be at least 1")
        self.sequences = Sequences(sequences)
        self.simulator = Simulator(policy, reward, splitter, options, self.sequences)
        self.reward = reward
        self.method = method
        self.method_name = method_name
        self.budget = budget
        self.options = options
        self.concurrency = concurrency
        self.on_commit = on_commit
        self.events = events
        self._news: asyncio.Event  # some simulation is done; of `run`'s loop
        self._touched: dict[Task, None] = {}  # the problems that it was of

    # --- the loop ----------------------------------------------------------------------

    async def run(self, problems: Iterable[Problem] | Feed) -> AsyncGenerator[SearchResult, None]:
        """Search all problems, those of a feed until it is closed; yields results as they come.

        Raises
        ------
        EngineError
            An engine failed for good. Results yielded before are complete.
        """
        feed: Feed | None = None
        if isinstance(problems, Feed):
            feed, take = problems, problems.take
        else:
            take = partial(next, iter(problems), None)
        active: dict[Task, None] = {}
        idle: dict[Task, None] = {}  # of these, who has nothing under way and starts nothing more
        self._news = asyncio.Event()
        if feed is not None:
            feed.on_change = self._news.set
        try:
            while True:
                while self._has_room(active) and (problem := take()) is not None:
                    task = Task(problem, Ledger(self.budget))
                    if self.events is not None:
                        task.known = self.events.known(problem)
                    active[task] = None
                    self.method.start(task)
                    self._select([task])
                    # what is known is committed before the next problem asks for room
                    touched = [task, *(self._commit_ready() if task.known else ())]
                    await self._settle(touched, active, idle)
                if idle:
                    task = next(iter(idle))
                    del idle[task], active[task]
                    yield self._vote(task)
                    continue  # its place may be filled before the others are looked at
                if not active and (feed is None or feed.is_closed):
                    return
                touched = [*await self._wait(active), *self._commit_ready()]
                await self._settle(touched, active, idle)
        finally:
            await self._abandon(active)

    async def _settle(
        self, touched: Sequence[Task], active: Collection[Task], idle: dict[Task, None]
    ) -> None:
        """Find out who is finished of the problems that something happened to."""
        touched = [task for task in touched if task in active]
        # what is still generated for an answer that stands matters no longer
        await self._abandon([task for task in touched if task.stop_reason == "confident"])
        idle.update((task, None) for task in touched if not task.running)

    def _has_room(self, active: Collection[Task]) -> bool:
        """Whether the engine would be better used with one problem more."""
        return (
            len(active) < self.concurrency and self.sequences.wanted < self.sequences.target
        ) or not active

    async def _wait(self, active: Collection[Task]) -> list[Task]:
        """Wait until some simulation is done, or time is up; returns the problems that are late.

        Only a limit of seconds makes this look at every problem: there may be thousands, and this
        runs for every answer.
        """
        timeout = None
        if self.budget.seconds is not None:
            timeout = min((task.ledger.seconds_left() for task in active), default=None)
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._news.wait(), timeout)
        self._news.clear()
        if timeout is None:
            return []
        late = [task for task in active if task.ledger.seconds_left() <= 0]
        for task in late:
            task.stop_reason = "seconds"
        await self._abandon(late)
        return late

    def _commit_ready(self) -> list[Task]:
        """Commit what is done, in order. One commit, then the next selection, for each problem.

        Returns the problems that were looked at: those of which some simulation was done.
        """
        touched = list(self._touched)
        self._touched.clear()
        while ready := [
            task
            for task in touched
            if task.running and task.running[0].future.done() and task.stop_reason != "confident"
        ]:
            outcomes = [task.running[0].future.result() for task in ready]  # raises their errors
            for task in ready:
                task.ledger.settle(task.running.popleft().claim)
            self._expand_and_backup(outcomes)
            self._keep(outcomes)
            for task in ready:
                self._stop(task)
                if self.on_commit is not None:
                    self.on_commit(task)
            self._select(ready)
        return touched

    def _note(self, task: Task, _: asyncio.Task[Outcome]) -> None:
        """A simulation of the problem is done."""
        self._touched[task] = None
        self._news.set()

    async def _abandon(self, tasks: Iterable[Task]) -> None:
        """Cancel the simulations of problems that have no more use for them."""
        tasks = list(tasks)
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
                job = replace(job, width=width, whole=self._is_whole(task, width))
                future = self._start(Outcome(task, job), claim)
                task.jobs_started += 1
                task.running.append(Running(job, claim, future))
            tasks = list(grants)

    def _start(self, outcome: Outcome, claim: Claim) -> asyncio.Future[Outcome]:
        """Start a simulation, or find it done by an earlier session."""
        task = outcome.task
        if task.jobs_started < len(task.known):
            event = task.known[task.jobs_started]
            if restore(event, outcome, claim):
                task.resume_at(event["seconds"])
                self._touched[task] = None
                future = asyncio.get_running_loop().create_future()
                future.set_result(outcome)
                return future
            # of another search: what is known from here on is of no use
            task.known = task.known[: task.jobs_started]
        running = self.simulator.start(outcome, claim)
        running.add_done_callback(partial(self._note, task))
        return running

    def _is_whole(self, task: Task, width: int) -> bool:
        """Whether the next simulation's requests go on to the end of the solution."""
        options = self.options
        if (width and options.value == "prefix") or self.simulator.splitter.max_tokens is not None:
            return False  # nothing is rolled out, or steps cannot be told apart afterwards
        if options.request == "auto":
            return 4 * task.usage.corrections <= len(task.candidates)
        return options.request == "solution"

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
            if width < 1:
                if not task.running:
                    task.stop_reason = "nodes"
                return None
        return self._narrowed(task, width) if options.narrow and width else width

    def _narrowed(self, task: Task, width: int) -> int | None:
        """As many children as the rest of the budget pays for; None if not even one."""
        available, options = task.ledger.available, self.options
        # what prefix scores value needs no whole solution; and what is claimed may come back
        if available is None or options.value == "prefix" or task.running:
            return width
        price = options.max_solution_tokens  # of a solution; of one so far, where there is one
        if task.candidates:
            price = -(-task.usage.policy_tokens // len(task.candidates))
        # a judgement is held back in full, however short most of them are
        price += self.reward.max_tokens
        width = min(width, available // max(1, price * options.rollouts))
        if width < 1 and not task.usage.simulations:
            width = 1  # a budget below one long solution may pay for a short one
        if width < 1:
            task.stop_reason = "tokens"
        return width or None

    def _claim(self, task: Task, width: int) -> Claim | None:
        """Set aside the tokens that a simulation may need, so that the budget is never exceeded."""
        options, judged = self.options, self.reward.max_tokens
        cheap = width > 0 and self.simulator.holds_prefixes_cheap
        valued = self.simulator.prefix_tokens if cheap else judged
        finished = judged if cheap else 0  # one child may be
        if width == 0:
            worst = options.max_solution_tokens + judged
        else:
            each = options.max_step_tokens + valued
            if options.value != "prefix":
                each += options.rollouts * (options.max_solution_tokens + judged)
            worst = width * each + finished
        # At the end of a budget, simulations run one by one with all that is left, as long as that
        # is what they cost on average so far; and never with less than one token and two judgements
        # of each child, or those of its rollouts, where that is all that the width was narrowed to.
        narrowed = options.narrow and width > 0
        judgements = options.rollouts if narrowed and options.value == "rollout" else 2
        minimum = judgements * max(1, width) * (valued + 1) + finished
        if task.usage.simulations and not narrowed:
            minimum = max(minimum, min(worst, task.ledger.committed // task.usage.simulations))
        claim = task.ledger.claim(worst, minimum, bool(task.running))
        if claim is None and not task.running:
            task.stop_reason = "tokens"
        return claim

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

    def _keep(self, outcomes: Sequence[Outcome]) -> None:
        """Hand out what was committed, but for what was known."""
        if self.events is None:
            return
        for outcome in outcomes:
            task = outcome.task
            number = task.usage.simulations - 1
            if number >= len(task.known):
                event = event_of(outcome, time.monotonic() - task.started_at)
                self.events.committed(task.problem, number, event)

    # --- 8 stop? -----------------------------------------------------------------------

    def _stop(self, task: Task) -> None:
        """Decide after a commit whether the problem goes on."""
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
