"""Chains of products: each unknown is a quotient by the one before.

One long chain of steps of which each is hard to find and easy to check: a model must guess the
quotient, and puts it in; what is left over is 0, or it is not.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from ..answers import final_answer
from .family import UNCLEAR, Check, Example, of_step
from .naming import unique_id

__all__ = ["Chain"]

_NAMES = "abcdefghij"
_N = "([0-9]{1,9})"
_EQUATION = re.compile(rf"(?:{_N}|([a-j]))\*([a-j])={_N}")
_STEP = re.compile(rf"## Step [0-9]+: {_N}\*{_N}-{_N}=(-?[0-9]{{1,9}})\s*")
_VALUES = re.compile(r"[0-9]{1,9}(?:,[0-9]{1,9}){0,19}")


class Chain:
    """Solve ``k*a=m, a*b=n, b*c=o, ...`` for all unknowns, which are whole numbers.

    Parameters
    ----------
    length : int
        Number of equations, at most 10.
    values : tuple of two int
        The unknowns, and the first factor, lie in this range, ends included.
    """

    name = "chain"

    def __init__(self, length: int = 6, values: tuple[int, int] = (11, 79)) -> None:
        self.length = length
        self.values = values

    def generate(self, rng: random.Random) -> Example:
        """Draw the first factor and the unknowns; the products follow."""
        first, *values = [rng.randint(*self.values) for _ in range(self.length + 1)]
        products = [a * b for a, b in zip([first, *values], values, strict=False)]
        factors = [str(first), *_NAMES]
        equations = [
            f"{factors[index]}*{_NAMES[index]}={product}" for index, product in enumerate(products)
        ]
        problem = f"Solve {', '.join(equations)}."
        steps = _write(first, values, products)
        return Example(unique_id(self.name, problem), problem, _join(values), steps)

    def is_right(self, problem: str, answer: str) -> bool:
        """Whether the answer lists the values of all unknowns, in order, between commas."""
        values = _solve(*_read(problem))
        return bool(values) and answer.replace(" ", "") == _join(values)

    def check(self, problem: str, steps: Sequence[str]) -> Check:
        """Work out every step as it stands, and compare the answer with them all.

        Only what stands in one place is copied, so that a step with one wrong number does not come
        to 0. One whose numbers fit each other, but not the problem, does; it is wrong all the same.
        """
        before, products = _read(problem)
        sums: list[str] = []
        errors: list[int] = []
        values: list[int] = []
        for index, step in enumerate(steps):
            is_true, told = None, UNCLEAR
            if index < len(products) and (found := _STEP.fullmatch(step)):
                factor, value, product, rest = map(int, found.groups())
                told = f"{factor}*{value}-{product}"
                is_true = (factor, product, rest) == (before, products[index], 0)
                is_true = is_true and factor * value == product
                values.append(before := value)
            elif index == len(products) and step.startswith("## Answer"):
                answer = (final_answer(step) or "").replace(" ", "")
                if _VALUES.fullmatch(answer):
                    # written on end, the values are one number: shorter than one sum for each
                    told = f"{_join(values, '')}-{answer.replace(',', '')}"
                    is_true = answer == _join(values)
            sums.append(of_step(index, step, told))
            if is_true is None:
                return Check(tuple(sums), min([*errors, index]))
            errors += [index] * (not is_true)
        return Check(tuple(sums), min(errors, default=None))

    def near_miss(self, example: Example, rng: random.Random) -> tuple[str, ...]:
        """One quotient is another one, and all that follows goes on from that."""
        first, products = _read(example.problem)
        values = _solve(first, products)
        at = rng.randrange(len(values))
        values[at] = max(1, values[at] + rng.choice((-10, -3, -2, -1, 1, 2, 3, 10)))
        return _write(first, values, products)


def _write(first: int, values: Sequence[int], products: Sequence[int]) -> tuple[str, ...]:
    factors = [first, *values]
    steps = [
        f"## Step {index + 1}: {factors[index]}*{value}-{products[index]}"
        f"={factors[index] * value - products[index]}\n\n"
        for index, value in enumerate(values)
    ]
    return (*steps, f"## Answer\n\\boxed{{{_join(values)}}}")


def _join(values: Sequence[int], sign: str = ",") -> str:
    return sign.join(map(str, values))


def _read(problem: str) -> tuple[int, list[int]]:
    """The first factor and the products of the equations."""
    found = _EQUATION.findall(problem)
    if not found or not found[0][0]:
        return 0, []
    return int(found[0][0]), [int(product) for *_, product in found]


def _solve(first: int, products: Sequence[int]) -> list[int]:
    values: list[int] = []
    before = first
    for product in products:
        if before == 0:
            return []
        values.append(before := product // before)
    return values
