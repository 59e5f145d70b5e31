"""Filters, balance, and the account they give."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampled import made_up, sample, samples_of_few

from rtsearch_fast.errors import DataError, InvalidArgumentError
from rtsearch_fast.training.balance import (
    balance_classes,
    balance_lengths,
    drop_one_sided,
    length_auc,
)
from rtsearch_fast.training.filters import (
    STANDARD,
    drop_malformed,
    run_filters,
    standard_filters,
)
from rtsearch_fast.training.samples import by_question

FILTERS = standard_filters()


@pytest.mark.parametrize(
    ("faulty", "reason"),
    [
        (sample(" \n"), "empty"),
        (sample("\\boxed{2} and", finish="length"), "truncated"),
        (sample("It is 2."), "unboxed"),
        (sample("\\boxed{}"), "unboxed"),
        (sample("\\boxed{2"), "unboxed"),
        (sample("\\boxed{1} or \\boxed{2}"), "several boxes"),
        (sample("\\boxed{\\boxed{2}}"), "several boxes"),
        (sample("\\fbox{1}, \\boxed{2}"), "several boxes"),
    ],
)
def test_malformed_when_met_is_dropped_for_its_reason(faulty, reason):
    result = drop_malformed([sample(), faulty])
    assert (result.kept, result.dropped) == ([sample()], {reason: 1})


def test_one_sided_questions_when_met_are_dropped():
    mixed = [sample(question="a"), sample(right=False, question="a")]
    easy, hard = [sample(question="b")] * 2, [sample(right=False, question="c")]
    result = drop_one_sided([*easy, *mixed, *hard])
    assert result.kept == mixed
    assert result.dropped == {"all right": 2, "all wrong": 1}


@settings(deadline=None)
@given(samples_of_few, st.sampled_from(STANDARD))
def test_filter_when_run_keeps_a_subset_in_order_and_accounts_for_the_rest(samples, name):
    result = FILTERS[name](samples)
    rest = iter(samples)
    assert all(any(kept == found for found in rest) for kept in result.kept)
    assert sum(result.dropped.values()) == len(samples) - len(result.kept)
    assert all(count > 0 for count in result.dropped.values())


@settings(deadline=None)
@given(samples_of_few, st.sampled_from(STANDARD))
def test_filter_when_run_again_drops_nothing_more(samples, name):
    once = FILTERS[name](samples).kept
    assert FILTERS[name](once).kept == once


@settings(deadline=None)
@given(samples_of_few, st.sampled_from(["classes", "lengths"]))
def test_balance_when_made_leaves_as_many_right_as_wrong_in_each_question(samples, name):
    for group in by_question(FILTERS[name](samples).kept).values():
        assert Counter(one.right for one in group)[True] * 2 == len(group)


def test_classes_when_balanced_keep_all_of_the_smaller_one():
    samples = made_up(1)
    kept = by_question(balance_classes(samples).kept)
    for unique_id, group in by_question(samples).items():
        rights = sum(one.right for one in group)
        assert len(kept.get(unique_id, ())) == 2 * min(rights, len(group) - rights)


def test_choice_when_seeded_depends_on_the_seed_alone():
    samples = made_up(2)
    assert balance_classes(samples, seed=1) == balance_classes(samples, seed=1)
    assert balance_classes(samples, seed=1) != balance_classes(samples, seed=2)
    backwards = balance_classes(samples[::-1], seed=1).kept[::-1]
    assert backwards == balance_classes(samples, seed=1).kept


# --- length ------------------------------------------------------------------------------


@pytest.mark.parametrize("longer", [-0.3, 0.0, 0.25, 0.6])
@pytest.mark.parametrize("told", [True, False])
def test_lengths_when_balanced_do_not_tell_the_class(longer, told):
    samples = made_up(3, questions=150, longer=longer)
    if not told:  # then characters count
        samples = [sample(one.text, one.right, one.unique_id) for one in samples]
    kept = balance_lengths(samples).kept
    assert len(kept) > len(samples) / (25 if longer == 0.6 else 10)
    assert abs(length_auc(kept) - 0.5) < 0.02
    inside = [(len(group), length_auc(group)) for group in by_question(kept).values()]
    assert abs(sum(size * auc for size, auc in inside) / len(kept) - 0.5) < 0.05
    if longer == 0.6:
        assert length_auc(samples) > 0.7


def test_lengths_when_wrong_ones_are_always_longer_leave_nothing():
    samples = [sample("a" * n, n < 5, num_tokens=n) for n in range(1, 9)]
    assert balance_lengths(samples).kept == []


def test_auc_when_computed_counts_pairs():
    ties = [sample(num_tokens=3), sample(num_tokens=3, right=False)]
    assert length_auc(ties) == 0.5
    assert length_auc([*ties, sample(num_tokens=4)]) == 0.25
    assert length_auc([sample()]) != length_auc([sample()])  # NaN


# --- one after the other -----------------------------------------------------------------


def test_filters_when_run_tell_what_each_dropped():
    good = [sample(f"{word} \\boxed{{2}}", word < "c") for word in "abcd"]
    samples = [*good, good[0], sample("none"), sample(finish="length")]
    kept, report = run_filters(samples, standard_filters(STANDARD[:4]))
    assert kept == good
    assert report.render().splitlines() == [
        "filter           before  kept  dropped because of",
        "format                7     5  truncated 1, unboxed 1",
        "duplicates            5     4  duplicate 1",
        "near-duplicates       4     4  -",
        "one-sided             4     4  -",
    ]


def test_filters_when_nothing_is_left_name_the_worst():
    samples = [*[sample(finish="length")] * 5, sample(), sample("a \\boxed{2}")]
    with pytest.raises(DataError) as caught:
        run_filters(samples, FILTERS)
    assert str(caught.value) == (
        "filters left none of 7 samples: 'format' removed most, 5 (truncated 5); leave it out or "
        "sample more"
    )


def test_filters_when_there_is_nothing_to_filter_say_so():
    with pytest.raises(DataError, match="no samples to filter"):
        run_filters([], FILTERS)


def test_filter_when_unknown_is_named():
    with pytest.raises(InvalidArgumentError, match="filter 'size': choose out of format"):
        standard_filters(["format", "size"])
