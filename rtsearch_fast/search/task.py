"""The state of one problem under search, and what passes between the driver and a method."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .ledger import Claim, Ledger
from .records import Candidate, Problem, SearchTree, Usage

__all__ = ["Child", "Job", "Method", "Outcome", "Task"]


@dataclass(frozen=True, slots=True)
class Job:
    """One simulation to run: what a method asks of the driver.

    Attributes
    ----------
    node : int
        The selected leaf; methods without a tree may number their jobs as they like.
    steps : tuple of str
        The partial solution to go on from.
    path : tuple of int
        Its place in the search, from which seeds derive.
    num_tokens : int
        Policy tokens of the partial solution.
    width : int
        Next steps to sample; 0 asks for one whole solution instead.
    greedy : bool
        Decode at temperature 0.
    whole : bool
        Requests go on to the end of the solution instead of the end of a step; the driver decides.
    """

    node: int
    steps: tuple[str, ...]
    path: tuple[int, ...]
    num_tokens: int
    width: int
    greedy: bool = False
    whole: bool = False


@dataclass(slots=True)
class Child:
    """A new step below a job's leaf, with what was learned about it.

    Attributes
    ----------
    step : str
    prior : float
        Share of the samples that gave this step.
    num_tokens : int
        Policy tokens of the solution up to and with this step.
    terminal : bool
        Nothing can follow: the solution is finished, or a limit is reached.
    finished : bool
        The solution is finished, by the splitter's judgement.
    candidates : list of Candidate
        The solutions rolled out from it (itself, if it is finished).
    prefix_score : float
        The reward model's judgement of the solution up to here; NaN if not asked.
    """

    step: str
    prior: float
    num_tokens: int
    terminal: bool
    finished: bool
    candidates: list[Candidate] = field(default_factory=list)
    prefix_score: float = float("nan")


@dataclass(slots=True)
class Outcome:
    """What a job brought: children (width > 0) or one candidate (width 0), and its cost.

    While it is under way, `sequences` is what it keeps the policy busy with.
    """

    task: Task
    job: Job
    children: list[Child] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    sequences: int = 0


@dataclass(slots=True)
class Running:
    """A job under way. Jobs are committed in the order in which they were started."""

    job: Job
    claim: Claim
    future: asyncio.Future[Outcome]


@dataclass(slots=True, eq=False)
class Task:
    """One problem under search."""

    problem: Problem
    ledger: Ledger
    started_at: float = field(default_factory=time.monotonic)
    usage: Usage = field(default_factory=Usage)
    candidates: list[Candidate] = field(default_factory=list)
    running: deque[Running] = field(default_factory=deque)
    jobs_started: int = 0
    stop_reason: str | None = None
    known: Sequence[Mapping[str, Any]] = ()  # simulations of an earlier session
    state: Any = None  # the method's own

    def resume_at(self, seconds: float) -> None:
        """Count the time from what an earlier session had spent."""
        self.started_at = time.monotonic() - seconds
        self.ledger.resume_at(seconds)


class Method(Protocol):
    """A search method: decides what to simulate next and learns from what came back.

    The driver calls it from one thread, never while another call is under way. Given the same
    outcomes in the same order it must make the same decisions.
    """

    #: How the final answer is chosen unless the user says otherwise.
    vote: str

    def start(self, task: Task) -> None:
        """Set up `task.state`."""
        ...

    def next_width(self, task: Task) -> int:
        """Width of the job that `select` would give next; known before it, to claim tokens."""
        ...

    def select(self, tasks: Sequence[Task]) -> list[Job | None]:
        """Take the next job of each task; None where there is nothing to do (now, or any more)."""
        ...

    def commit(self, outcomes: Sequence[Outcome]) -> None:
        """Learn from outcomes, at most one a task. Candidates are in `task.candidates` already."""
        ...

    def cancel(self, task: Task, jobs: Sequence[Job]) -> None:
        """Forget jobs whose outcome will never come."""
        ...

    def best_path(self, task: Task) -> int | None:
        """Index of the candidate at the end of the best path, for ``vote="path"``."""
        ...

    def finish(self, task: Task) -> tuple[int, SearchTree | None]:
        """Drop `task.state`; returns its 64-bit signature (0 without a tree) and the tree."""
        ...
