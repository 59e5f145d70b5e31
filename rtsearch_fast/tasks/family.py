"""What a family of generated problems offers: problems without end, and exact checks."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["UNCLEAR", "Check", "Example", "Family", "of_step"]

#: What is written of a step that is none, or has no place.
UNCLEAR = "?"


@dataclass(frozen=True, slots=True)
class Example:
    """A problem with a solution that was known when the problem was made.

    Attributes
    ----------
    unique_id : str
        Name of the family and a hash of the problem.
    problem : str
    answer : str
        A right one; there may be others, see `Family.is_right`.
    steps : tuple of str
        The solution in the labelled-step format; the last step names the answer in ``\\boxed{}``.
    """

    unique_id: str
    problem: str
    answer: str
    steps: tuple[str, ...]

    @property
    def solution(self) -> str:
        """The steps as one text."""
        return "".join(self.steps)


@dataclass(frozen=True, slots=True)
class Check:
    """What somebody who checks a solution, finished or not, writes down.

    Attributes
    ----------
    sums : tuple of str
        One or more for each step, to be worked out: each comes to 0 if what it is about is right.
        They are copied from problem and solution, up to the first step that is `UNCLEAR`, and
        follow a label like that of the step: who copies finds the place by it.
    first_error : int or None
        Index of the first step that is wrong; None if all are right.
    """

    sums: tuple[str, ...]
    first_error: int | None

    @property
    def text(self) -> str:
        """The sums, as they follow a heading."""
        return "".join(f" {each}" for each in self.sums)


def of_step(index: int, step: str, sums: str) -> str:
    """Put the label of a step before the sums that check it."""
    return f"Answer: {sums}" if step.startswith("## Answer") else f"Step {index + 1}: {sums}"


class Family(Protocol):
    """Problems of one kind. All methods are functions of their arguments alone."""

    name: str

    def generate(self, rng: random.Random) -> Example:
        """Make a problem."""

    def is_right(self, problem: str, answer: str) -> bool:
        """Check a final answer exactly. The answer is a model's: any text, and never evaluated."""

    def check(self, problem: str, steps: Sequence[str]) -> Check:
        """Check the steps of a solution of a problem that `generate` made."""

    def near_miss(self, example: Example, rng: random.Random) -> tuple[str, ...]:
        """Write the steps of a wrong solution whose arithmetic is true."""
