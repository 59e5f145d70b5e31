"""The beam of its_hub: finished paths stay in it, and compete with the others."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from ...search.task import Child, Job, Outcome, Task

__all__ = ["LevelBeam", "Path"]


@dataclass(frozen=True, slots=True)
class Path:
    """A path of the beam; `score` is that of its text up to here, -1 if there was no verdict."""

    steps: tuple[str, ...]
    place: tuple[int, ...]
    num_tokens: int
    score: float = -1.0
    stopped: bool = False


class LevelBeam:
    """Continue the paths of the beam by `budget` steps together, keep the best, go one level down.

    Of equal scores the first sample of each path comes before the second samples. For one problem.

    Parameters
    ----------
    beam_width : int
    budget : int
        Steps of one level.
    as_original : bool
        The first level gets ``budget / beam_width`` steps, and each stopped path counts
        ``budget / beam_width`` times, as in its_hub.

    Attributes
    ----------
    beam : list of Path
        The beam, best first; when the search is complete, all of it has stopped.
    """

    vote = "best"

    def __init__(self, beam_width: int, budget: int, *, as_original: bool = False) -> None:
        self.beam = [Path((), (), 0)]
        self._width = min(beam_width, budget)
        self._budget = budget
        self._copies = budget // beam_width if as_original else 1
        self._as_original = as_original
        self._jobs: deque[Job] = deque()
        self._running = 0
        #: (number of the sample, of the path, what came of it)
        self._pool: list[tuple[int, int, Path]] = []

    def start(self, task: Task) -> None:
        self._begin_level()

    def _begin_level(self) -> None:
        going = [(i, path) for i, path in enumerate(self.beam) if not path.stopped]
        budget = self._budget
        if self._as_original:
            budget = self._copies * len(going)
        self._pool = [
            (copy, i, path)
            for i, path in enumerate(self.beam)
            if path.stopped
            for copy in range(self._copies)
        ]
        for number, (i, path) in enumerate(going):
            width = budget // len(going) + (number < budget % len(going))
            self._jobs.append(Job(i, path.steps, path.place, path.num_tokens, width))

    def next_width(self, task: Task) -> int:
        return self._jobs[0].width if self._jobs else 1

    def select(self, tasks: Sequence[Task]) -> list[Job | None]:
        job = self._jobs.popleft() if self._jobs else None
        self._running += job is not None
        return [job]

    def commit(self, outcomes: Sequence[Outcome]) -> None:
        (outcome,) = outcomes
        self._running -= 1
        for number, child in enumerate(outcome.children):
            self._pool.append((number, outcome.job.node, _path(outcome.job, number, child)))
        if self._jobs or self._running:
            return
        self._pool.sort(key=lambda entry: entry[:2])
        ranked = sorted((path for _, _, path in self._pool), key=lambda path: -path.score)
        self.beam = ranked[: self._width]
        if all(path.stopped for path in self.beam):
            outcome.task.stop_reason = "complete"
        else:
            self._begin_level()

    def cancel(self, task: Task, jobs: Sequence[Job]) -> None:
        self._running -= len(jobs)

    def best_path(self, task: Task) -> int | None:
        return None

    def finish(self, task: Task) -> tuple[int, None]:
        return 0, None


def _path(job: Job, number: int, child: Child) -> Path:
    score = child.candidates[0].score if child.terminal else child.prefix_score
    return Path(
        (*job.steps, child.step),
        (*job.path, number),
        child.num_tokens,
        -1.0 if math.isnan(score) else score,
        child.terminal,
    )
