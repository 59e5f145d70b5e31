"""Test problems in training data are found, whatever dress they wear."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampled import WORDS, sample

from rtsearch_fast.errors import DataError, InvalidArgumentError
from rtsearch_fast.policy.prompt import PromptTemplate
from rtsearch_fast.training.decontamination import HeldOut, assert_no_leak, decontaminate
from rtsearch_fast.training.export import reward_rows, unpaired_rows
from rtsearch_fast.training.jsonl import write_jsonl
from rtsearch_fast.training.samples import Sampled, write_samples
from rtsearch_fast.training.wording import words

LONG = (
    "Janet's ducks lay 16 eggs per day. She eats three for breakfast every morning and bakes "
    "muffins for her friends with four."
)
SHORT = "Compute $\\sin 60^\\circ$."


@pytest.fixture
def held_out() -> HeldOut:
    held_out = HeldOut()
    held_out.add("test/long", LONG)
    held_out.add("test/short", SHORT)
    return held_out


@pytest.mark.parametrize(
    ("text", "hit"),
    [
        (LONG, "test/long"),
        (LONG.upper().replace(".", ",\n").replace(" ", "  "), "test/long"),
        (f"Say: {LONG[24:110]} and so on", "test/long"),
        (f"**{LONG.replace('16', '$16$')}**", "test/long"),
        ("\uff2a" + LONG[1:], "test/long"),  # full width
        (LONG[:60], None),  # 11 words
        (SHORT, "test/short"),
        (f"## Problem\n compute  {SHORT[8:]}\n\n## Step 1", "test/short"),
        (SHORT.replace("60", "30"), None),
        (f"Compute 1 and then {SHORT}", None),
        ("", None),
    ],
)
def test_text_when_it_has_a_test_problem_is_found(held_out, text, hit):
    found = held_out.find(text)
    assert (found and found[0]) == hit


def test_short_problems_when_they_differ_in_a_sign_are_others():
    held_out = HeldOut()
    held_out.add("a", "1 + 2")
    assert held_out.find("1 - 2") is None
    assert held_out.find("1 +  2") == ("a", "1 + 2")


def test_problem_when_long_without_words_is_compared_as_a_whole():
    signs = "+ " * 300
    held_out = HeldOut()
    held_out.add("a", signs)
    assert held_out.find(signs.strip()) is not None


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=40),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=40),
    st.integers(1, 15),
)
def test_overlap_when_found_is_that_of_the_slow_search(test, train, n):
    held_out = HeldOut(n)
    held_out.add("t", " ".join(test))
    slow = any(
        train[i : i + n] == test[j : j + n]
        for i in range(len(train) - n + 1)
        for j in range(len(test) - n + 1)
    )
    assert (held_out.find(" ".join(train)) is not None) == (slow or test == train)


def test_samples_when_decontaminated_tell_what_was_dropped_and_why(held_out):
    clean = sample("Nothing. \\boxed{2}")
    in_problem = Sampled("p", f"Q: {LONG}", ("\\boxed{2}",), "2", True)
    in_solution = sample(f"We know that {LONG}")
    result = decontaminate([in_problem, clean, in_solution, in_solution], held_out)
    assert result.kept == [clean]
    hits = [(one.unique_id, hit.test_id, hit.place) for one, hit in result.dropped]
    assert hits == [("p", "test/long", "problem"), *[("q", "test/long", "solution")] * 2]
    assert all(len(words(hit.shared)) == 13 for _, hit in result.dropped)
    lines = result.render().splitlines()
    assert lines[0] == "1 samples are clean, 3 are not (problem 1, solution 2)"
    assert lines[2].startswith("test/long           3  janet s ducks lay 16 eggs")
    assert decontaminate([clean], held_out).render().startswith("1 samples are clean, 0 are not")
    assert decontaminate(result.kept, held_out).kept == result.kept


def test_solution_when_its_steps_cut_the_words_apart_is_found(held_out):
    steps = tuple(f"{word} " for word in LONG.split())
    assert decontaminate([Sampled("p", "?", steps, "2", True)], held_out).dropped


# --- files -------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    (tmp_path / "test.jsonl").write_text(
        "".join(
            json.dumps({"id": i, "problem": p, "answer": "1"}) + "\n"
            for i, p in enumerate((LONG, SHORT))
        )
    )
    return tmp_path


def test_files_when_clean_pass(files):
    write_samples(files / "train.jsonl", [sample(), sample("two")])
    assert assert_no_leak([files / "train.jsonl"], [files / "test.jsonl"]) == 2


@pytest.mark.parametrize("problem", [LONG, SHORT])
@pytest.mark.parametrize("form", ["samples", "unpaired", "reward", "messages"])
def test_files_when_a_problem_leaks_are_named_in_any_format(files, problem, form):
    leak = Sampled("p", problem, ("\\boxed{2}",), "2", True)
    path = files / "train.jsonl"
    rows = [sample(), leak]
    if form == "samples":
        write_samples(path, rows)
    elif form == "unpaired":
        write_jsonl(path, unpaired_rows(rows, PromptTemplate.load("plain")))
    elif form == "reward":
        write_jsonl(path, reward_rows(rows))
    else:
        write_jsonl(
            path, ({"messages": [{"role": "user", "content": one.problem}]} for one in rows)
        )
    with pytest.raises(DataError) as caught:
        assert_no_leak([path], [files / "test.jsonl"])
    assert str(caught.value).startswith(f"{path}, line 2: ")
    assert f"with the test problem {int(problem == SHORT)}" in str(caught.value)


def test_files_when_empty_are_no_proof(files):
    (files / "empty.jsonl").write_text("\n")
    with pytest.raises(DataError, match="no training rows"):
        assert_no_leak([files / "empty.jsonl"], [files / "test.jsonl"])
    with pytest.raises(DataError, match="holds no problem"):
        assert_no_leak([files / "test.jsonl"], [files / "empty.jsonl"])
    with pytest.raises(DataError, match="no test problems"):
        assert_no_leak([files / "test.jsonl"], [])
    with pytest.raises(InvalidArgumentError, match="n=0"):
        HeldOut(0)
