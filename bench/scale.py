"""What a run over replicas costs, and how many of them one writer can serve.

    python bench/scale.py

First the same problems in one process and over Ray on this machine, with a simulated engine in real
time: wall time, and what the one process that hands out, grades and writes needs of a core for each
problem. Then a simulated GPU in virtual time tells how many problems a replica finishes in a
second; both together say how busy the writer is with 8, 64 and 512 replicas. Replicas share nothing
but the writer, so their throughput adds up until the writer is busy all the time.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from engine_model import CPU_LIKE, GPU_LIKE

from rtsearch_fast import Budget, Problem, Searcher, SearchOptions
from rtsearch_fast.engine.simulator.engine import SimulatedEngine
from rtsearch_fast.engine.simulator.model import EngineModel
from rtsearch_fast.engine.simulator.virtual_time import run as run_virtually
from rtsearch_fast.engine.simulator.writer import SyntheticWriter
from rtsearch_fast.evaluation.data import Item
from rtsearch_fast.evaluation.grade import Grader
from rtsearch_fast.policy.prompt import PromptTemplate
from rtsearch_fast.policy.prompted import PromptedPolicy
from rtsearch_fast.reward.generative import GenerativeReward
from rtsearch_fast.runs.batch import Observer, run_batch
from rtsearch_fast.runs.folder.writer import RunFolder
from rtsearch_fast.runs.replicas.ray_actors import ray_replicas

#: Waits like an engine, and is quick: 128 sequences, a token every 4 ms.
QUICK = EngineModel(name="quick", max_num_seqs=128, base=0.004)


def items(number: int) -> list[Item]:
    return [
        Item(Problem(str(i), f"Problem {i}: what is {i} times {i}?"), "3") for i in range(number)
    ]


@asynccontextmanager
async def make(
    model: EngineModel, tokens: int, number: int
) -> AsyncGenerator[list[Searcher], None]:
    engine = SimulatedEngine(model, SyntheticWriter(range(20, 60), range(4, 10)))
    yield [
        Searcher(
            PromptedPolicy(engine, PromptTemplate.load("labelled")),
            GenerativeReward(engine),
            budget=Budget(tokens=tokens),
            options=SearchOptions(max_solution_tokens=600),
            sequences=model.max_num_seqs,
        )
    ]


class Counts(Observer):
    """Commits, and when the first came."""

    def __init__(self) -> None:
        self.commits = 0
        self.began_at = 0.0
        self.cpu_at = 0.0

    def committed(self, method: str, task: Any) -> None:
        if not self.commits:
            self.began_at, self.cpu_at = time.monotonic(), time.process_time()
        self.commits += 1


def timed(name: str, number: int, searchers: Callable[[], Any]) -> tuple[float, float, bytes, int]:
    """Run; prints and returns wall seconds, the writer's seconds a problem, the file, commits."""
    counts = Counts()
    started = time.monotonic()

    async def work(store: RunFolder) -> None:
        async with searchers() as found:
            ready = await found.searchers() if hasattr(found, "searchers") else found
            with Grader() as grader:
                await run_batch(items(number), ready, store, grader, counts, keep_trees=True)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        with RunFolder(path, {"methods": ["mcts_g"]}, items(number)) as store:
            asyncio.run(work(store))
        data = (path / "journal.jsonl").read_bytes()
    ended = time.monotonic()
    seconds = ended - counts.began_at
    cpu = (time.process_time() - counts.cpu_at) / number
    print(
        f"{name:16}{counts.began_at - started:9.2f}{seconds:9.2f}{1e3 * cpu:16.2f}"
        f"{counts.commits / number:17.1f}{len(data) / number:16.0f}"
    )
    return seconds, cpu, data, counts.commits


def replica_speed(model: EngineModel, number: int, tokens: int) -> tuple[float, float]:
    """Problems and generated tokens a second of one replica that always has work."""

    async def work() -> tuple[float, int]:
        generated = 0
        async with make(model, tokens, 0) as (searcher,):
            async for result in searcher.stream([item.problem for item in items(number)]):
                generated += result.usage.tokens
        return asyncio.get_running_loop().time(), generated

    seconds, generated = run_virtually(work())
    return number / seconds, generated / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=300)
    parser.add_argument("--budget-tokens", type=int, default=2000)
    arguments = parser.parse_args()
    number, tokens = arguments.problems, arguments.budget_tokens

    print(f"{number} problems of {tokens} tokens on a simulated engine in real time")
    print(
        f"{'':16}{'start, s':>9}{'run, s':>9}{'writer, ms each':>16}{'commits each':>17}"
        f"{'bytes each':>16}"
    )
    here = timed("one process", number, partial(make, QUICK, tokens, 0))
    writer = 0.0
    for replicas in (1, 2):
        over = timed(
            f"Ray, {replicas} replica{'s' * (replicas > 1)}",
            number,
            partial(ray_replicas, partial(make, QUICK, tokens), replicas),
        )
        assert over[2] == here[2], "the files differ"
        writer = max(writer, over[1])
        if replicas == 1:
            print(f"  overhead of Ray with one replica: {100 * (over[0] / here[0] - 1):+.0f} %")
    commits = here[3] / number

    for model in (GPU_LIKE, CPU_LIKE):
        problems, speed = replica_speed(model, min(number, 400), tokens)
        print(f"\nreplicas of {model.name!r}: {problems:.2f} problems/s, {speed:.0f} tokens/s each")
        print(
            f"{'replicas':>8}{'tokens/s':>12}{'problems/s':>12}{'commits/s':>11}"
            f"{'news/s, most':>14}{'writer, % of a core':>21}"
        )
        for replicas in (8, 64, 512):
            rate = replicas * problems
            # at most one news for each commit or finished problem, and ten a second for company
            news = min(replicas * 10 + 2 * rate, rate * (commits + 2))
            print(
                f"{replicas:8}{replicas * speed:12.0f}{rate:12.1f}{rate * commits:11.0f}"
                f"{news:14.0f}{100 * rate * writer:21.0f}"
            )
        print(
            f"the writer is the first to break, at {1 / (writer * problems):.0f} replicas; from "
            "there on give each --shard i/n a writer of its own"
        )


if __name__ == "__main__":
    main()
