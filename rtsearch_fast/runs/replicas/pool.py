"""Hands the problems of a run out to replicas, and is the one that hears of everything.

Replicas come and go: one that is not there yet takes part from when it is, one that is lost is
replaced, and its problems go to others with all that was committed of them, to go on in mid-tree.
What becomes of a problem does not depend on who searches it, so a run over replicas ends with the
bytes of a run in one process.

Nobody holds more problems than its engine has begun, but for a few; and while the writer is behind,
no news is asked for, so that replicas get nothing new either.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from types import TracebackType
from typing import Protocol

from ...errors import EngineError, InvalidArgumentError
from ...search.events import Event, EventLog, candidates_of
from ...search.ledger import Ledger
from ...search.options import Budget, SearchOptions
from ...search.records import Problem, SearchResult
from ...search.task import Task
from .worker import Assignment, Face, Name, News

__all__ = ["Handle", "RemoteSearcher", "ReplicaPool", "WorkerLost"]

_LOG = logging.getLogger(__name__)


class WorkerLost(Exception):
    """A worker cannot be reached any more; the text says why, in a few words."""


class _EngineFailed(WorkerLost):
    """A worker is there, and its engine is not."""


class Handle(Protocol):
    """A worker, wherever it runs. Everything but `kill` may raise `WorkerLost`."""

    async def start(self) -> list[Face]: ...
    async def begin(self, index: int) -> None: ...
    def put(self, assignments: Sequence[Assignment]) -> None: ...
    async def news(self, seconds: float) -> News: ...
    def kill(self) -> None: ...


class ReplicaPool:
    """A number of workers, alive as far as that can be had. Use it as an async context manager.

    Parameters
    ----------
    hire : callable
        Makes a handle for the replica with a number.
    replicas : int
    ahead : int
        Problems that a replica holds without having begun them.
    max_losses : int
        A replica that is lost so many times without a simulation in between is given up; one whose
        engine fails before it ever worked, at once.
    pause : float
        Seconds before a lost worker is replaced; each further time in a row it is twice as long.
    beat : float
        Seconds after which a worker answers even if there is nothing to tell.
    """

    def __init__(
        self,
        hire: Callable[[int], Handle],
        replicas: int,
        *,
        ahead: int = 4,
        max_losses: int = 4,
        pause: float = 0.5,
        beat: float = 2.0,
    ) -> None:
        for name, value in (("replicas", replicas), ("ahead", ahead), ("max_losses", max_losses)):
            if value < 1:
                raise InvalidArgumentError(f"{name}={value}: must be at least 1")
        self.ahead = ahead
        self.beat = beat
        self._faces: list[Face] = []
        self._replicas = [
            _Replica(number, hire, self._check, max_losses, pause) for number in range(replicas)
        ]

    async def __aenter__(self) -> ReplicaPool:
        for one in self._replicas:
            one.begin_hiring()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.gather(*(one.close() for one in self._replicas))

    async def searchers(self) -> list[RemoteSearcher]:
        """The searchers that every worker has, as soon as there is a worker."""
        waiting = {asyncio.ensure_future(one.worker()) for one in self._replicas}
        try:
            while not self._faces:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if not isinstance(task.exception(), _GivenUp):
                        task.result()
                if not self._faces and not waiting:
                    raise self.all_given_up()
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        return [RemoteSearcher(self, index, face) for index, face in enumerate(self._faces)]

    async def run(
        self,
        index: int,
        problems: Iterable[Problem],
        on_commit: Callable[[Task], None] | None,
        events: EventLog | None,
    ) -> AsyncGenerator[SearchResult, None]:
        """Search all problems with the searcher at `index`; yields each result as it comes."""
        search = _Search(index, self._faces[index].budget, problems, on_commit, events)
        serving = [asyncio.ensure_future(self._serve(one, search)) for one in self._replicas]
        try:
            async with aclosing(search.results()) as results:
                async for result in results:
                    yield result
        finally:
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)

    def all_given_up(self) -> EngineError:
        reason = next(one.reason for one in self._replicas if one.reason)
        return EngineError(
            f"all {len(self._replicas)} replicas were given up, the first for this: {reason}; what "
            "was committed is kept: mend the cause and go on with --resume"
        )

    async def _serve(self, one: _Replica, search: _Search) -> None:
        """Let a replica take part in a search, and whoever takes its place."""
        try:
            while True:
                try:
                    worker = await one.worker()
                    await worker.begin(search.index)
                    await self._attend(one, worker, search)
                except WorkerLost as lost:
                    problems = search.give_back(one.number)
                    one.lose(str(lost), by_engine=isinstance(lost, _EngineFailed))
                    _LOG.warning(
                        "replica %d is lost (%s); %d problems go on elsewhere",
                        one.number,
                        lost,
                        problems,
                    )
        except _GivenUp:
            if all(other.is_given_up for other in self._replicas):
                await search.fail(self.all_given_up())
        except Exception as error:  # whoever reads the results is to see it
            await search.fail(error)

    async def _attend(self, one: _Replica, worker: Handle, search: _Search) -> None:
        given = taken = 0
        while True:
            assignments = search.take(one.number, self.ahead - (given - taken))
            if assignments:
                given += len(assignments)
                worker.put(assignments)
            if not search.has(one.number):
                await search.given_back()  # until another replica is lost
                continue
            news = await worker.news(self.beat)
            if isinstance(news.error, EngineError):
                await search.hear(one.number, news)
                raise _EngineFailed(str(news.error))
            if news.error is not None:
                raise news.error  # of settings or data: it would be the same elsewhere
            taken = news.taken
            if news.events or news.results:
                one.prove()
                await search.hear(one.number, news)

    def _check(self, number: int, faces: list[Face]) -> None:
        """All workers must search alike."""
        self._faces = self._faces or faces
        if faces != self._faces:
            ours, theirs = next((a, b) for a, b in zip(self._faces, faces, strict=True) if a != b)
            raise InvalidArgumentError(
                f"replica {number} has other models or settings than the first one: {theirs}, not "
                f"{ours}; start every server with the same model"
            )


class RemoteSearcher:
    """Looks like a `Searcher`, and lets replicas do the work.

    Parameters
    ----------
    pool : ReplicaPool
    index : int
        Which of the workers' searchers it stands for.
    face : Face
    """

    def __init__(self, pool: ReplicaPool, index: int, face: Face) -> None:
        self._pool = pool
        self._index = index
        self._face = face

    @property
    def method(self) -> str:
        return self._face.method

    @property
    def options(self) -> SearchOptions:
        return self._face.options

    @property
    def budget(self) -> Budget:
        return self._face.budget

    @property
    def splitter(self) -> Name:
        return self._face.splitter

    @property
    def policy(self) -> Name:
        return self._face.policy

    @property
    def reward(self) -> Name:
        return self._face.reward

    async def stream(
        self,
        problems: Iterable[Problem],
        on_commit: Callable[[Task], None] | None = None,
        events: EventLog | None = None,
    ) -> AsyncGenerator[SearchResult, None]:
        """Yield each problem's result as it is finished, in no particular order.

        What `on_commit` sees of a task is its problem, the answers and scores of its candidates,
        and its number of simulations: enough for a display.
        """
        async with aclosing(self._pool.run(self._index, problems, on_commit, events)) as results:
            async for result in results:
                yield result


class _GivenUp(Exception):
    """A replica is not replaced any more."""


class _Replica:
    """A place for a worker: the one that is there, or is being hired."""

    def __init__(
        self,
        number: int,
        hire: Callable[[int], Handle],
        check: Callable[[int, list[Face]], None],
        max_losses: int,
        pause: float,
    ) -> None:
        self.number = number
        self.losses = 0  # in a row
        self.reason = ""
        self._hire = hire
        self._check = check
        self._max_losses = max_losses
        self._pause = pause
        self._has_worked = False
        self._handle: Handle | None = None
        self._hiring: asyncio.Future[Handle] | None = None

    @property
    def is_given_up(self) -> bool:
        return self.losses >= self._max_losses

    def begin_hiring(self) -> None:
        if self._hiring is None:
            self._hiring = asyncio.ensure_future(self._find())

    async def worker(self) -> Handle:
        """The worker, when there is one."""
        self.begin_hiring()
        assert self._hiring is not None
        return await asyncio.shield(self._hiring)

    async def _find(self) -> Handle:
        while not self.is_given_up:
            if self.losses:
                await asyncio.sleep(self._pause * 2 ** (self.losses - 1))
            self._handle = self._hire(self.number)
            try:
                faces = await self._handle.start()
            except (WorkerLost, EngineError) as error:
                self.lose(str(error), by_engine=isinstance(error, EngineError))
                _LOG.warning("replica %d does not start (%s)", self.number, error)
                continue
            self._check(self.number, faces)
            return self._handle
        raise _GivenUp

    def lose(self, reason: str, *, by_engine: bool) -> None:
        # an engine that never was there is not waited for, as in one process
        hopeless = by_engine and not self._has_worked
        self.losses = self._max_losses if hopeless else self.losses + 1
        self.reason = reason
        if self._hiring is not None and self._hiring.done():
            self._hiring = None
        if self._handle is not None:
            self._handle.kill()  # it may be alive still, out of reach
            self._handle = None

    def prove(self) -> None:
        """It works."""
        self.losses = 0
        self._has_worked = True

    async def close(self) -> None:
        if self._hiring is not None:
            self._hiring.cancel()
            await asyncio.gather(self._hiring, return_exceptions=True)
        if self._handle is not None:
            self._handle.kill()


class _Search:
    """Who has which problem, and what is known of it."""

    def __init__(
        self,
        index: int,
        budget: Budget,
        problems: Iterable[Problem],
        on_commit: Callable[[Task], None] | None,
        events: EventLog | None,
    ) -> None:
        self.index = index
        # short: who brings results waits until those before them were written
        self._results: asyncio.Queue[list[SearchResult] | Exception] = asyncio.Queue(1)
        self._unread = 0  # finished problems that are on their way through the queue
        self._budget = budget
        self._rest = iter(enumerate(problems))
        self._next = next(self._rest, None)
        self._back: deque[tuple[int, Problem]] = deque()
        self._out: defaultdict[int, dict[int, Problem]] = defaultdict(dict)  # by replica
        self._num_out = 0
        self._shown: dict[int, Task] = {}  # what a display is shown
        self._on_commit = on_commit
        self._memory = _Memory()
        self._events: EventLog = self._memory if events is None else events
        self._change = asyncio.Event()

    def has(self, replica: int) -> bool:
        """Whether the replica has anything to do."""
        return bool(self._out[replica])

    def take(self, replica: int, most: int) -> list[Assignment]:
        """Problems for a replica; those that were begun before come first."""
        taken: list[Assignment] = []
        while len(taken) < most and (self._back or self._next is not None):
            if self._back:
                number, problem = self._back.popleft()
            else:
                assert self._next is not None
                number, problem = self._next
                self._next = next(self._rest, None)
            self._out[replica][number] = problem
            taken.append(Assignment(number, problem, list(self._events.known(problem))))
        self._num_out += len(taken)
        return taken

    def give_back(self, replica: int) -> int:
        """Its problems are for others; returns how many."""
        lost = self._out.pop(replica, {})
        self._num_out -= len(lost)
        self._back.extend(lost.items())
        self._change.set()
        self._change = asyncio.Event()
        return len(lost)

    async def given_back(self) -> None:
        """Wait until some replica is lost."""
        await self._change.wait()

    async def hear(self, replica: int, news: News) -> None:
        """Keep what a replica committed and finished; waits while the reader is behind."""
        mine = self._out[replica]
        for number, simulation, event in news.events:
            self._events.committed(mine[number], simulation, event)
            if self._on_commit is not None:
                self._on_commit(self._show(number, mine[number], event))
        results = []
        for number, result in news.results:
            problem = mine.pop(number)  # the very object that its reader knows
            results.append(replace(result, problem=problem))
            self._shown.pop(number, None)
            self._memory.forget(problem)
        if results:
            self._num_out -= len(results)
            self._unread += len(results)
            await self._results.put(results)

    async def fail(self, error: Exception) -> None:
        """Let whoever reads the results see an error."""
        await self._results.put(error)

    async def results(self) -> AsyncGenerator[SearchResult, None]:
        """All results, as they come."""
        while self._next is not None or self._back or self._num_out or self._unread:
            results = await self._results.get()
            if isinstance(results, Exception):
                raise results
            self._unread -= len(results)
            for result in results:
                yield result

    def _show(self, number: int, problem: Problem, event: Event) -> Task:
        task = self._shown.get(number)
        if task is None:
            task = self._shown[number] = Task(problem, Ledger(self._budget))
        task.candidates += candidates_of(event)
        task.usage.simulations += 1
        return task


class _Memory:
    """Events where nobody keeps them: for as long as their problem is under search."""

    def __init__(self) -> None:
        self._events: dict[int, list[Event]] = {}

    def known(self, problem: Problem) -> Sequence[Event]:
        return self._events.get(id(problem), ())

    def committed(self, problem: Problem, number: int, event: Event) -> None:
        self._events.setdefault(id(problem), [])[number:] = [event]

    def forget(self, problem: Problem) -> None:
        self._events.pop(id(problem), None)
