"""Which samples the reward model is trained on."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampled import made_up, sample, samples_of_few

from rtsearch_fast.errors import DataError, InvalidArgumentError
from rtsearch_fast.training.active import select
from rtsearch_fast.training.samples import by_question

STRATEGIES = pytest.mark.parametrize("strategy", ["active", "random"])


def test_choice_when_active_is_what_the_model_is_most_wrong_about():
    samples = made_up(0, questions=20)
    chosen = by_question(select(samples, per_question=4).samples)
    for unique_id, group in by_question(samples).items():
        right = sorted((one for one in group if one.right), key=lambda one: one.score)
        wrong = sorted((one for one in group if not one.right), key=lambda one: -one.score)
        count = min(2, len(right), len(wrong))
        found = chosen.get(unique_id, [])
        assert [one for one in found if one.right] == right[:count]
        assert [one for one in found if not one.right] == wrong[:count]


@settings(deadline=None)
@given(
    samples_of_few,
    st.sampled_from(["active", "random"]),
    st.integers(2, 9),
    st.one_of(st.none(), st.integers(2, 20)),
)
def test_choice_when_made_is_balanced_capped_and_out_of_the_pool(samples, strategy, cap, total):
    try:
        chosen = select(samples, strategy=strategy, per_question=cap, total=total).samples
    except DataError:
        return
    assert not Counter(chosen) - Counter(samples)
    assert total is None or len(chosen) <= total
    for group in by_question(chosen).values():
        assert len(group) <= cap
        assert sum(one.right for one in group) * 2 == len(group)


@settings(deadline=None)
@given(samples_of_few, st.integers(2, 9), st.one_of(st.none(), st.integers(2, 20)))
def test_baseline_when_drawn_has_the_size_of_the_active_choice(samples, cap, total):
    try:
        active = select(samples, per_question=cap, total=total).samples
    except DataError:
        return
    drawn = select(samples, strategy="random", per_question=cap, total=total).samples
    assert len(drawn) == len(active)
    if total is None:
        sizes = Counter(one.unique_id for one in active)
        assert Counter(one.unique_id for one in drawn) == sizes


@STRATEGIES
def test_choice_when_samples_are_shuffled_is_the_same(strategy):
    samples = made_up(1)
    shuffled = random.Random(0).sample(samples, len(samples))
    one = select(samples, strategy=strategy, per_question=4, total=30, seed=3)
    other = select(shuffled, strategy=strategy, per_question=4, total=30, seed=3)
    assert set(one.samples) == set(other.samples)
    assert one == select(samples, strategy=strategy, per_question=4, total=30, seed=3)


def test_baseline_when_seeded_otherwise_is_another():
    samples = made_up(1)
    draws = [select(samples, strategy="random", per_question=4, seed=seed) for seed in (1, 2)]
    assert draws[0].samples != draws[1].samples


def test_choice_when_total_is_short_takes_the_hardest_pairs():
    pairs = [("a", 0.9, 0.1), ("b", 0.2, 0.8), ("c", 0.5, 0.6)]
    samples = [
        sample(question, right, question, score=score)
        for question, of_right, of_wrong in pairs
        for right, score in ((True, of_right), (False, of_wrong))
    ]
    chosen = select(samples, total=5).samples
    assert {one.unique_id for one in chosen} == {"b", "c"} and len(chosen) == 4


def test_statistics_when_shown_compare_with_the_pool():
    samples = [
        *made_up(2, questions=40),
        sample(question="easy", score=0.5),
        sample(question="lost"),
    ]
    stats = select(samples, per_question=4).stats
    assert (stats.pool, stats.unscored, stats.one_sided) == (481, 1, 1)
    assert stats.questions == 40 and stats.chosen <= 160
    assert stats.misjudged[1] > stats.misjudged[0] + 0.2
    assert stats.right_score[1] < stats.right_score[0]
    assert stats.wrong_score[1] > stats.wrong_score[0]
    lines = stats.render().splitlines()
    assert lines[1].split() == ["samples", "481", str(stats.chosen)]
    assert lines[-1] == "40 questions with both classes, 1 with one, 1 samples without a score"


def test_baseline_when_nothing_has_a_score_draws_all_the_same():
    samples = [replace(one, score=float("nan")) for one in made_up(3)]
    assert len(select(samples, strategy="random").samples) > 100
    with pytest.raises(DataError, match=r"none of 360 samples has a score.*random"):
        select(samples)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"strategy": "best"}, "strategy='best': choose active or random"),
        ({"per_question": 1}, "per_question=1"),
        ({"total": 1}, "total=1"),
    ],
)
def test_choice_when_asked_nonsense_refuses(changes, words):
    with pytest.raises(InvalidArgumentError, match=words):
        select(made_up(0), **changes)


def test_choice_when_no_question_has_both_classes_says_so():
    with pytest.raises(DataError, match="none of 1 questions has right and wrong samples"):
        select([sample(score=0.5)])
