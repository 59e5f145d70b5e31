"""Does a run keep its memory and its file handles flat, however many problems it has?

    python bench/soak_runs.py --problems 10000

MCTS_G, graded, into a run folder with its journal, as `rtsearch eval` does. The answers of the
tests' toy models are recorded first, by a process of its own; what is measured is the run that
replays them, all of which are in memory. Prints resident memory and open files along the way, and
the size of what is left.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from soak import resident_mib

from rtsearch_fast import Budget, Problem, Sample, SampleRequest, Searcher
from rtsearch_fast.evaluation.data import Item
from rtsearch_fast.evaluation.grade import Grader
from rtsearch_fast.runs.batch import Observer, run_batch, summarise
from rtsearch_fast.runs.folder.writer import RunFolder
from rtsearch_fast.runs.recording import RecordedPolicy, RecordedReward, Recording

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))
from toy_models import ToyPolicy, ToyReward, total, toy_problem


class Policy(ToyPolicy):
    """Keeps no requests, which the tests look at."""

    async def sample(self, request: SampleRequest) -> Sequence[Sample]:
        samples = await super().sample(request)
        self.requests.clear()
        return samples


class Meter(Observer):
    """Prints as problems are finished."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._done = 0
        self._started_at = time.monotonic()

    def finished(self, method: str, item: Item, record: Mapping[str, Any]) -> None:
        self._done += 1
        if self._done % self._every == 0:
            files = len(list(Path("/proc/self/fd").iterdir()))
            seconds = time.monotonic() - self._started_at
            print(
                f"{self._done:>8,} problems  {resident_mib():6.1f} MiB  {files} files  "
                f"{seconds:6.1f} s",
                flush=True,
            )


def searcher(policy: RecordedPolicy, reward: RecordedReward) -> Searcher:
    return Searcher(policy, reward, method="mcts_g", budget=Budget(tokens=300), concurrency=32)


def record(path: str, items: Sequence[Item]) -> None:
    """Let the toy models answer all that a run asks."""
    with Recording(path) as recording:
        models = RecordedPolicy(recording, Policy()), RecordedReward(recording, ToyReward())
        asyncio.run(run_batch(items, [searcher(*models)], None, Grader()))


def replay(path: str, items: Sequence[Item]) -> None:
    """Run as on the command line, with all answers out of the file."""
    number = len(items)
    recording = Recording(path, replay=True)
    print(f"{recording.num_answers:>8,} answers, all in memory: {resident_mib():.1f} MiB")
    models = RecordedPolicy(recording), RecordedReward(recording)

    async def work(store: RunFolder) -> None:
        with Grader() as grader:
            meter = Meter(max(1, number // 10))
            found = await run_batch(
                items, [searcher(*models)], store, grader, meter, keep_trees=True
            )
            (row,) = summarise(found)
            print(f"{row.n:>8,} records read back, {row.correct:,} right; {resident_mib():.1f} MiB")

    with tempfile.TemporaryDirectory() as folder:
        with RunFolder(Path(folder, "run"), {"methods": ["mcts_g"]}, items) as store:
            asyncio.run(work(store))
        for path in sorted(Path(folder, "run").iterdir()):
            print(f"{path.stat().st_size / number:10,.0f} bytes a problem in {path.name}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Soak of a long run.")
    parser.add_argument("--problems", type=int, default=10_000)
    parser.add_argument("--record", metavar="FILE", help="only record the answers")
    arguments = parser.parse_args()
    texts = (toy_problem(random.Random(i), 3) for i in range(arguments.problems))
    items = [Item(Problem(str(i), text), str(total(text))) for i, text in enumerate(texts)]
    if arguments.record:
        record(arguments.record, [Item(item.problem, None) for item in items])
        return
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "answers.jsonl"))
        own = ["--problems", str(arguments.problems), "--record", path]
        subprocess.run([sys.executable, __file__, *own], check=True)
        replay(path, items)


if __name__ == "__main__":
    main()
