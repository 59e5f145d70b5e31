"""What a search committed, as plain JSON: one event a simulation, to go on with a tree later.

Trees grow by commits in a fixed order, and given the same commits the search makes the same
decisions. So a search that is given the events of its problem selects, expands and backs up as it
did, asks no model, and goes on where it stood: with the same tree, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any, Protocol

from ..errors import AnswerFormatError
from .ledger import Claim
from .records import Candidate, Problem, Usage
from .task import Child, Job, Outcome

__all__ = ["Event", "EventLog", "candidates_of", "event_of", "restore"]

Event = Mapping[str, Any]

#: What a simulation itself counts; simulations and nodes are counted when it is committed.
_COUNTED = ("policy_tokens", "reward_tokens", "policy_samples", "reward_calls", "corrections")


class EventLog(Protocol):
    """Keeps the events of problems under search."""

    def known(self, problem: Problem) -> Sequence[Event]:
        """The simulations committed so far, in order."""
        ...

    def committed(self, problem: Problem, number: int, event: Event) -> None:
        """Simulation `number` (from 0) is committed; what was known from there on is void."""
        ...


def event_of(outcome: Outcome, seconds: float) -> dict[str, Any]:
    """What a simulation did: its job, the expansion, its solutions with their scores, its usage.

    Parameters
    ----------
    outcome : Outcome
    seconds : float
        Since the search of the problem began.

    Returns
    -------
    dict
        Plain JSON. Solutions are written from the job's leaf on.
    """
    depth = len(outcome.job.steps)
    usage = asdict(outcome.usage)
    return {
        "job": _job(outcome.job),
        "children": [
            [
                child.step,
                child.prior,
                child.num_tokens,
                child.terminal,
                child.finished,
                _number(child.prefix_score),
                [_candidate(candidate, depth) for candidate in child.candidates],
            ]
            for child in outcome.children
        ],
        "candidates": [_candidate(candidate, depth) for candidate in outcome.candidates],
        "usage": [usage[name] for name in _COUNTED],
        "seconds": round(seconds, 3),
    }


def restore(event: Event, outcome: Outcome, claim: Claim) -> bool:
    """Fill the outcome of a job with what an event says of it, and spend its tokens.

    Returns
    -------
    bool
        False if the event is of another job, damaged, or cost more than is allowed; the outcome
        and the claim are then as they were.
    """
    leaf = outcome.job.steps
    try:
        if event["job"] != _job(outcome.job):
            return False
        children = [
            Child(step, prior, num_tokens, terminal, finished, _read(candidates, leaf), _nan(score))
            for step, prior, num_tokens, terminal, finished, score, candidates in event["children"]
        ]
        candidates = _read(event["candidates"], leaf)
        usage = Usage(**dict(zip(_COUNTED, event["usage"], strict=True)))
        claim.spend(usage.tokens)
    except (KeyError, TypeError, ValueError):
        return False
    except AnswerFormatError:
        claim.spent = 0
        return False
    outcome.children, outcome.candidates, outcome.usage = children, candidates, usage
    return True


def candidates_of(event: Event) -> list[Candidate]:
    """The solutions that an event tells of, written from the job's leaf on."""
    children = (_read(child[-1], ()) for child in event["children"])
    return [*_read(event["candidates"], ()), *chain.from_iterable(children)]


def _job(job: Job) -> list[Any]:
    """What tells whether a search comes to the same job again."""
    return [job.node, list(job.path), job.width, job.greedy, job.whole]


def _candidate(candidate: Candidate, depth: int) -> list[Any]:
    return [
        list(candidate.steps[depth:]),
        candidate.answer,
        _number(candidate.score),
        candidate.num_tokens,
        candidate.finished,
    ]


def _read(candidates: Sequence[Any], leaf: tuple[str, ...]) -> list[Candidate]:
    return [
        Candidate((*leaf, *steps), answer, _nan(score), num_tokens, finished)
        for steps, answer, score, num_tokens, finished in candidates
    ]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value  # JSON has no NaN


def _nan(value: float | None) -> float:
    return math.nan if value is None else value
