"""A replica: models and searchers that work on problems from elsewhere and tell what comes of it.

It knows nothing of how it is reached; `ray_actors` makes an actor of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass, field

from ...errors import SearchError
from ...search.events import Event
from ...search.feed import Feed
from ...search.options import Budget, SearchOptions
from ...search.records import Problem, SearchResult
from ...search.searcher import Searcher

__all__ = ["Assignment", "Face", "Make", "Name", "News", "Worker"]

#: Loads the models of the replica with this number, and makes the searchers of a run.
Make = Callable[[int], AbstractAsyncContextManager[Sequence[Searcher]]]

#: Events wait so long for company: one that is lost with its worker costs one simulation.
_GATHER_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Name:
    """What is known of a model or splitter elsewhere."""

    name: str


@dataclass(frozen=True, slots=True)
class Face:
    """What decides the records of a searcher, without its models."""

    method: str
    options: SearchOptions
    budget: Budget
    splitter: Name
    policy: Name
    reward: Name

    @classmethod
    def of(cls, searcher: Searcher) -> Face:
        return cls(
            searcher.method,
            searcher.options,
            searcher.budget,
            Name(searcher.splitter.name),
            Name(searcher.policy.name),
            Name(searcher.reward.name),
        )


@dataclass(frozen=True, slots=True)
class Assignment:
    """A problem to search, by its number in the run, and what was committed of it elsewhere."""

    number: int
    problem: Problem
    known: Sequence[Event] = ()


@dataclass(slots=True)
class News:
    """What happened since the last news; of one problem, the events come before the result.

    Attributes
    ----------
    taken : int
        Problems that were begun, in all.
    events : list of (int, int, Event)
        Problem, number of the simulation, and what it committed.
    results : list of (int, SearchResult)
    error : SearchError, optional
        What ended the search.
    """

    taken: int = 0
    events: list[tuple[int, int, Event]] = field(default_factory=list)
    results: list[tuple[int, SearchResult]] = field(default_factory=list)
    error: SearchError | None = None


class Worker:
    """Searches what it is given, one searcher at a time.

    Parameters
    ----------
    make : Make
    number : int
        Of the replica.
    """

    def __init__(self, make: Make, number: int) -> None:
        self._made = make(number)
        self._stack = AsyncExitStack()
        self._searchers: Sequence[Searcher] = ()
        self._session: _Session | None = None

    async def start(self) -> list[Face]:
        """Load the models."""
        self._searchers = await self._stack.enter_async_context(self._made)
        return [Face.of(searcher) for searcher in self._searchers]

    async def begin(self, index: int) -> None:
        """Begin to search with the searcher at `index`; ends what was under way."""
        await self._end()
        self._session = _Session(self._searchers[index])

    async def put(self, assignments: Sequence[Assignment]) -> None:
        """Take problems over."""
        assert self._session is not None
        self._session.put(assignments)

    async def news(self, seconds: float) -> News:
        """What happened, as soon as something did, but after so many seconds at the latest."""
        assert self._session is not None
        return await self._session.news(seconds)

    async def aclose(self) -> None:
        await self._end()
        await self._stack.aclose()

    async def _end(self) -> None:
        if self._session is not None:
            await self._session.aclose()
            self._session = None


class _Session:
    """One searcher at work. Of the driver's events it is the log."""

    def __init__(self, searcher: Searcher) -> None:
        self._assigned: dict[int, Assignment] = {}  # by the id of their problem
        self._news = News()
        self._something = asyncio.Event()
        self._urgent = asyncio.Event()
        self._feed = Feed(on_take=self._tell)
        self._search = asyncio.ensure_future(self._run(searcher))

    def put(self, assignments: Sequence[Assignment]) -> None:
        for assignment in assignments:
            self._assigned[id(assignment.problem)] = assignment
            self._feed.put(assignment.problem)

    async def news(self, seconds: float) -> News:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._something.wait(), seconds)
            await asyncio.wait_for(self._urgent.wait(), _GATHER_SECONDS)
        if self._search.done():
            self._search.result()  # raises what is a bug
        news, self._news = self._news, News()
        news.taken = self._feed.taken
        self._something.clear()
        self._urgent.clear()
        return news

    async def aclose(self) -> None:
        self._search.cancel()
        await asyncio.gather(self._search, return_exceptions=True)

    async def _run(self, searcher: Searcher) -> None:
        try:
            async for result in searcher.stream(self._feed, events=self):
                assignment = self._assigned.pop(id(result.problem))
                self._news.results.append((assignment.number, result))
                self._tell()
        except SearchError as error:
            self._news.error = error
            self._tell()
        except BaseException:
            self._tell()
            raise

    def known(self, problem: Problem) -> Sequence[Event]:
        return self._assigned[id(problem)].known

    def committed(self, problem: Problem, number: int, event: Event) -> None:
        self._news.events.append((self._assigned[id(problem)].number, number, event))
        self._something.set()

    def _tell(self) -> None:
        self._something.set()
        self._urgent.set()
