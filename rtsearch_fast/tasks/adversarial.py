"""Wrong solutions that look right: what a judge must not fall for.

Each kind makes a wrong solution out of the known one, for training and, on held-out problems, for
a test. All of them are texts that a careless judge likes: most are right but for one place.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable

from ..calculator import correct
from .family import Example, Family

__all__ = ["KINDS", "corrupt", "garbled", "nudged"]

_Steps = tuple[str, ...]
_NUMBER = re.compile(r"\d+")


def corrupt(kind: str, family: Family, example: Example, rng: random.Random) -> _Steps | None:
    """Make a wrong solution.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    family : Family
    example : Example
    rng : random.Random

    Returns
    -------
    tuple of str or None
        Steps; None if this solution cannot be made wrong in this way, also where all that is
        wrong is the result of a sum, which a calculator puts right.
    """
    make = KINDS[kind]
    steps = family.near_miss(example, rng) if make is None else make(example, rng)
    if steps is None or steps == example.steps:
        return None
    whole = steps[-1].startswith("## Answer") and steps[-1].endswith("}")
    # by chance it may be another right solution, or become one when a calculator corrects it, or
    # the beginning of one
    *before, last = (correct(step)[0] for step in steps)
    if whole:
        is_right = family.check(example.problem, [*before, last]).first_error is None
    else:
        is_right = last.strip() == example.steps[len(before)].strip()
    return None if is_right else steps


def garbled(example: Example, rng: random.Random) -> _Steps:
    """Replace a random share of the numbers, and at least one, by others of as many digits.

    No judge could take such a solution for right. But who checks it in writing must copy: nothing
    else tells what stands there.
    """
    parts = [step.rpartition(": ") for step in example.steps]
    places = range(sum(len(_NUMBER.findall(work)) for _, _, work in parts))
    # in most of them a few numbers: what stands all around tempts to what should stand there
    share = rng.random() ** 2
    replaced = {rng.choice(places), *(place for place in places if rng.random() < share)}
    numbers = itertools.count()

    def other(number: re.Match[str]) -> str:
        if next(numbers) not in replaced:
            return number[0]
        lowest = 10 ** (len(number[0]) - 1)
        drawn = rng.randrange(lowest, 10 * lowest - 1)
        return str(drawn + (drawn >= int(number[0])))  # any but what stands there

    return tuple(head + sign + _NUMBER.sub(other, work) for head, sign, work in parts)


def nudged(example: Example, rng: random.Random) -> _Steps:
    """One number of one step, or of the answer, is a little higher or lower."""
    steps = list(example.steps)
    at = rng.randrange(len(steps))
    head, sign, work = steps[at].rpartition(": ")
    steps[at] = head + sign + _other_number(work, rng)
    return tuple(steps)


def _fudged(example: Example, rng: random.Random) -> _Steps:
    """The last step has a wrong number on its way, and claims the result that is wanted."""
    *steps, last, answer = example.steps
    head, _, work = last.rpartition(": ")
    *inputs, result = work.rpartition("=")
    spoilt = _other_number("".join(inputs), rng)
    return (*steps, f"{head}: {spoilt}{result}", answer)


def _wrong_steps(example: Example, rng: random.Random) -> _Steps:
    """A step before the last is wrong, and nothing after it shows that."""
    steps = list(example.steps)
    at = rng.randrange(len(steps) - 2)
    head, _, work = steps[at].rpartition(": ")
    steps[at] = f"{head}: {_other_number(work, rng)}"
    return tuple(steps)


def _reused(example: Example, rng: random.Random) -> _Steps:
    """A step goes on from a number that is used up."""
    steps = list(example.steps)
    at = rng.randrange(1, len(steps) - 1)
    used = _NUMBER.findall(steps[rng.randrange(at)].rpartition(": ")[2])
    head, _, work = steps[at].rpartition(": ")
    numbers = list(_NUMBER.finditer(work))
    number = numbers[rng.randrange(2)] if len(numbers) == 3 else numbers[0]
    steps[at] = f"{head}: {work[: number.start()]}{rng.choice(used[:2])}{work[number.end() :]}"
    return tuple(steps)


def _dropped(example: Example, rng: random.Random) -> _Steps:
    """A step is missing, and the others are numbered as if it were not."""
    steps = list(example.steps)
    del steps[rng.randrange(len(steps) - 1)]
    numbered = [re.sub(r"Step \d+", f"Step {i}", step) for i, step in enumerate(steps, start=1)]
    return tuple(numbered)


def _cut_off(example: Example, rng: random.Random) -> _Steps:
    """The text breaks off within a step."""
    steps = list(example.steps)
    at = rng.randrange(len(steps))
    step = steps[at].rstrip()
    start = step.find(": ") + 2 if ": " in step else len("## Answer\n")
    return (*steps[:at], step[: rng.randrange(start, len(step))])


def _copied(example: Example, rng: random.Random) -> _Steps:
    """The problem stands where a step, or all steps, should be."""
    *_, answer = example.steps
    copy = f"## Step 1: {example.problem}\n\n"
    steps = list(example.steps)
    if rng.random() < 0.5:
        return (copy, answer)
    at = rng.randrange(len(steps) - 1)
    steps[at] = re.sub(r"Step 1", f"Step {at + 1}", copy)
    return tuple(steps)


def _repeated(example: Example, rng: random.Random) -> _Steps:
    """A step is written twice, the others are numbered on."""
    steps = list(example.steps)
    at = rng.randrange(len(steps) - 1)
    steps.insert(at, steps[at])
    return tuple(re.sub(r"Step \d+", f"Step {i}", step) for i, step in enumerate(steps, start=1))


def _wrong_answer(example: Example, rng: random.Random) -> _Steps:
    """All steps are right, the boxed answer is another one."""
    *steps, answer = example.steps
    head, box, boxed = answer.rpartition("\\boxed{")
    return (*steps, f"{head}{box}{_other_number(boxed, rng)}")


def _other_number(text: str, rng: random.Random) -> str:
    numbers = list(_NUMBER.finditer(text))
    number = rng.choice(numbers)
    value = int(number[0])
    other = value
    while other == value or other < 1:
        other = value + rng.choice((-10, -3, -2, -1, 1, 2, 3, 10))
    return f"{text[: number.start()]}{other}{text[number.end() :]}"


#: Name of the kind -> what makes it; None is the family itself.
KINDS: dict[str, Callable[[Example, random.Random], _Steps] | None] = {
    "fudged last step": _fudged,
    "right answer by wrong steps": _wrong_steps,
    "reused number": _reused,
    "dropped step": _dropped,
    "cut off": _cut_off,
    "copied problem": _copied,
    "repeated step": _repeated,
    "other answer": _wrong_answer,
    "missed": None,
}
