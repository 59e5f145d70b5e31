"""From samples to steps: whole samples are cut like single steps, and cut off where wrong."""

from __future__ import annotations

import pytest

from rtsearch_fast import Sample, SearchOptions
from rtsearch_fast.search.growth import Grower, Solution
from rtsearch_fast.steps import make_splitter

EMPTY = Solution((), 0)


def sample(text: str, reason: str = "eos") -> Sample:
    """One token a character: tokens are counted exactly."""
    return Sample(text, len(text), reason, ends=tuple(range(1, len(text) + 1)))


def grow(text: str, reason: str = "eos", start: Solution = EMPTY, splitter="labelled", **options):
    grower = Grower(make_splitter(splitter), SearchOptions(max_solution_tokens=500, **options))
    return grower.grow(start, sample(text, reason), whole=True)


def test_whole_sample_when_right_gives_all_its_steps_and_their_tokens():
    text = " Step 1: add\n1 + 2 = 3\n\n## Step 2: add\n3 + 4 = 7\n\n## Answer\n\\boxed{7}"
    solutions, corrections = grow(text)
    assert corrections == 0
    assert [s.steps[-1] for s in solutions] == [
        "## Step 1: add\n1 + 2 = 3\n\n",
        "## Step 2: add\n3 + 4 = 7\n\n",
        "## Answer\n\\boxed{7}",
    ]
    # the token that ends a step is its last; the "##" of the prompt is none of the sample's
    assert [s.num_tokens for s in solutions] == [24, 24 + 26, len(text)]
    assert [s.finished for s in solutions] == [False, False, True]
    assert solutions[-1].to_candidate().answer == "7"


def test_whole_sample_when_corrected_ends_with_the_corrected_step():
    solutions, corrections = grow(
        " Step 1: add\n1 + 2 = 4\n\n## Step 2: add\n4 + 4 = 8\n\n## Answer\n\\boxed{8}"
    )
    assert corrections == 1
    assert [s.steps for s in solutions] == [("## Step 1: add\n1 + 2 = 3\n\n",)]
    assert not solutions[0].ended


def test_whole_sample_when_the_calculator_is_off_is_left_alone():
    solutions, corrections = grow(
        " Step 1: add\n1 + 2 = 4\n\n## Answer\n\\boxed{4}", calculator=False
    )
    assert corrections == 0 and solutions[-1].finished


def test_whole_sample_when_it_goes_on_after_the_answer_is_cut_there():
    solutions, _ = grow(" Answer\n\\boxed{7}\n\n## Problem\nAnother one", "length")
    (only,) = solutions
    assert only.steps == ("## Answer\n\\boxed{7}\n\n",)
    assert only.num_tokens == len(" Answer\n\\boxed{7}\n\n")
    assert only.finished


@pytest.mark.parametrize("reason", ["length", "stop"])
def test_whole_sample_when_it_breaks_off_is_not_finished(reason):
    solutions, _ = grow(" Step 1: add\n1 + 2 = 3\n\n## Step 2: add\n3 +", reason)
    assert [s.finished for s in solutions] == [False, False]


def test_whole_sample_when_it_is_blank_adds_nothing():
    assert grow("") == ([], 0)
    assert grow("\n\n") == ([], 0)


def test_whole_sample_when_too_deep_or_too_long_is_stuck():
    text = " Step 1: a\n\n## Step 2: b\n\n## Step 3: c\n\n## Step 4: d"
    solutions, _ = grow(text, max_depth=2)
    assert len(solutions) == 2 and solutions[-1].stuck and not solutions[-1].finished
    solutions, _ = grow(text, start=Solution(("## Step 0\n\n",), 480))
    assert solutions[-1].stuck
    assert solutions[-1].to_candidate().answer is None


def test_tokens_when_the_engine_does_not_tell_are_shared_out_by_length():
    text = " Step 1: a\n\n## Answer\n\\boxed{7}"
    grower = Grower(make_splitter("labelled"), SearchOptions())
    solutions, _ = grower.grow(EMPTY, Sample(text, 10, "eos"), whole=True)
    assert [s.num_tokens for s in solutions] == [4, 10]


@pytest.mark.parametrize("splitter", ["labelled", "string:\\n\\n", "think"])
def test_whole_sample_gives_the_steps_that_single_samples_give(splitter):
    pieces = ["Step 1: a", "Step 2: b", "so it is \\boxed{3}"]
    grower = Grower(make_splitter(splitter), SearchOptions())
    lead = grower.splitter.lead
    whole, _ = grower.grow(EMPTY, sample((f"\n\n{lead}").join(pieces)), whole=True)
    one = EMPTY
    for number, piece in enumerate(pieces, start=1):
        reason = "eos" if number == len(pieces) else "stop"
        ((one,), _) = grower.grow(one, sample(piece, reason), whole=False)
    assert whole[-1].steps == one.steps
