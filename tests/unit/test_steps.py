# ruff: noqa: RUF001 - mathematical signs are meant
from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtsearch_fast.errors import InvalidArgumentError
from rtsearch_fast.steps import (
    LabelledSplitter,
    RegexSplitter,
    StringSplitter,
    ThinkSplitter,
    TokenSplitter,
    answer_key,
    final_answer,
    make_splitter,
)

SPLITTERS = [
    LabelledSplitter(),
    StringSplitter("\n\n"),
    StringSplitter("."),
    RegexSplitter(r"\n+|(?<=\.)\s"),
    RegexSplitter(r"\s*"),
    TokenSplitter(8),
    ThinkSplitter(),
]
PIECES = ["## ", "## Step 1: a", "## Answer\n", "\n", "\n\n", ". ", "x", "7", "<think>", "</think>",
          "\\boxed{", "}", " "]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES)).map("".join)


@pytest.mark.parametrize("splitter", SPLITTERS, ids=lambda splitter: splitter.name)
@given(text=texts)
def test_split_loses_nothing(splitter, text):
    steps = splitter.split(text)
    assert "".join(steps) == text
    assert all(step.strip() for step in steps) or len(steps) == 1


@pytest.mark.parametrize("splitter", SPLITTERS, ids=lambda splitter: splitter.name)
@given(text=texts, reason=st.sampled_from(["stop", "eos", "length"]))
def test_close_keeps_all_but_white_space(splitter, text, reason):
    step = splitter.close(text, reason)
    assert "".join(text.split()).startswith("".join(step.removesuffix(".").split()))


@pytest.mark.parametrize("splitter", SPLITTERS, ids=lambda splitter: splitter.name)
def test_name_makes_the_same_splitter(splitter):
    assert make_splitter(splitter.name) == splitter


# --- labelled --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason", "before", "expected"),
    [
        ("## Step 1: add\n3 + 4\n", "stop", "", "## Step 1: add\n3 + 4\n\n"),
        ("\n\n## Analysis\nfoo", "stop", "", "## Analysis\nfoo\n\n"),
        ("  indented\n \n", "stop", "", "  indented\n\n"),
        ("no header, cut in the mid", "length", "", "no header, cut in the mid"),
        ("dle of a word.\n", "stop", "in the mid", "dle of a word.\n\n"),
        ("\n\nA new paragraph", "length", "the mid.", "\n\nA new paragraph"),
        ("\n\nA new paragraph", "length", "closed.\n\n", "A new paragraph"),
        ("", "stop", "cut here", "\n\n"),  # the next header followed at once
        ("", "stop", "closed\n\n", ""),
        ("\n", "stop", "", ""),
        ("## Answer\n\\boxed{7}", "eos", "", "## Answer\n\\boxed{7}"),
        ("## Step 1\na\n\n## Step 2\nb", "eos", "", "## Step 1\na\n\n## Step 2\nb"),
    ],
)
def test_labelled_close(text, reason, before, expected):
    assert LabelledSplitter().close(text, reason, before) == expected


def test_labelled_generation_round_trip():
    """What an engine with stop strings generates, closed, is the solution, and splits into it."""
    splitter = LabelledSplitter()
    solution = (
        "## Analysis\nAdd.\n\n## Restatement\nWhat is 3 + 4?\n\n## Step 1: add\n3 + 4 = 7\n\n"
        "## Answer\n\\boxed{7}"
    )
    steps: list[str] = []
    reason = ""
    while not splitter.is_final(steps, reason):
        rest = solution[len("".join(steps)) :]
        text, stopped, _ = rest.partition(splitter.stop[0])
        reason = "stop" if stopped else "eos"
        steps.append(splitter.close(text, reason, steps[-1] if steps else ""))
    assert "".join(steps) == solution
    assert steps == splitter.split(solution)
    assert len(steps) == 4


@pytest.mark.parametrize(
    ("steps", "reason", "final"),
    [
        ([], "stop", False),
        (["## Step 1\nfoo\n\n"], "stop", False),
        (["## Step 1\nfoo"], "eos", True),
        (["## Step 1\nfoo\n\n", "## Answer\n7\n\n"], "stop", True),
        (["## Step 1\nfoo\n\n", "## Answer\nThe ans"], "length", False),
        (["## Answer\nThe ans", "wer is 7.\n\n"], "stop", True),
        (["so \\boxed{\\frac{1}{2}} it is\n\n"], "stop", True),
        (["so \\boxed{\\frac{1}", "{2}} it is"], "length", True),
        (["so \\boxed{\\frac{1}{2}"], "length", False),
        (["The ## Answer\n\n"], "stop", False),
    ],
)
def test_labelled_is_final(steps, reason, final):
    assert LabelledSplitter().is_final(steps, reason) is final


# --- the others ------------------------------------------------------------------------


def test_string_splitter():
    splitter = StringSplitter("\n\n")
    assert splitter.stop == ("\n\n",)
    assert splitter.close("a\nb", "stop") == "a\nb\n\n"
    assert splitter.close("a\nb", "length") == "a\nb"
    assert splitter.split("\n\na\n\n\n\nb\n") == ["\n\na\n\n\n\n", "b\n"]
    assert splitter.is_final(["a"], "eos")
    assert not splitter.is_final(["a\n\n"], "stop")
    assert splitter.is_final(["\\boxed{1}\n\n"], "stop")


def test_regex_splitter_cuts_and_knows_that_it_did():
    splitter = RegexSplitter(r"\n\s*")
    assert splitter.stop == ()
    step = splitter.close("\n first\n  second\nthird", "eos")
    assert step == " first\n  "
    assert not splitter.is_final([step], "eos")  # the model's end was thrown away
    assert splitter.close("third\n", "eos") == "third"
    assert splitter.is_final(["third"], "eos")
    assert splitter.close("thi", "length") == "thi"
    assert not splitter.is_final(["thi"], "length")


def test_token_splitter():
    splitter = TokenSplitter(16)
    assert (splitter.stop, splitter.max_tokens) == ((), 16)
    assert splitter.close("\n any ", "length") == "\n any "
    assert splitter.is_final(["\\boxed{1", "2}"], "length")


def test_think_splitter():
    splitter = ThinkSplitter()
    text = "<think>\na\n\nb \\boxed{1}\n\n</think>\n\nSo:\n\n\\boxed{7}"
    steps = splitter.split(text)
    assert steps == ["<think>\na\n\n", "b \\boxed{1}\n\n", "</think>\n\n", "So:\n\n\\boxed{7}"]
    assert [splitter.is_final(steps[:n], "stop") for n in (1, 2, 3, 4)] == [False] * 3 + [True]
    assert splitter.split("never closed\n\nthought") == ["never closed\n\n", "thought"]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("labelled", LabelledSplitter()),
        (r"string:\n\n", StringSplitter("\n\n")),
        (r"string:\\n", StringSplitter("\\n")),
        ("string:é:", StringSplitter("é:")),
        (r"regex:\n+", RegexSplitter(r"\n+")),
        ("tokens:64", TokenSplitter(64)),
        ("think", ThinkSplitter()),
        (r"think:\n", ThinkSplitter("\n")),
    ],
)
def test_make_splitter(spec, expected):
    assert make_splitter(spec) == expected


@pytest.mark.parametrize(
    "spec",
    ["", "label", "labelled:x", "string", "string:", "regex", "regex:", "regex:(", "tokens",
     "tokens:0", "tokens:-1", "tokens:x", "think:"],
)  # fmt: skip
def test_make_splitter_names_bad_spec_and_choices(spec):
    with pytest.raises(InvalidArgumentError) as error:
        make_splitter(spec)
    assert repr(spec) in str(error.value)
    assert "labelled, string:SEP" in str(error.value)


# --- answers ---------------------------------------------------------------------------


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
