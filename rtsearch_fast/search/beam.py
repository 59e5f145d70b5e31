"""Beam search over steps: keep the prefixes that the reward model likes best."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from .options import SearchOptions
from .task import Job, Outcome, Task

__all__ = ["Beam"]


@dataclass(slots=True)
class _BeamState:
    pending: deque[Job]  # prefixes of this depth that are still to be expanded
    running: int = 0
    next_beam: list[tuple[float, Job]] = field(default_factory=list)


class Beam:
    """Expand every prefix of the beam, keep the best `beam_width` children, go one step deeper.

    Children are valued as ``options.value`` says; the search is complete when no unfinished prefix
    is left.

    Parameters
    ----------
    options : SearchOptions
    """

    vote = "weighted"

    def __init__(self, options: SearchOptions) -> None:
        self.options = options

    def start(self, task: Task) -> None:
        task.state = _BeamState(deque([Job(0, (), (), 0, self.options.beam_width)]))

    def next_width(self, task: Task) -> int:
        # the first expansion fills the beam
        return self.options.width if task.jobs_started else self.options.beam_width

    def select(self, tasks: Sequence[Task]) -> list[Job | None]:
        jobs: list[Job | None] = []
        for task in tasks:
            state: _BeamState = task.state
            jobs.append(state.pending.popleft() if state.pending else None)
            state.running += jobs[-1] is not None
        return jobs

    def commit(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            state: _BeamState = outcome.task.state
            job = outcome.job
            state.running -= 1
            for number, child in enumerate(outcome.children):
                if child.terminal:
                    continue
                score = -1.0 if math.isnan(child.prefix_score) else child.prefix_score
                path = (*job.path, number)
                steps = (*job.steps, child.step)
                state.next_beam.append(
                    (score, Job(0, steps, path, child.num_tokens, self.options.width))
                )
            if not state.pending and not state.running:
                # Python's sort is stable: equal scores keep the order of their parents
                ranked = sorted(state.next_beam, key=lambda entry: -entry[0])
                state.pending.extend(entry[1] for entry in ranked[: self.options.beam_width])
                state.next_beam = []
                if not state.pending:
                    outcome.task.stop_reason = "complete"

    def cancel(self, task: Task, jobs: Sequence[Job]) -> None:
        task.state.running -= len(jobs)

    def best_path(self, task: Task) -> int | None:
        return None

    def finish(self, task: Task) -> tuple[int, None]:
        task.state = None
        return 0, None
