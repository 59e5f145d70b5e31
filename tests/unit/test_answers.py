# ruff: noqa: RUF001 - mathematical signs are meant
from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtsearch_fast.answers import answer_key, final_answer

PIECES = ["## Answer\n", "\n", ". ", "x", "7", "-", "/", ",", "\\boxed{", "\\boxed ", "\\frac", "{",
          "}", "$", " "]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES)).map("".join)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("the answer is 7", None),
        (r"\boxed{7}", "7"),
        (r"\boxed{1} and \boxed{ 2 }.", "2"),
        (r"\fbox{x}", "x"),
        (r"\boxed {7}", "7"),
        (r"\boxed 7.", "7"),
        (r"$\boxed 7$", "7"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\left\{1, 2\right\}}", r"\left\{1, 2\right\}"),
        (r"\boxed{\{}", r"\{"),
        (r"\boxed{1} then \boxed{2", "1"),
        (r"\boxed{\boxed{7}}", "7"),
        (r"\boxed{} \boxed{ }", None),
        (r"{ \boxed{7} } }", "7"),
        (r"} { \boxed{7}", "7"),
        (r"\boxed{", None),
        (r"\\\boxed{7}", "7"),
        (r"\boxed{\text{east}}", r"\text{east}"),
    ],
)
def test_final_answer(text, expected):
    assert final_answer(text) == expected


@pytest.mark.parametrize("unit", [r"\boxed{", r"\boxed{}", r"\boxed ", "{", "\\", r"\boxed{1}}"])
def test_final_answer_takes_linear_time(unit):
    text = unit * (1_000_000 // len(unit))
    start = time.perf_counter()
    final_answer(text)
    assert time.perf_counter() - start < 20  # quadratic time would be hours


@pytest.mark.parametrize(
    ("key", "answers"),
    [
        ("1/2", ["1/2", "0.5", ".50", "0.500", r"\frac{1}{2}", r"\dfrac12", r"\tfrac{2}{4}", "2/4",
                 r"$\frac 1 2$", r"\frac{-1}{-2}", "x = 1/2", "1 / 2.", r"\( 0.5 \)"]),
        ("-1/2", ["-1/2", "-0.5", r"-\frac{1}{2}", r"\frac{-1}{2}", "−.5"]),
        ("3/2", ["1 1/2", r"1\frac{1}{2}", r"1 \frac12", "1.5"]),
        ("11/2", ["11/2"]),
        ("18", ["18", "$18", r"\$18", "18.00", "18 dollars", "18.", "+18", r"18\text{ dollars}",
                "018", "n=18"]),
        ("1000", ["1000", "1,000", "1{,}000", r"1\,000", r"1\!000", "1e3", r"1 \times 10^{3}",
                  r"\text{1,000}"]),
        ("90", ["90", r"90^\circ", r"90^{\circ}", "90°", "90 degrees"]),
        ("25", ["25", "25%", r"25\%", "25 percent"]),
        ("0", ["0", "-0", "0.0", "0/5"]),
        ("east", [r"\text{east}", "East", r"\text{ EAST }"]),
        ("A", ["A", "(A)", r"\text{(A)}", r"\mathrm{A}"]),
        ("(1,2)", ["(1, 2)", r"\left( 1,\, 2 \right)", "(1,2)."]),
        ("5 cm", ["5 cm", r"5\text{ cm}", r"5\ \mathrm{cm}"]),
        ("1,2", ["1, 2"]),
        (r"\frac{\pi}{2}", [r"\dfrac{\pi}{2}", r"$ \frac{\pi} {2} $"]),
        ("1/0", ["1/0"]),
        ("a", ["a"]),
        ("0.333...", ["0.333..."]),
        ("x=1,y=2", ["x = 1, y = 2"]),
        ("", ["", " ", "$$"]),
    ],
)  # fmt: skip
def test_answer_key(key, answers):
    assert {answer: answer_key(answer) for answer in answers} == dict.fromkeys(answers, key)


@given(
    top=st.integers(-(10**12), 10**12), bottom=st.integers(1, 10**6), factor=st.integers(1, 1000)
)
def test_answer_key_of_equal_rationals(top, bottom, factor):
    plain, latex = f"{top}/{bottom}", rf"\frac{{{top * factor}}}{{{bottom * factor}}}"
    assert answer_key(plain) == answer_key(latex)


@given(st.text(max_size=60) | texts)
def test_answer_key_takes_any_text(text):
    assert isinstance(answer_key(text), str)
    final_answer(text)


@pytest.mark.parametrize("unit", ["9", "1,", "1,000,", " ", ". ", r"\text{", "$", r"\frac1", "a="])
def test_answer_key_takes_linear_time(unit):
    text = unit * (300_000 // len(unit))
    start = time.perf_counter()
    answer_key(text)
    assert time.perf_counter() - start < 20
