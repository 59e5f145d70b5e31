"""Countdown: make a number out of four others. Finding wants choice, checking only arithmetic.

A solution has three steps, each of which keeps some numbers and makes one of two others; the
answer is the expression. What is kept is said first, so that a result that a calculator corrects
stands in one place. The form of the puzzle is that of TinyZero and of reasoning-gym; made here
because a solution in steps and a check that evaluates no text are wanted.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from fractions import Fraction

from ..answers import final_answer
from .family import UNCLEAR, Check, Example, of_step
from .naming import unique_id

__all__ = ["Countdown"]

_N = "([0-9]{1,9})"
_PROBLEM = re.compile(rf"Use each of {_N}, {_N}, {_N} and {_N} once to make {_N}\.")
_STEP = re.compile(
    rf"## Step [0-9]+: (?:keep ([0-9]{{1,9}}(?:,[0-9]{{1,9}})*): )?{_N}([-+*/]){_N}={_N}\s*"
)
_TOKEN = re.compile(r"[0-9]{1,9}|[-+*/()]")


class Countdown:
    """Four numbers, one target; the operations are ``+ - * /`` on whole numbers.

    Parameters
    ----------
    largest : int
        The numbers lie in [1, largest].
    most : int
        Targets lie in [10, most].
    """

    name = "countdown"

    def __init__(self, largest: int = 15, most: int = 100) -> None:
        self.largest = largest
        self.most = most

    def generate(self, rng: random.Random) -> Example:
        """Combine four random numbers at random until the result is a fair target."""
        while True:
            numbers = [rng.randint(1, self.largest) for _ in range(4)]
            problem = _write(numbers)
            left = [(number, str(number), 3) for number in numbers]
            steps: list[str] = []
            while len(left) > 1:
                a, b = rng.sample(left, 2)
                combined = _combine(a, b, rng)
                if combined is None:
                    break
                left.remove(a)
                left.remove(b)
                kept = f"keep {_join(part[0] for part in left)}: " if left else ""
                steps.append(f"## Step {len(steps) + 1}: {kept}{combined[1]}\n\n")
                left.append(combined[0])
            value, answer, _ = left[0]
            if len(steps) == 3 and 10 <= value <= self.most and value not in numbers:
                break
        problem = f"{problem}{value}."
        steps.append(f"## Answer\n\\boxed{{{answer}}}")
        return Example(unique_id(self.name, problem), problem, answer, tuple(steps))

    def is_right(self, problem: str, answer: str) -> bool:
        """Whether the expression uses each number once and has the target's value."""
        numbers, target = _read(problem)
        used = sorted(int(number) for number in re.findall(r"[0-9]{1,9}", answer))
        return used == sorted(numbers) and _evaluate(answer) == target

    def check(self, problem: str, steps: Sequence[str]) -> Check:
        """Say what each step takes and leaves, and compare the end with the target."""
        left, target = _read(problem)
        sums: list[str] = []
        errors: list[int] = []
        for index, step in enumerate(steps):
            if step.startswith("## Answer"):
                answer = (final_answer(step) or "").replace(" ", "")
                if len(left) != 1 or _evaluate(answer) is None:
                    return _unclear(sums, errors, index, step)
                is_true = left[0] == target and self.is_right(problem, answer)
                errors += [index] * (not is_true)
                sums.append(of_step(index, step, f"{left[0]}-{target}, {answer}-{target}"))
                continue
            parsed = _STEP.fullmatch(step)
            if parsed is None or len(left) < 2:
                return _unclear(sums, errors, index, step)
            kept = [int(number) for number in (parsed[1] or "").split(",") if number]
            a, b, result = int(parsed[2]), int(parsed[4]), int(parsed[5])
            sums.append(of_step(index, step, _difference([*kept, a, b], left)))
            is_true = sorted(left) == sorted([*kept, a, b])
            value = _apply(Fraction(a), parsed[3], Fraction(b))
            errors += [index] * (not is_true or value != result)
            left = [*kept, result]
        return Check(tuple(sums), min(errors, default=None))

    def near_miss(self, example: Example, rng: random.Random) -> tuple[str, ...]:
        """The last step takes another operation, and misses the target."""
        *steps, last, answer = example.steps
        parsed = _STEP.fullmatch(last)
        assert parsed is not None
        a, b = int(parsed[2]), int(parsed[4])
        sign = rng.choice([each for each in "+-*" if each != parsed[3]])
        result = {"+": a + b, "-": abs(a - b), "*": a * b}[sign]
        first, second = (b, a) if sign == "-" and a < b else (a, b)
        return (*steps, f"## Step 3: {first}{sign}{second}={result}\n\n", answer)


def _write(numbers: Sequence[int]) -> str:
    a, b, c, d = numbers
    return f"Use each of {a}, {b}, {c} and {d} once to make "


def _join(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))


def _difference(taken: Iterable[int], there: Iterable[int]) -> str:
    return f"{'+'.join(map(str, taken))}-{'-'.join(map(str, there))}"


def _unclear(sums: Sequence[str], errors: Sequence[int], index: int, step: str) -> Check:
    return Check((*sums, of_step(index, step, UNCLEAR)), min([*errors, index]))


_Part = tuple[int, str, int]  # value, expression, how tightly it binds: 1 sum, 2 product, 3 number


def _combine(a: _Part, b: _Part, rng: random.Random) -> tuple[_Part, str] | None:
    operator = rng.choice("++--**/")
    if operator in "+*" and a[0] < b[0]:
        a, b = b, a
    value = _apply(Fraction(a[0]), operator, Fraction(b[0]))
    if value is None or value.denominator != 1 or not 0 < value < 1000:
        return None
    binds = 1 if operator in "+-" else 2
    left = a[1] if a[2] >= binds else f"({a[1]})"
    right = b[1] if b[2] > binds or (b[2] == binds and operator in "+*") else f"({b[1]})"
    return (int(value), f"{left}{operator}{right}", binds), f"{a[0]}{operator}{b[0]}={value}"


def _apply(a: Fraction, operator: str, b: Fraction) -> Fraction | None:
    if operator == "/":
        return a / b if b else None
    return a + b if operator == "+" else a - b if operator == "-" else a * b


def _read(problem: str) -> tuple[list[int], int]:
    found = _PROBLEM.search(problem)
    if found is None:
        return [], -1
    *numbers, target = map(int, found.groups())
    return numbers, target


def _evaluate(text: str) -> Fraction | None:
    """Value of an expression of whole numbers, or None; by recursive descent, bounded."""
    text = text.replace("\\times", "*").replace("\\cdot", "*").replace(" ", "")
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != text or len(tokens) > 40:
        return None
    value, rest = _sum(tokens, 0)
    return value if rest == len(tokens) else None


def _sum(tokens: Sequence[str], at: int) -> tuple[Fraction | None, int]:
    value, at = _product(tokens, at)
    while value is not None and at < len(tokens) and tokens[at] in "+-":
        other, end = _product(tokens, at + 1)
        value, at = (None if other is None else _apply(value, tokens[at], other)), end
    return value, at


def _product(tokens: Sequence[str], at: int) -> tuple[Fraction | None, int]:
    value, at = _atom(tokens, at)
    while value is not None and at < len(tokens) and tokens[at] in "*/":
        other, end = _atom(tokens, at + 1)
        value, at = (None if other is None else _apply(value, tokens[at], other)), end
    return value, at


def _atom(tokens: Sequence[str], at: int) -> tuple[Fraction | None, int]:
    if at >= len(tokens):
        return None, at
    if tokens[at] == "(":
        value, at = _sum(tokens, at + 1)
        closed = at < len(tokens) and tokens[at] == ")"
        return (value if closed else None), at + 1
    return (Fraction(int(tokens[at])) if tokens[at].isdecimal() else None), at + 1
