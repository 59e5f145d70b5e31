"""What a family of generated problems offers: problems without end, and exact checks."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Check", "Example", "Family"]


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
    text : str
        Step by step, up to the first error.
    first_error : int or None
        Index of the first step that is wrong; None if all are right.
    """

    text: str
    first_error: int | None


class Family(Protocol):
    """Problems of one kind. All methods are functions of their arguments alone."""

    name: str

    def generate(self, rng: random.Random) -> Example:
        """Make a problem."""

    def is_right(self, problem: str, answer: str) -> bool:
        """Check a final answer exactly. The answer is a model's: any text, and never evaluated."""

    def check(self, problem: str, steps: Sequence[str]) -> Check:
        """Check the steps of a solution of a problem that `generate` made."""
