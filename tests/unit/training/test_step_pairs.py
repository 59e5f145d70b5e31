"""Pairs of steps: siblings, the better one chosen."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from sampled import samples_of_few

from rtsearch_fast.errors import InvalidArgumentError
from rtsearch_fast.training.labels import StepLabels, label_steps
from rtsearch_fast.training.samples import Sampled
from rtsearch_fast.training.step_pairs import make_step_pairs

TEXTS = ["a b 1", "a b 1", "a c 3", "a d 4", "e 5"]
SAMPLES = [Sampled("1", "?", tuple(text.split()), text[-1], text[-1] == "1") for text in TEXTS]


def test_pairs_when_made_are_the_best_and_the_worst_way_to_go_on():
    found = [
        (pair.prefix, pair.chosen, pair.rejected, pair.chosen_value, pair.rejected_value)
        for pair in make_step_pairs(label_steps(SAMPLES))
    ]
    assert found == [((), "a", "e", 0.5, 0.0), (("a",), "b", "c", 1.0, 0.0)]


def test_pairs_when_values_are_equal_take_the_surer_ones():
    labels = [
        StepLabels("1", "?", (step,), (value,), (count,))
        for step, value, count in [("a", 1, 1), ("b", 1, 9), ("c", 0, 2), ("d", 0, 7), ("e", 0, 7)]
    ]
    (pair,) = make_step_pairs(labels)
    assert (pair.chosen, pair.rejected) == ("b", "d")


def test_pairs_when_the_margin_is_too_small_are_left_out():
    labels = label_steps(SAMPLES)
    assert [len(list(make_step_pairs(labels, min_margin=m))) for m in (0.5, 0.51, 1.0)] == [2, 1, 1]
    for margin in (-0.1, 1.1, float("nan")):
        with pytest.raises(InvalidArgumentError, match=f"min_margin={margin}"):
            list(make_step_pairs(labels, min_margin=margin))


def test_pairs_when_steps_differ_in_case_and_blanks_alone_are_left_out():
    labels = [
        StepLabels("1", "?", (step,), (value,), (1,))
        for step, value in [("So  2", 1.0), ("so 2\n", 0.0)]
    ]
    assert list(make_step_pairs(labels)) == []


def test_pairs_when_questions_differ_are_never_across_them():
    labels = [StepLabels(n, "?", (n,), (float(v),), (1,)) for n, v in (("a", 1), ("b", 0))]
    assert list(make_step_pairs(labels)) == []
    same = [StepLabels("0", n, (n,), (float(v),), (1,)) for n, v in (("a", 1), ("b", 0))]
    assert list(make_step_pairs(same)) == []


@settings(deadline=None)
@given(samples_of_few)
def test_pairs_when_made_have_a_margin_and_each_beginning_once(samples):
    pairs = list(make_step_pairs(label_steps(samples)))
    assert all(pair.chosen_value > pair.rejected_value for pair in pairs)
    assert len({(pair.unique_id, pair.prefix) for pair in pairs}) == len(pairs)
