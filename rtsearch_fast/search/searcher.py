"""The face of search: a policy, a reward model, a method, and problems."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing

from ..policy.protocol import Policy
from ..reward.protocol import Reward
from ..steps import Splitter, make_splitter
from .driver import Driver
from .events import EventLog
from .feed import Feed
from .methods import make_method
from .options import Budget, SearchOptions
from .records import Problem, SearchResult
from .task import Task

__all__ = ["Searcher"]


class Searcher:
    """Solve problems with a policy and a reward model.

    Parameters
    ----------
    policy, reward : Policy, Reward
    method : str
        One of `rtsearch_fast.METHODS`.
    budget : Budget, optional
        Of each problem; 2,000 generated tokens if left out.
    options : SearchOptions, optional
    splitter : str or Splitter
        What a step is: "labelled" (``## Step k``), "string:SEP", "regex:PATTERN", "tokens:N",
        "think", or an object of your own.
    sequences : int
        Sequences that the policy's engine generates at once (vLLM: ``max_num_seqs``). Problems are
        begun while fewer are wanted.
    concurrency : int
        Most problems under search at once.
    """

    def __init__(
        self,
        policy: Policy,
        reward: Reward,
        *,
        method: str = "mcts_g",
        budget: Budget | None = None,
        options: SearchOptions | None = None,
        splitter: str | Splitter = "labelled",
        sequences: int = 128,
        concurrency: int = 256,
    ) -> None:
        self.policy = policy
        self.reward = reward
        self.method = method
        self.budget = budget if budget is not None else Budget(tokens=2000)
        self.options = options if options is not None else SearchOptions()
        self.splitter = make_splitter(splitter) if isinstance(splitter, str) else splitter
        self.sequences = sequences
        self.concurrency = concurrency
        self.driver()  # refuse bad settings now

    def driver(
        self,
        on_commit: Callable[[Task], None] | None = None,
        events: EventLog | None = None,
    ) -> Driver:
        """A fresh driver with these settings."""
        method, options = make_method(self.method, self.options, self.budget)
        return Driver(
            self.policy,
            self.reward,
            method,
            method_name=self.method,
            splitter=self.splitter,
            budget=self.budget,
            options=options,
            sequences=self.sequences,
            concurrency=self.concurrency,
            on_commit=on_commit,
            events=events,
        )

    async def stream(
        self,
        problems: Iterable[str | Problem] | Feed,
        on_commit: Callable[[Task], None] | None = None,
        events: EventLog | None = None,
    ) -> AsyncGenerator[SearchResult, None]:
        """Yield each problem's result as it is finished, in no particular order.

        Texts get their position as `unique_id`. A feed is searched until it is closed. What
        `events` holds of a problem is not searched again.
        """
        numbered: Iterable[Problem] | Feed
        if isinstance(problems, Feed):
            numbered = problems
        else:
            numbered = (
                Problem(str(i), problem) if isinstance(problem, str) else problem
                for i, problem in enumerate(problems)
            )
        # whoever stops listening stops the search, at once
        async with aclosing(self.driver(on_commit, events).run(numbered)) as results:
            async for result in results:
                yield result

    async def solve_async(self, problems: Sequence[str | Problem]) -> list[SearchResult]:
        """Solve problems; results in their order."""
        problems = [
            Problem(str(i), problem) if isinstance(problem, str) else problem
            for i, problem in enumerate(problems)
        ]
        results = {id(result.problem): result async for result in self.stream(problems)}
        return [results[id(problem)] for problem in problems]

    def solve(self, problem: str | Problem) -> SearchResult:
        """Solve one problem (not from inside a running event loop: await `solve_async` there)."""
        return asyncio.run(self.solve_async([problem]))[0]
