"""Methods without a tree: independent whole solutions and a vote over them."""

from __future__ import annotations

from collections.abc import Sequence

from .task import Job, Outcome, Task

__all__ = ["Sampling"]


class Sampling:
    """Chain of thought (one greedy solution), best-of-N and (weighted) majority voting.

    The three sampling methods draw the same solutions from the same seeds and differ in the vote.

    Parameters
    ----------
    vote : {"best", "majority", "weighted"}
    greedy : bool
        Draw a single solution at temperature 0.
    """

    def __init__(self, vote: str, *, greedy: bool = False) -> None:
        self.vote = vote
        self.greedy = greedy

    def start(self, task: Task) -> None:
        pass

    def next_width(self, task: Task) -> int:
        return 0

    def select(self, tasks: Sequence[Task]) -> list[Job | None]:
        return [
            None
            if self.greedy and task.jobs_started
            else Job(task.jobs_started, (), (task.jobs_started,), 0, 0, greedy=self.greedy)
            for task in tasks
        ]

    def commit(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if self.greedy:
                outcome.task.stop_reason = "complete"

    def cancel(self, task: Task, jobs: Sequence[Job]) -> None:
        pass

    def best_path(self, task: Task) -> int | None:
        return None

    def finish(self, task: Task) -> tuple[int, None]:
        return 0, None
