"""search-and-learn's beam search as a method of our driver: n solutions a round, the best go on."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...search.task import Child, Job, Outcome, Task
from .recipe import Plan

__all__ = ["RoundBeam"]


@dataclass(slots=True)
class _Round:
    """One round of a problem; outcomes come in the order of its jobs."""

    number: int
    jobs: deque[Job]
    completed: int  # candidates of the rounds before
    running: int = 0
    children: list[list[tuple[Job, int, Child]]] = field(default_factory=list)


class RoundBeam:
    """Each round writes n next steps; of the unfinished ones the best ``n // beam_width`` go on.

    What is kept shares n among itself, so the search is as wide when some have finished. Finished
    solutions leave the beam and are candidates. The last round goes on to the end.

    Parameters
    ----------
    plan : Plan
    """

    vote = "best"

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def start(self, task: Task) -> None:
        task.state = self._round(0, [((), (), 0)], 0)

    def next_width(self, task: Task) -> int:
        jobs = task.state.jobs
        return jobs[0].width if jobs else 1

    def select(self, tasks: Sequence[Task]) -> list[Job | None]:
        jobs: list[Job | None] = []
        for task in tasks:
            state: _Round = task.state
            jobs.append(state.jobs.popleft() if state.jobs else None)
            state.running += jobs[-1] is not None
        return jobs

    def commit(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            state: _Round = outcome.task.state
            state.running -= 1
            state.children.append(
                [(outcome.job, number, child) for number, child in enumerate(outcome.children)]
            )
            if not state.jobs and not state.running:
                self._next_round(outcome.task, state)

    def cancel(self, task: Task, jobs: Sequence[Job]) -> None:
        task.state.running -= len(jobs)

    def best_path(self, task: Task) -> int | None:
        return None

    def finish(self, task: Task) -> tuple[int, None]:
        task.state = None
        return 0, None

    def _round(
        self, number: int, beams: Sequence[tuple[tuple[str, ...], tuple[int, ...], int]], done: int
    ) -> _Round:
        n = self.plan.n
        jobs: deque[Job] = deque()
        if number == self.plan.iterations - 1:
            for i in range(n):
                steps, path, num_tokens = beams[i % len(beams)]
                jobs.append(Job(0, steps, (*path, -2 - i), num_tokens, 0))
        else:
            for place, (steps, path, num_tokens) in enumerate(beams):
                width = len(range(place, n, len(beams)))
                jobs.append(Job(0, steps, path, num_tokens, width))
        return _Round(number, jobs, done)

    def _next_round(self, task: Task, state: _Round) -> None:
        """Rank what this round wrote, the first samples of all beams first as in the original."""
        longest = max(map(len, state.children), default=0)
        written = [
            beam[number]
            for number in range(longest)
            for beam in state.children
            if number < len(beam)
        ]
        if written:
            finished = [child.candidates[0] for _, _, child in written if child.candidates]
            task.candidates[state.completed :] = finished
        going_on = [entry for entry in written if not entry[2].terminal]
        if self.plan.filter_duplicates:
            unique: dict[str, tuple[Job, int, Child]] = {}
            for job, number, child in going_on:
                unique.setdefault("".join((*job.steps, child.step)), (job, number, child))
            going_on = list(unique.values())
        if not going_on:
            task.stop_reason = "complete"
            return
        ranking = sorted(range(len(going_on)), key=lambda i: _score(going_on[i][2]))
        beams = [
            ((*job.steps, child.step), (*job.path, number), child.num_tokens)
            for job, number, child in (going_on[i] for i in sorted(ranking[-self.plan.keep :]))
        ]
        task.state = self._round(state.number + 1, beams, len(task.candidates))


def _score(child: Child) -> float:
    return -1.0 if math.isnan(child.prefix_score) else child.prefix_score
