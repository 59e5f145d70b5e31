"""Preference pairs."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from sampled import made_up, sample, samples_of_few

from rtsearch_fast.errors import DataError, InvalidArgumentError
from rtsearch_fast.training.pairs import make_pairs
from rtsearch_fast.training.samples import by_question


def test_pair_when_made_is_the_best_right_and_the_hardest_wrong_one():
    samples = made_up(0)
    pairs, stats = make_pairs(samples)
    groups = by_question(samples)
    assert stats.questions == len(groups) and stats.pairs == len(pairs)
    for pair in pairs:
        group = groups[pair.unique_id]
        assert pair.chosen_score == max(one.score for one in group if one.right)
        assert pair.rejected_score == max(one.score for one in group if not one.right)
        texts = {one.text: one.right for one in group}
        assert texts[pair.chosen] and not texts[pair.rejected]


@settings(deadline=None)
@given(samples_of_few)
def test_pairs_when_made_are_at_most_one_a_question_and_all_accounted_for(samples):
    try:
        pairs, stats = make_pairs(samples)
    except DataError:
        return
    assert len({pair.unique_id for pair in pairs}) == len(pairs)
    skipped = stats.all_right + stats.all_wrong + stats.duplicates
    assert stats.questions == stats.pairs + skipped
    assert len({(pair.chosen, pair.rejected) for pair in pairs}) == len(pairs)


def test_pairs_when_a_class_is_empty_or_unscored_skip_the_question():
    samples = [
        *(sample("a", right, "a", score=0.5) for right in (True, False)),
        sample("b", True, "b", score=0.5),
        sample("c", False, "c", score=0.5),
        sample("d", True, "d", score=0.5),
        sample("d", False, "d"),
    ]
    pairs, stats = make_pairs(samples)
    assert [pair.unique_id for pair in pairs] == ["a"]
    assert (stats.all_right, stats.all_wrong, stats.hard) == (2, 1, 0)


def test_pairs_when_equal_but_for_the_id_are_made_once():
    one = [sample("x", right, "a", score=0.5) for right in (True, False)]
    again = [type(s)("b", *(getattr(s, f) for f in s.__slots__[1:])) for s in one]
    pairs, stats = make_pairs([*one, *again])
    assert len(pairs) == stats.duplicates == 1


def test_pairs_when_a_margin_is_wanted_take_a_wrong_sample_that_is_far_enough():
    samples = made_up(0)
    pairs, stats = make_pairs(samples, min_margin=0.3)
    groups = by_question(samples)
    for pair in pairs:
        wrong = [one.score for one in groups[pair.unique_id] if not one.right]
        assert pair.rejected_score == max(s for s in wrong if pair.chosen_score - s >= 0.3)
    assert stats.hard == 0 and stats.close > 0
    skipped = stats.all_right + stats.all_wrong + stats.duplicates + stats.close
    assert stats.questions == stats.pairs + skipped
    with pytest.raises(DataError, match=r"0 all wrong, 1 closer than min_margin=0\.9"):
        make_pairs([sample(score=0.5), sample("x", False, score=0.1)], min_margin=0.9)
    with pytest.raises(
        InvalidArgumentError, match=r"min_margin=1\.5: give a difference in \[0, 1\]"
    ):
        make_pairs(samples, min_margin=1.5)


def test_pairs_when_scores_tie_do_not_depend_on_the_order():
    samples = [sample(str(i), i % 2 == 0, score=0.5) for i in range(20)]
    shuffled = random.Random(1).sample(samples, len(samples))
    assert make_pairs(samples) == make_pairs(shuffled)
    assert len({make_pairs(samples, seed=seed)[0][0].chosen for seed in range(20)}) > 1


def test_pairs_when_impossible_say_why():
    with pytest.raises(DataError, match="none of 1 samples has a score"):
        make_pairs([sample()])
    with pytest.raises(DataError, match=r"none of 1 questions .* \(1 all right, 0 all wrong\)"):
        make_pairs([sample(score=0.5)])
