"""Chains of equations: each unknown follows from the one before, by a division.

One long chain of steps of which each is hard to find and easy to check: a model must guess the
quotient, then multiplies, and the product either is what it must be or is not.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from ..answers import final_answer
from .family import Check, Example
from .naming import unique_id

__all__ = ["Chain"]

_NAMES = "abcdefghij"
_N = "([0-9]{1,9})"
_FIRST = re.compile(rf"{_N}\*a={_N}")
_NEXT = re.compile(rf"{_N}\*([a-j])=([a-j])([+-]){_N}")
_FIRST_STEP = re.compile(rf"## Step [0-9]+: {_N}\*{_N}={_N}\s*")
_NEXT_STEP = re.compile(rf"## Step [0-9]+: {_N}([+-]){_N}={_N}, {_N}\*{_N}={_N}\s*")


class Chain:
    """Solve ``k*a=m, l*b=a+n, ...`` for all unknowns; all values are whole.

    Parameters
    ----------
    length : int
        Number of equations, at most 10.
    factors, values : tuple of two int
        Coefficients and unknowns lie in these ranges, ends included.
    """

    name = "chain"

    def __init__(
        self,
        length: int = 6,
        factors: tuple[int, int] = (3, 39),
        values: tuple[int, int] = (11, 99),
    ) -> None:
        self.length = length
        self.factors = factors
        self.values = values

    def generate(self, rng: random.Random) -> Example:
        """Draw the unknowns and coefficients; the constants follow."""
        equations: list[str] = []
        steps: list[str] = []
        values: list[int] = []
        before = 0
        for index in range(self.length):
            factor, value = rng.randint(*self.factors), rng.randint(*self.values)
            product = factor * value
            name = _NAMES[index]
            if index == 0:
                equations.append(f"{factor}*{name}={product}")
                work = f"{factor}*{value}={product}"
            else:
                sign, constant = ("+", product - before)
                if constant < 0:
                    sign, constant = "-", -constant
                equations.append(f"{factor}*{name}={_NAMES[index - 1]}{sign}{constant}")
                work = f"{before}{sign}{constant}={product}, {factor}*{value}={product}"
            steps.append(f"## Step {index + 1}: {work}\n\n")
            values.append(before := value)
        problem = f"Solve {', '.join(equations)}."
        answer = ",".join(map(str, values))
        steps.append(f"## Answer\n\\boxed{{{answer}}}")
        return Example(unique_id(self.name, problem), problem, answer, tuple(steps))

    def is_right(self, problem: str, answer: str) -> bool:
        """Whether the answer lists the values of all unknowns, in order, between commas."""
        values = _solve(problem)
        return bool(values) and answer.replace(" ", "") == ",".join(map(str, values))

    def check(self, problem: str, steps: Sequence[str]) -> Check:
        """Write which steps hold: each must be its equation, with both sides equal."""
        equations = _read(problem)
        notes: list[str] = []
        values: list[int] = []
        before = 0
        for index, step in enumerate(steps):
            if step.startswith("## Answer"):
                found = ",".join(map(str, values))
                if index == len(equations) and (final_answer(step) or "").replace(" ", "") == found:
                    notes.append("end ok")
                    continue
                return Check(", ".join([*notes, "end wrong"]), index)
            value = _value(step, before, equations[index]) if index < len(equations) else None
            if value is None:
                return Check(", ".join([*notes, f"{index + 1} wrong"]), index)
            notes.append(f"{index + 1} ok")
            values.append(before := value)
        return Check(", ".join(notes), None)


_Equation = tuple[int, str, int]  # coefficient, sign, constant


def _read(problem: str) -> list[_Equation]:
    first = _FIRST.search(problem)
    if first is None:
        return []
    rest = [(int(k), sign, int(n)) for k, _, _, sign, n in _NEXT.findall(problem)]
    return [(int(first[1]), "+", int(first[2])), *rest]


def _solve(problem: str) -> list[int]:
    values: list[int] = []
    before = 0
    for factor, sign, constant in _read(problem):
        if factor == 0:
            return []
        before = (before + constant if sign == "+" else before - constant) // factor
        values.append(before)
    return values


def _value(step: str, before: int, equation: _Equation) -> int | None:
    """The unknown that a step finds, or None if the step is wrong."""
    factor, sign, constant = equation
    must = before + constant if sign == "+" else before - constant
    if (first := _FIRST_STEP.fullmatch(step)) is not None:
        if before:  # only the first equation has no unknown on its right
            return None
        k, x, product = map(int, first.groups())
        return x if (k, product, k * x) == (factor, must, must) else None
    found = _NEXT_STEP.fullmatch(step)
    if found is None or not before:
        return None
    a, b, total, k, x, product = (int(found[i]) for i in (1, 3, 4, 5, 6, 7))
    same = (a, found[2], b, k) == (before, sign, constant, factor)
    return x if same and total == product == must == k * x else None
