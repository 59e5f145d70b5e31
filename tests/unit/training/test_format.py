"""The format checker: one text per fault, and what is right passes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtsearch_fast import Problem
from rtsearch_fast.errors import InvalidArgumentError
from rtsearch_fast.evaluation.data import Item
from rtsearch_fast.evaluation.grade import Grader
from rtsearch_fast.policy.prompt import _EXAMPLES as SHORT_EXAMPLES
from rtsearch_fast.training.format import CODES, check_format
from rtsearch_fast.training.rewrite_prompt import EXAMPLES as FULL_EXAMPLES

GOOD = (
    "## Analysis\nAdd.\n\n## Restatement\nThe sum of 1 and 2.\n\n## Step 1: Add\n1 + 2 = 3\n\n"
    "## Step 2: Check\n3 - 2 = 1\n\n## Answer\n\\boxed{3}"
)


def item(gold: str) -> Item:
    return Item(Problem("1", "1 + 2"), gold)


def without(part: str, instead: str = "") -> str:
    assert part in GOOD
    return GOOD.replace(part, instead)


def codes(text: str, **changes: object) -> list[str]:
    return [fault.code for fault in check_format(text, **changes)]


FAULTY = {
    "empty": " \n",
    "text-before-header": f"Sure:\n{GOOD}",
    "unknown-header": without("## Step 2: Check", "## Check"),
    "repeated-section": without("## Restatement", "## Analysis"),
    "section-order": f"{without('## Analysis', '## Restatement')}".replace(
        "## Restatement\nThe", "## Analysis\nThe"
    ),
    "missing-analysis": without("## Analysis\nAdd.\n\n"),
    "missing-restatement": without("## Restatement\nThe sum of 1 and 2.\n\n"),
    "missing-steps": without("## Step 1: Add\n1 + 2 = 3\n\n## Step 2: Check\n3 - 2 = 1\n\n"),
    "step-number": without("Step 2", "Step 3"),
    "missing-title": without("Step 1: Add", "Step 1"),
    "empty-section": without("3 - 2 = 1\n\n"),
    "missing-answer": without("## Answer\n\\boxed{3}", "So 3."),
    "missing-box": without("\\boxed{3}", "3"),
    "several-boxes": without("\\boxed{3}", "\\boxed{4} or \\boxed{3}"),
    "box-outside-answer": without("1 + 2 = 3", "1 + 2 = \\boxed{3}"),
    "wrong-answer": without("\\boxed{3}", "\\boxed{4}"),
}


def test_text_when_in_the_format_has_no_fault():
    with Grader() as grader:
        assert check_format(GOOD, level="strict", item=item("3.0"), grader=grader) == []
        assert check_format(f"{GOOD}\n", level="strict") == []


@pytest.mark.parametrize("code", CODES)
def test_fault_when_made_is_found(code):
    with Grader() as grader:
        found = codes(FAULTY[code], level="strict", item=item("3"), grader=grader)
    assert code in found
    expected = {
        "missing-answer": ["missing-box", "missing-answer"],
        "box-outside-answer": ["box-outside-answer", "several-boxes"],
        "repeated-section": ["repeated-section", "missing-restatement"],
    }.get(code, [code])
    assert found == expected


@pytest.mark.parametrize("code", ["missing-analysis", "missing-restatement", "missing-title"])
def test_fault_when_lenient_is_none(code):
    assert codes(FAULTY[code]) == []


def test_examples_when_shown_to_models_are_in_the_format():
    for *_, text in SHORT_EXAMPLES:
        assert check_format(text) == []
    for *_, text in FULL_EXAMPLES:
        assert check_format(text, level="strict") == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (FAULTY["step-number"], 10),
        (FAULTY["unknown-header"], 10),
        (FAULTY["box-outside-answer"], 8),
        (FAULTY["missing-box"], 14),
    ],
)
def test_fault_when_told_has_its_line(text, line):
    assert check_format(text)[0].line == line


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (without("## Step 2", "### Step 2"), "unknown-header"),
        (without("## Step 1", "## step 1"), "unknown-header"),
        (without("## Answer", "## Answer:"), "unknown-header"),
        (f"{GOOD}\n\n## Step 3: More\nIt goes on.", "section-order"),
        (f"{GOOD}\n\n## Answer\nAgain", "repeated-section"),
        (without("Step 1", "Step 0"), "step-number"),
        (without("\\boxed{3}", "\\boxed{\\boxed{3}}"), "several-boxes"),
        (without("\\boxed{3}", "\\boxed{}"), "missing-box"),
        (without("## Step 1: Add\n", "## Step 1: \\boxed{1}\n"), "box-outside-answer"),
        (without("\n\n## Answer", " ## Answer"), "missing-answer"),
    ],
)
def test_variant_when_it_is_not_the_format_is_a_fault(text, code):
    assert code in codes(text)


def test_numbers_when_one_is_left_out_are_one_fault():
    text = "".join(f"## Step {k}: a\nb\n\n" for k in (1, 2, 4, 5, 6)) + "## Answer\n\\boxed{1}"
    assert codes(text) == ["step-number"]


PIECES = ("#", "\n", "## ", "Step ", "Answer", "Restatement", "1", ":", "{", "}", "\\boxed{2}", "a")


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_text_when_anything_at_all_is_judged(text):
    faults = check_format(text, level="strict")
    assert faults  # none of these pieces is an analysis
    for fault in faults:
        assert fault.code in CODES and 1 <= fault.line <= text.count("\n") + 1
        assert "\n" not in str(fault)


@pytest.mark.parametrize(
    ("changes", "words"), [({"level": "mild"}, "level='mild'"), ({"item": item("1")}, "grader")]
)
def test_settings_when_wrong_are_named(changes, words):
    with pytest.raises(InvalidArgumentError, match=words):
        check_format(GOOD, **changes)
