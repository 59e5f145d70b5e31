"""Scores of steps into one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtsearch_fast.errors import InvalidArgumentError
from rtsearch_fast.reward.aggregate import AGGREGATIONS, aggregate

NAN = math.nan
SCORES = [0.5, 0.25, 0.8]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("last", 0.8),
        ("min", 0.25),
        ("max", 0.8),
        ("product", 0.1),
        ("mean", 1.55 / 3),
        ("mean:2", 0.525),
        ("min:1", 0.8),
        ("product:9", 0.1),
        (lambda scores: max(scores) - min(scores), 0.55),
    ],
)
def test_aggregate_when_all_steps_have_scores_combines_them(how, expected) -> None:
    assert aggregate(SCORES, how) == pytest.approx(expected, abs=1e-15)
    if not callable(how):
        assert aggregate([0.3], how) == pytest.approx(0.3, abs=1e-15)


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_aggregate_when_there_are_no_steps_is_nan(how) -> None:
    assert math.isnan(aggregate([], how))


@pytest.mark.parametrize("how", AGGREGATIONS)
@pytest.mark.parametrize("scores", [[NAN, 0.5, 0.0], [0.5, NAN, 0.0], [0.0, 0.5, NAN], [NAN]])
def test_aggregate_when_a_step_that_counts_has_no_score_is_nan(how, scores) -> None:
    if how == "last" and not math.isnan(scores[-1]):
        assert aggregate(scores, how) == scores[-1]
    elif how in ("min", "product") and 0.0 in scores:
        assert aggregate(scores, how) == 0.0  # whatever the others are
    else:
        assert math.isnan(aggregate(scores, how))


def test_aggregate_when_a_score_is_zero_multiplies_to_zero() -> None:
    assert aggregate([0.5, 0.0, 1.0], "product") == 0.0


@pytest.mark.parametrize("how", AGGREGATIONS)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_aggregate_when_scores_are_shares_is_one(how, scores) -> None:
    assert 0 <= aggregate(scores, how) <= 1


def test_aggregate_when_the_name_is_unknown_lists_the_names() -> None:
    for how in ("median", "mean:", "mean:0", "mean:-1", "mean:x", "last:2", ""):
        with pytest.raises(InvalidArgumentError, match=rf"'{how}': choose one of last, min, max,"):
            aggregate([], how)


def test_aggregate_when_a_step_outside_the_window_has_no_score_does_not_mind() -> None:
    assert aggregate([NAN, 0.5, 0.7], "mean:2") == pytest.approx(0.6)


def test_aggregate_when_a_function_is_given_shows_it_what_is_missing() -> None:
    assert aggregate([NAN, 0.5], lambda scores: scores[1]) == 0.5
    assert math.isnan(aggregate([], max))
    for value in (2.0, "0.5", None):
        with pytest.raises(InvalidArgumentError, match="<lambda> returned"):
            aggregate([0.5], lambda scores, value=value: value)
