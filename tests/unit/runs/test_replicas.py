"""A run over replicas in one process: what comes and goes changes nothing of what is found."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from toy_models import ToyPolicy, ToyReward, total, toy_problem

from rtsearch_fast import Budget, Problem, Searcher
from rtsearch_fast.errors import DataError, EngineError, InvalidArgumentError
from rtsearch_fast.evaluation.data import Item
from rtsearch_fast.evaluation.grade import Grader
from rtsearch_fast.runs.batch import Observer, run_batch
from rtsearch_fast.runs.replicas.pool import ReplicaPool, WorkerLost
from rtsearch_fast.runs.replicas.worker import Assignment, Face, Make, News, Worker
from rtsearch_fast.runs.store import RunStore
from rtsearch_fast.search.events import Event

PATIENCE = 100  # seconds; only a run that hangs comes near
METHODS = ("best_of_n", "mcts_g")
ITEMS = [
    Item(Problem(f"toy/{i}", text), str(total(text)))
    for i, text in enumerate(toy_problem(random.Random(i), 3) for i in range(12))
]


class LocalHandle:
    """A worker in this process, which can be lost."""

    def __init__(self, make: Make, number: int) -> None:
        self.worker = Worker(make, number)
        self.lost = asyncio.get_running_loop().create_future()
        self.put_problems: list[Problem] = []

    async def _unless_lost(self, call: Any) -> Any:
        task = asyncio.ensure_future(call)
        await asyncio.wait({task, self.lost}, return_when=asyncio.FIRST_COMPLETED)
        if self.lost.done():
            task.cancel()
            await asyncio.gather(task, self.worker.aclose(), return_exceptions=True)
            raise WorkerLost("it was told to die")
        return task.result()

    async def start(self) -> list[Face]:
        return await self._unless_lost(self.worker.start())

    async def begin(self, index: int) -> None:
        await self._unless_lost(self.worker.begin(index))

    def put(self, assignments: Sequence[Assignment]) -> None:
        self.put_problems += [assignment.problem for assignment in assignments]
        self.putting = asyncio.ensure_future(self.worker.put(assignments))

    async def news(self, seconds: float) -> News:
        return await self._unless_lost(self.worker.news(seconds))

    def kill(self) -> None:
        if not self.lost.done():
            self.lost.set_result(None)


class Counted(ToyPolicy):
    """Counts what it is asked, over all replicas of a test."""

    def __init__(self, asked: Counter[Any]) -> None:
        super().__init__(delay_seed=1)
        self.asked = asked

    async def sample(self, request):
        samples = await super().sample(request)
        self.asked[request.problem, request.steps, request.seeds] += 1
        return samples


def make_with(
    policy: Callable[[int], Any] = lambda number: ToyPolicy(delay_seed=number + 1),
    concurrency: int = 2,
) -> Make:
    @asynccontextmanager
    async def make(number: int) -> AsyncGenerator[list[Searcher], None]:
        yield [
            Searcher(
                policy(number),
                ToyReward(),
                method=method,
                budget=Budget(tokens=200),
                concurrency=concurrency,
            )
            for method in METHODS
        ]

    return make


def undisturbed(path: Path) -> bytes:
    async def work(store: RunStore) -> None:
        async with make_with()(0) as searchers:
            with Grader() as grader:
                await run_batch(ITEMS, searchers, store, grader)

    with RunStore(path) as store:
        asyncio.run(work(store))
    return path.read_bytes()


def over_replicas(
    path: Path,
    hire: Callable[[int], Any],
    replicas: int,
    observer: Observer | None = None,
    **settings: Any,
) -> bytes:
    async def work(store: RunStore) -> None:
        async with ReplicaPool(hire, replicas, **{"pause": 0.001, **settings}) as pool:
            with Grader() as grader:
                await run_batch(ITEMS, await pool.searchers(), store, grader, observer)

    with RunStore(path) as store:
        asyncio.run(asyncio.wait_for(work(store), PATIENCE))
    return path.read_bytes()


@pytest.mark.parametrize("replicas", [1, 3])
def test_run_when_over_replicas_leaves_the_bytes_of_one_process(replicas, tmp_path) -> None:
    handles = []

    def hire(number: int) -> LocalHandle:
        handles.append(LocalHandle(make_with(), number))
        return handles[-1]

    found = over_replicas(tmp_path / "found.jsonl", hire, replicas)
    assert found == undisturbed(tmp_path / "expected.jsonl")
    assert all(handle.put_problems for handle in handles) and len(handles) == replicas


def test_run_when_replicas_are_lost_again_and_again_leaves_the_bytes_of_one_process(
    tmp_path,
) -> None:
    hired: list[LocalHandle] = []

    def hire(number: int) -> LocalHandle:
        hired.append(LocalHandle(make_with(concurrency=1), number))
        return hired[-1]

    class Killer(Observer):
        commits = 0

        def committed(self, method, task):
            self.commits += 1
            if self.commits % 7 == 0:
                hired[-1].kill()

    found = over_replicas(tmp_path / "found.jsonl", hire, 2, Killer())
    assert found == undisturbed(tmp_path / "expected.jsonl")
    assert len(hired) > 4


@pytest.mark.parametrize("cut", [0, 1, 3, 5])
def test_worker_when_given_what_was_committed_elsewhere_asks_for_the_rest_alone(cut) -> None:
    async def search(known: list[Event]) -> tuple[list[Event], str, int]:
        asked: Counter[Any] = Counter()
        worker = Worker(make_with(lambda _: Counted(asked)), 0)
        await worker.start()
        await worker.begin(METHODS.index("mcts_g"))
        await worker.put([Assignment(7, ITEMS[0].problem, known)])
        events, results = list(known), []
        while not results:
            news = await worker.news(PATIENCE)
            for number, simulation, event in news.events:
                assert number == 7 and simulation == len(events)
                events.append(event)
            results += news.results
        await worker.aclose()
        ((number, result),) = results
        assert number == 7
        return events, result.signature, sum(asked.values())

    events, signature, requests = asyncio.run(search([]))
    again, same_signature, fewer = asyncio.run(search(events[:cut]))
    strip = [{k: v for k, v in event.items() if k != "seconds"} for event in events]
    assert [{k: v for k, v in event.items() if k != "seconds"} for event in again] == strip
    assert same_signature == signature
    assert (fewer < requests) == (cut > 0)


def test_run_when_a_replica_comes_late_lets_it_take_part(tmp_path) -> None:
    late: list[LocalHandle] = []
    release = None

    class Late(LocalHandle):
        async def start(self) -> list[Face]:
            nonlocal release
            release = asyncio.Event()
            await release.wait()
            return await super().start()

    def hire(number: int) -> LocalHandle:
        if number == 0:
            return LocalHandle(make_with(concurrency=1), number)
        late.append(Late(make_with(concurrency=1), number))
        return late[-1]

    class Releases(Observer):
        def finished(self, method, item, record):
            release.set()

    found = over_replicas(tmp_path / "found.jsonl", hire, 2, Releases(), ahead=1)
    assert found == undisturbed(tmp_path / "expected.jsonl")
    assert late[0].put_problems


def test_run_when_all_replicas_die_again_and_again_ends_in_one_error_and_keeps_all(
    tmp_path,
) -> None:
    hired: list[LocalHandle] = []
    is_ill = False

    class Mortal(LocalHandle):
        async def news(self, seconds: float) -> News:
            if is_ill:
                self.kill()
            return await super().news(seconds)

    def hire(number: int) -> LocalHandle:
        hired.append(Mortal(make_with(), number))
        return hired[-1]

    class FallsIll(Observer):
        done = 0

        def finished(self, method, item, record):
            nonlocal is_ill
            self.done += 1
            is_ill = self.done >= 5

    path, observer = tmp_path / "found.jsonl", FallsIll()
    with pytest.raises(EngineError, match=r"all 2 replicas were given up.*told to die.*resume"):
        over_replicas(path, hire, 2, observer, max_losses=3)
    assert len(hired) == 2 * 3
    assert len(path.read_bytes().splitlines()) == observer.done >= 5


class Refuses(ToyPolicy):
    """A policy whose engine ends, for good or because of what it is asked."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def sample(self, request):
        raise self.error


def test_run_when_the_engine_of_one_replica_fails_gives_its_problems_to_others(tmp_path) -> None:
    def hire(number: int) -> LocalHandle:
        policy = Refuses(EngineError("the server is lost")) if number else ToyPolicy()
        return LocalHandle(make_with(lambda _: policy), number)

    found = over_replicas(tmp_path / "found.jsonl", hire, 2, max_losses=2)
    assert found == undisturbed(tmp_path / "expected.jsonl")


def test_run_when_no_engine_was_there_from_the_start_waits_for_none(tmp_path) -> None:
    hired = []

    def hire(number: int) -> LocalHandle:
        hired.append(number)
        policy = Refuses(EngineError(f"no server {number}"))
        return LocalHandle(make_with(lambda _: policy), number)

    with pytest.raises(EngineError, match=r"all 2 replicas were given up.*no server 0.*--resume"):
        over_replicas(tmp_path / "found.jsonl", hire, 2)
    assert sorted(hired) == [0, 1]


def test_run_when_an_engine_fails_in_mid_run_hires_its_replica_anew(tmp_path) -> None:
    hired = []

    class FailsOnce(ToyPolicy):
        async def sample(self, request):
            if len(hired) == 1 and len(self.requests) > 20:
                raise EngineError("the server is lost")
            return await super().sample(request)

    def hire(number: int) -> LocalHandle:
        hired.append(number)
        return LocalHandle(make_with(lambda _: FailsOnce()), number)

    found = over_replicas(tmp_path / "found.jsonl", hire, 1)
    assert hired == [0, 0]
    assert found == undisturbed(tmp_path / "expected.jsonl")


def test_run_when_a_replica_finds_its_data_wrong_ends_with_that_error(tmp_path) -> None:
    policy = Refuses(DataError("line 3: no problem"))
    with pytest.raises(DataError, match="line 3: no problem"):
        over_replicas(
            tmp_path / "found.jsonl", lambda n: LocalHandle(make_with(lambda _: policy), n), 2
        )


def test_run_when_a_replica_has_a_bug_raises_it_as_it_is(tmp_path) -> None:
    policy = Refuses(ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        over_replicas(
            tmp_path / "found.jsonl", lambda n: LocalHandle(make_with(lambda _: policy), n), 2
        )


def test_run_when_replicas_have_different_models_ends_with_both_names(tmp_path) -> None:
    def hire(number: int) -> LocalHandle:
        policy = ToyPolicy()
        policy.name = f"model-{number}"
        return LocalHandle(make_with(lambda _: policy), number)

    with pytest.raises(InvalidArgumentError, match=r"replica \d has other models.*model-"):
        over_replicas(tmp_path / "found.jsonl", hire, 2)


def test_replicas_when_their_engines_are_full_hold_but_a_few_problems_more(tmp_path) -> None:
    handles: list[LocalHandle] = []
    most = 0

    def hire(number: int) -> LocalHandle:
        handles.append(LocalHandle(make_with(concurrency=1), number))
        return handles[-1]

    class Looks(Observer):
        done = 0

        def finished(self, method, item, record):
            nonlocal most
            if method == METHODS[0]:
                self.done += 1
                most = max(most, len(handles[0].put_problems) - self.done)

    over_replicas(tmp_path / "found.jsonl", hire, 1, Looks(), ahead=2)
    # one is searched, another may be by the time that its record is written, and two are ahead
    assert 2 <= most <= 4


def test_pool_when_it_would_have_no_replicas_refuses_the_number() -> None:
    with pytest.raises(InvalidArgumentError, match="replicas=0: must be at least 1"):
        ReplicaPool(lambda number: LocalHandle(make_with(), number), 0)
