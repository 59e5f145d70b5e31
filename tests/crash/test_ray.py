"""Replicas as actors of a real Ray on this machine, killed and lost."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
from toy_models import ToyPolicy, ToyReward, total, toy_problem

from rtsearch_fast import Budget, Problem, Searcher
from rtsearch_fast.errors import EngineError, InvalidArgumentError, MissingExtraError
from rtsearch_fast.evaluation.data import Item
from rtsearch_fast.evaluation.grade import Grader
from rtsearch_fast.runs.batch import Observer, run_batch
from rtsearch_fast.runs.replicas.ray_actors import ray_replicas
from rtsearch_fast.runs.store import RunStore

if find_spec("ray") is None and os.environ.get("RTS_REQUIRE_RAY"):
    raise ImportError("RTS_REQUIRE_RAY is set and ray is not installed")
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")

METHODS = ("majority", "mcts_g")
ITEMS = [
    Item(Problem(f"toy/{i}", text), str(total(text)))
    for i, text in enumerate(toy_problem(random.Random(i), 3) for i in range(12))
]


class SlowPolicy(ToyPolicy):
    async def sample(self, request):
        await asyncio.sleep(0.01)
        return await super().sample(request)


@asynccontextmanager
async def make(folder: Path, number: int) -> AsyncGenerator[list[Searcher], None]:
    """A replica that tells its process in a file."""
    (folder / f"{number}.{os.getpid()}").touch()
    yield [
        Searcher(SlowPolicy(), ToyReward(), method=method, budget=Budget(tokens=200), concurrency=2)
        for method in METHODS
    ]


def processes(folder: Path, number: int) -> list[int]:
    return [int(path.suffix[1:]) for path in folder.glob(f"{number}.*")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of the replicas' processes, which find this module as this process does."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    (tmp_path / "pids").mkdir()
    return tmp_path / "pids"


def undisturbed(path: Path, folder: Path) -> bytes:
    async def work(store: RunStore) -> None:
        async with make(folder, 99) as searchers:
            with Grader() as grader:
                await run_batch(ITEMS, searchers, store, grader)

    with RunStore(path) as store:
        asyncio.run(work(store))
    return path.read_bytes()


def over_ray(path: Path, folder: Path, replicas: int, observer: Observer, **settings) -> bytes:
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

    async def work(store: RunStore) -> None:
        async with ray_replicas(partial(make, folder), replicas, **settings) as pool:
            with Grader() as grader:
                await run_batch(ITEMS, await pool.searchers(), store, grader, observer)

    with RunStore(path) as store:
        asyncio.run(work(store))
    return path.read_bytes()


@needs_ray
@pytest.mark.filterwarnings("ignore")
def test_run_over_ray_when_an_actor_is_killed_in_mid_run_ends_with_the_bytes_of_one_process(
    folder: Path, tmp_path: Path
) -> None:
    class Killer(Observer):
        commits = 0
        killed: int | None = None

        def committed(self, method, task):
            self.commits += 1
            # not before both are at work
            if self.killed is None and self.commits >= 20 and processes(folder, 1):
                (self.killed,) = processes(folder, 1)
                os.kill(self.killed, signal.SIGKILL)

    killer = Killer()
    found = over_ray(tmp_path / "found.jsonl", folder, 2, killer, pause=0.01)
    assert killer.killed is not None
    assert found == undisturbed(tmp_path / "expected.jsonl", folder)


@needs_ray
@pytest.mark.filterwarnings("ignore")
def test_run_over_ray_when_all_actors_die_again_and_again_ends_in_one_error_and_keeps_all(
    folder: Path, tmp_path: Path
) -> None:
    class Killer(Observer):
        done = 0

        def finished(self, method, item, record):
            self.done += 1

        def committed(self, method, task):
            if self.done >= 3:
                for pid in processes(folder, 0):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    killer = Killer()
    with pytest.raises(EngineError, match=r"all 1 replicas were given up.*--resume"):
        over_ray(tmp_path / "found.jsonl", folder, 1, killer, max_losses=1)
    assert len((tmp_path / "found.jsonl").read_bytes().splitlines()) == killer.done >= 3


@asynccontextmanager
async def make_nothing(number: int) -> AsyncGenerator[list[Searcher], None]:
    yield []


@needs_ray
@pytest.mark.filterwarnings("ignore")
def test_ray_when_actors_cannot_import_what_makes_their_models_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost = ModuleType("nowhere")
    monkeypatch.setitem(sys.modules, "nowhere", lost)
    lost.make = make_nothing
    monkeypatch.setattr(make_nothing, "__module__", "nowhere")
    monkeypatch.setattr(make_nothing, "__qualname__", "make")

    async def work() -> None:
        async with ray_replicas(make_nothing, 1, max_losses=1) as pool:
            await pool.searchers()

    with pytest.raises(EngineError, match="No module named 'nowhere'") as caught:
        asyncio.run(work())
    assert "\x1b" not in str(caught.value)


async def _join(address: str) -> None:
    async with ray_replicas(partial(make, Path()), 1, address=address):
        pass


@needs_ray
@pytest.mark.filterwarnings("ignore")
def test_ray_when_nothing_listens_at_its_address_says_so_in_one_line() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(EngineError, match=f"no Ray at {address} .*ray start --head") as caught:
            asyncio.run(_join(address))
    assert "\n" not in str(caught.value)


@needs_ray
def test_ray_when_its_address_is_no_address_names_the_forms_that_are() -> None:
    with pytest.raises(InvalidArgumentError, match=r"'ray://x:1': give local, auto or the host:po"):
        asyncio.run(_join("ray://x:1"))


def test_ray_when_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "rtsearch-fast\[ray\]"'):
        asyncio.run(_join("local"))
