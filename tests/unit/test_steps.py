from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtsearch_fast.errors import InvalidArgumentError
from rtsearch_fast.splitters import (
    LabelledSplitter,
    RegexSplitter,
    StringSplitter,
    ThinkSplitter,
    TokenSplitter,
)
from rtsearch_fast.steps import make_splitter

SPLITTERS = [
    LabelledSplitter(),
    StringSplitter("\n\n"),
    StringSplitter("."),
    RegexSplitter(r"\n+|(?<=\.)\s"),
    RegexSplitter(r"\s*"),
    TokenSplitter(8),
    ThinkSplitter(),
]
PIECES = ["##", "## ", "### b", "## Step 1: a", "## Answer\n", "\n", "\n\n", ". ", "x", "7",
          "<think>", "</think>", "\\boxed{", "}", " "]  # fmt: skip
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
    text = splitter.lead + text
    step = splitter.close(text, reason)
    assert "".join(text.split()).startswith("".join(step.removesuffix(".").split()))


@pytest.mark.parametrize("splitter", SPLITTERS, ids=lambda splitter: splitter.name)
def test_name_makes_the_same_splitter(splitter):
    assert make_splitter(splitter.name) == splitter


# --- labelled --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason", "expected"),
    [
        (" Step 1: add\n3 + 4\n", "stop", "## Step 1: add\n3 + 4\n\n"),
        (" Step 1: add\n3 + 4\n \n", "stop", "## Step 1: add\n3 + 4\n\n"),
        (" Step 1: cut in the mid", "length", "## Step 1: cut in the mid\n\n"),
        (" Step 1: blank at the end\n", "length", "## Step 1: blank at the end\n\n"),
        ("# Part", "stop", "### Part\n\n"),
        (" Answer\n\\boxed{7}", "eos", "## Answer\n\\boxed{7}"),
        (" Answer\n\\boxed{7}\n", "eos", "## Answer\n\\boxed{7}"),
        (" Step 1\na\n\n## Step 2\nb", "eos", "## Step 1\na\n\n## Step 2\nb"),  # stop ignored
        *(
            (nothing, reason, "")
            for nothing in ("", " ", "\n", "#", "# \n\n")
            for reason in ("stop", "eos", "length")
        ),
    ],
)
@pytest.mark.parametrize("before", ["", "## Analysis\nAdd.\n\n"])
def test_labelled_close(text, reason, before, expected):
    splitter = LabelledSplitter()
    assert splitter.close(splitter.lead + text, reason, before) == expected


def test_labelled_generation_round_trip():
    """What an engine with stop strings generates, closed, is the solution, and splits into it."""
    splitter = LabelledSplitter()
    solution = (
        "## Analysis\nAdd.\n\n## Restatement\nWhat is 3 + 4?\n\n## Step 1: add\n3 + 4 = 7\n\n"
        "### Check\n7 - 4 = 3\n\n## Answer\n\\boxed{7}"
    )
    steps: list[str] = []
    reason = ""
    while not splitter.is_final(steps, reason):
        written = "".join(steps) + splitter.lead
        assert solution.startswith(written)
        text, stopped, _ = solution[len(written) :].partition(splitter.stop[0])
        reason = "stop" if stopped else "eos"
        steps.append(splitter.close(splitter.lead + text, reason, steps[-1] if steps else ""))
    assert "".join(steps) == solution
    assert steps == splitter.split(solution)
    assert len(steps) == 5


@given(
    texts=st.lists(st.tuples(st.sampled_from([" Step: a\nb", " c\n\n"]), st.booleans()), min_size=1)
)
def test_labelled_steps_are_split_as_they_were_closed(texts):
    splitter = LabelledSplitter()
    steps = [splitter.close(f"##{text}", "length" if cut else "stop") for text, cut in texts]
    assert splitter.split("".join(steps)) == steps


@pytest.mark.parametrize(
    ("steps", "reason", "final"),
    [
        ([], "stop", False),
        (["## Step 1\nfoo\n\n"], "stop", False),
        (["## Step 1\nfoo\n\n"], "length", False),
        (["## Step 1\nfoo"], "eos", True),
        (["## Step 1\nfoo\n\n", "## Answer\n7\n\n"], "stop", True),
        (["## Step 1\nfoo\n\n", "## Answer\nThe ans\n\n"], "length", True),
        (["## Answer: 7\n\n"], "stop", True),
        (["## Step 1\nso \\boxed{\\frac{1}{2}} it is\n\n"], "stop", True),
        (["## Step 1\nso \\boxed{\\frac{1}{2}} it\n\n"], "length", True),
        (["## Step 1\nso \\boxed{\\frac{1}{2}\n\n"], "length", False),
        (["## The ## Answer\n\n"], "stop", False),
    ],
)
def test_labelled_is_final(steps, reason, final):
    assert LabelledSplitter().is_final(steps, reason) is final


# --- the others ------------------------------------------------------------------------


def test_string_splitter():
    splitter = StringSplitter("\n\n")
    assert (splitter.lead, splitter.stop) == ("", ("\n\n",))
    assert splitter.close("a\nb", "stop") == "a\nb\n\n"
    assert splitter.close("", "stop") == ""
    assert splitter.split("\n\na\n\n\n\nb\n") == ["\n\na\n\n\n\n", "b\n"]
    assert splitter.is_final(["a"], "eos")
    assert not splitter.is_final(["a\n\n"], "stop")
    assert splitter.is_final(["\\boxed{1}\n\n"], "stop")


@pytest.mark.parametrize(
    ("text", "reason", "before", "expected"),
    [
        ("\n\na", "stop", "", "a\n\n"),
        ("a, cut in the mid", "length", "", "a, cut in the mid"),
        ("dle of a word.\n", "stop", "in the mid", "dle of a word.\n\n"),
        ("\n\nA new paragraph", "length", "the mid.", "\n\nA new paragraph"),
        ("\n\nA new paragraph", "length", "closed.\n\n", "A new paragraph"),
        ("", "stop", "cut here", "\n\n"),  # the separator followed at once
        ("", "stop", "closed\n\n", ""),
    ],
)
def test_string_splitter_goes_on_in_mid_sentence(text, reason, before, expected):
    assert StringSplitter("\n\n").close(text, reason, before) == expected


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
