"""Families of generated problems: what they make is right, and what they check is checked."""

from __future__ import annotations

import random
import re
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtsearch_fast.answers import final_answer
from rtsearch_fast.calculator import correct
from rtsearch_fast.errors import InvalidArgumentError
from rtsearch_fast.reward.calculated import with_corrections
from rtsearch_fast.reward.worked import work_out
from rtsearch_fast.steps import make_splitter
from rtsearch_fast.tasks import FAMILIES, Example, Family, examples, family
from rtsearch_fast.tasks.adversarial import KINDS, corrupt, garbled, nudged

NAMES = sorted(FAMILIES)


def made(name: str, count: int = 300) -> list[Example]:
    return examples(name, split="train", count=count, seed=5)


# --- what is made ------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_examples_when_made_are_solved_rightly(name: str) -> None:
    found = family(name)
    for example in made(name):
        assert found.is_right(example.problem, example.answer)
        assert found.check(example.problem, example.steps).first_error is None
        assert final_answer(example.solution) == example.answer
        assert make_splitter("labelled").split(example.solution) == list(example.steps)


@pytest.mark.parametrize("name", NAMES)
def test_examples_when_corrected_stay_as_they_are(name: str) -> None:
    for example in made(name):
        assert all(correct(step) == (step, 0) for step in example.steps)


@pytest.mark.parametrize("name", NAMES)
def test_examples_when_of_two_splits_share_no_problem(name: str) -> None:
    train = {e.problem for e in made(name, 2000)}
    held = {e.problem for e in examples(name, split="heldout", count=300, seed=5)}
    assert len(train) == 2000 and len(held) == 300
    assert not train & held


@pytest.mark.parametrize("name", NAMES)
def test_examples_when_asked_again_are_the_same_and_more_begin_alike(name: str) -> None:
    assert made(name, 50) == made(name, 100)[:50]
    assert made(name, 50) != examples(name, split="train", count=50, seed=6)


def test_family_when_unknown_names_those_there_are() -> None:
    with pytest.raises(InvalidArgumentError, match=r"'sudoku'.*countdown, chain"):
        family("sudoku")
    with pytest.raises(InvalidArgumentError, match="'test'"):
        examples("chain", split="test", count=1)  # type: ignore[arg-type]


# --- what is checked ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("(3+5)*7-2", True),
        (" ( 3 + 5 ) \\times 7 - 2", True),
        ("7*(5+3)-2", True),
        ("54", False),
        ("3+5*7-2", False),
        ("(3+5)*7-2+0", False),
        ("(3+5)*7-2-2+2", False),
        ("(3+5)*7-2)", False),
        ("((3+5)*7-2", False),
        ("3/(5-5)*7-2", False),
        ("__import__('os')", False),
        ("", False),
        ("(" * 10_000, False),
        ("9" * 10_000, False),
        ("²+5", False),
    ],
)
def test_countdown_when_an_answer_is_checked_uses_each_number_once(
    answer: str, right: bool
) -> None:
    assert FAMILIES["countdown"].is_right("Use each of 3, 5, 7 and 2 once to make 54.", answer) == (
        right
    )


@given(st.text(max_size=60), st.text(alphabet="0123456789+-*/() ", max_size=60))
@settings(max_examples=300, deadline=None)
def test_families_when_an_answer_is_any_text_say_no_and_never_raise(text: str, sums: str) -> None:
    for name in NAMES:
        problem = made(name, 1)[0].problem
        for answer in (text, sums):
            assert isinstance(FAMILIES[name].is_right(problem, answer), bool)
            FAMILIES[name].is_right(text, answer)
            FAMILIES[name].check(problem, (text, sums))


def test_countdown_when_expressions_are_random_agrees_with_fractions() -> None:
    rng = random.Random(3)
    checked = FAMILIES["countdown"]
    for _ in range(500):
        numbers = [rng.randint(1, 25) for _ in range(4)]
        parts = [(str(n), Fraction(n)) for n in numbers]
        while len(parts) > 1:
            (a, x), (b, y) = (parts.pop(rng.randrange(len(parts))) for _ in range(2))
            operator = rng.choice("+-*" + "/" * (y != 0))
            value = {"+": x + y, "-": x - y, "*": x * y}.get(operator)
            parts.append((f"({a}{operator}{b})", x / y if value is None else value))
        text, value = parts[0]
        numbers_text = "Use each of {}, {}, {} and {} once to make ".format(*numbers)
        if value.denominator == 1 and value >= 0:
            assert checked.is_right(f"{numbers_text}{value}.", text)
            assert not checked.is_right(f"{numbers_text}{value + 1}.", text)


@pytest.mark.parametrize("name", NAMES)
def test_check_when_all_is_right_comes_to_nothing_but_zeros(name: str) -> None:
    for example in made(name, 100):
        text = family(name).check(example.problem, example.steps).text
        assert set(work_out(text).partition(" = ")[2].split(", ")) == {"0"}


def test_check_when_sums_are_worked_out_tells_the_first_wrong_step() -> None:
    """Each sum is of one step, so what a judge copies tells as much as the family's own check."""
    checked = FAMILIES["chain"]
    rng = random.Random(4)
    for example in made("chain", 100):
        steps = [correct(step)[0] for step in checked.near_miss(example, rng)]
        found = checked.check(example.problem, steps)
        results = work_out(found.text).partition(" = ")[2].split(", ")
        assert found.first_error == next(i for i, each in enumerate(results) if each != "0")


def test_chain_when_a_step_is_wrong_is_found_where_it_is() -> None:
    checked = FAMILIES["chain"]
    for example in made("chain", 50):
        for at in range(len(example.steps) - 1):
            steps = list(example.steps)
            head, _, value, rest = re.split(r"(\*)(\d+)", steps[at])
            steps[at] = f"{head}*{int(value) + 1}{rest}"
            assert checked.check(example.problem, steps).first_error == at
            spoilt = checked.check(example.problem, [correct(step)[0] for step in steps])
            assert spoilt.first_error == at


@pytest.mark.parametrize(
    ("name", "problem", "steps", "text", "error"),
    [
        ("chain", "Solve 12*a=288, a*b=1128.", ("## Step 1: 12*24-288=0\n\n",),
         " Step 1: 12*24-288", None),
        ("chain", "Solve 12*a=288, a*b=1128.", ("## Step 1: 12*24-289=-1\n\n",),
         " Step 1: 12*24-289", 0),
        ("chain", "Solve 12*a=288, a*b=1128.",
         ("## Step 1: 12*24-288=0\n\n", "## Answer\n\\boxed{24}"),
         " Step 1: 12*24-288 Answer: ?", 1),
        ("chain", "Solve 12*a=288.",
         ("## Step 1: 12*24-288=0\n\n", "## Answer\n\\boxed{25}"),
         " Step 1: 12*24-288 Answer: 24-25", 1),
        ("countdown", "Use each of 9, 7, 5 and 2 once to make 46.",
         ("## Step 1: keep 7,5: 9*2=18\n\n", "## Step 2: keep 7: 18+6=24\n\n"),
         " Step 1: 7+5+9+2-9-7-5-2 Step 2: 7+18+6-7-5-18", 1),
    ],
)  # fmt: skip
def test_check_when_written_copies_problem_and_step(
    name: str, problem: str, steps: tuple[str, ...], text: str, error: int | None
) -> None:
    found = family(name).check(problem, steps)
    assert (found.text, found.first_error) == (text, error)


# --- traps ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_corrupt_when_whole_is_wrong_by_the_familys_check(name: str, kind: str) -> None:
    rng = random.Random(1)
    found: Family = family(name)
    wrong = [corrupt(kind, found, example, rng) for example in made(name, 100)]
    steps = [each for each in wrong if each is not None]
    assert len(steps) >= 40
    for example, each in zip(made(name, 100), wrong, strict=True):
        if each is not None and kind != "cut off":
            assert found.check(example.problem, each).first_error is not None


#: Of sums of countdown one that is left out or added leaves the sum of all as it was.
UNSEEN = {("countdown", "dropped step"), ("countdown", "repeated step")}


@pytest.mark.parametrize(
    ("name", "kind"), sorted({(name, kind) for name in NAMES for kind in KINDS} - UNSEEN)
)
def test_check_when_shown_corrected_arithmetic_has_a_sum_that_is_not_0_if_wrong(
    name: str, kind: str
) -> None:
    found: Family = family(name)
    for example in made(name, 100):
        steps = corrupt(kind, found, example, random.Random(example.unique_id))
        if steps is None or final_answer("".join(steps)) is None:
            continue
        text = found.check(example.problem, with_corrections(steps)).text
        assert "?" in text or set(results(text)) != {"0"}, text
        right = found.check(example.problem, example.steps).text
        assert set(results(right)) == {"0"}


def results(sums: str) -> list[str]:
    """What a calculator finds."""
    return work_out(sums).removeprefix(f"{sums} = ").split(", ")


@pytest.mark.parametrize("name", NAMES)
def test_garbled_when_checked_differs_in_its_numbers_alone(name: str) -> None:
    rng = random.Random(2)
    examples = made(name, 50)
    texts = ["".join(garbled(example, rng)) for example in examples]
    for example, text in zip(examples, texts, strict=True):
        assert re.sub(r"\d", "0", text) == re.sub(r"\d", "0", example.solution)
        assert text != example.solution


@pytest.mark.parametrize("name", NAMES)
def test_garbled_when_the_share_is_next_to_nothing_differs_in_one_number(name: str) -> None:
    class Least(random.Random):
        def random(self) -> float:
            return 1e-9

    for example in made(name, 50):
        numbers = re.findall(r"\d+", "".join(example.steps))
        found = re.findall(r"\d+", "".join(garbled(example, Least(0))))
        assert sum(a != b for a, b in zip(numbers, found, strict=True)) == 1


@pytest.mark.parametrize("name", NAMES)
def test_nudged_when_compared_differs_in_one_number_by_ten_at_most(name: str) -> None:
    rng = random.Random(3)
    for example in made(name, 50):
        numbers = list(map(int, re.findall(r"\d+", "".join(example.steps))))
        found = list(map(int, re.findall(r"\d+", "".join(nudged(example, rng)))))
        (off,) = [abs(a - b) for a, b in zip(numbers, found, strict=True) if a != b]
        assert off <= 10
