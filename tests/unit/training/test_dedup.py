"""Duplicates, and near-duplicates against a slow count of n-grams."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampled import WORDS, made_up, sample, samples_of_few

from rtsearch_fast.errors import InvalidArgumentError
from rtsearch_fast.training.dedup import drop_duplicates, drop_near_duplicates
from rtsearch_fast.training.samples import Sampled
from rtsearch_fast.training.wording import tokens

TEXT = [f"word{i}" for i in range(60)]


def grams(text: str, n: int) -> set[tuple[str, ...]]:
    found = tokens(text)
    width = max(1, min(n, len(found)))
    return {tuple(found[i : i + width]) for i in range(len(found) - width + 1)} if found else set()


def jaccard(a: str, b: str, n: int) -> float:
    one, other = grams(a, n), grams(b, n)
    return len(one & other) / max(1, len(one | other))


def slow(samples: list[Sampled], threshold: float, n: int, across: bool) -> list[Sampled]:
    kept: list[Sampled] = []
    for new in samples:
        near = (
            old
            for old in kept
            if old.right == new.right and (across or old.unique_id == new.unique_id)
        )
        if not any(jaccard(new.text, old.text, n) > threshold for old in near):
            kept.append(new)
    return kept


def test_duplicates_when_equal_but_for_looks_keep_the_first():
    first = sample("So  X = 2")
    assert drop_duplicates([first, sample("so x\n= 2"), sample("so x = 3")]).kept == [
        first,
        sample("so x = 3"),
    ]


def test_duplicates_when_of_another_problem_stay():
    samples = [sample(question="a"), sample(question="b")]
    assert drop_duplicates(samples).kept == samples


@settings(deadline=None)
@given(
    samples_of_few,
    st.sampled_from([0.2, 0.5, 0.6, 0.7, 0.8, 0.9]),
    st.integers(1, 4),
    st.booleans(),
)
def test_near_duplicates_when_dropped_are_those_of_the_slow_count(samples, threshold, n, across):
    kept = drop_near_duplicates(samples, threshold=threshold, n=n, across=across).kept
    assert kept == slow(samples, threshold, n, across)


def test_near_duplicates_when_texts_are_long_are_those_of_the_slow_count():
    samples = made_up(5, questions=4, each=30)
    noisy = [
        sample(one.text.replace(WORDS[i % len(WORDS)], WORDS[0]), one.right, one.unique_id)
        for i, one in enumerate(samples)
    ]
    both = samples + noisy
    for threshold in (0.3, 0.5, 0.8):
        kept = drop_near_duplicates(both, threshold=threshold).kept
        assert kept == slow(both, threshold, 3, False)
        assert len(kept) < len(both)


def test_near_duplicates_when_one_word_differs_is_dropped_and_many_stays():
    one = sample(" ".join(TEXT))
    near = sample(" ".join([*TEXT[:30], "other", *TEXT[31:]]))
    far = sample(" ".join([*TEXT[:30], *TEXT[:30]]))
    assert drop_near_duplicates([one, near, far]).kept == [one, far]


def test_near_duplicates_when_of_the_other_class_stay():
    samples = [sample(" ".join(TEXT)), sample(" ".join([*TEXT, "slip"]), right=False)]
    assert drop_near_duplicates(samples).kept == samples


def test_near_duplicates_when_of_another_question_are_dropped_only_across():
    samples = [sample(" ".join(TEXT), question=name) for name in "ab"]
    assert drop_near_duplicates(samples).kept == samples
    assert drop_near_duplicates(samples, across=True).kept == samples[:1]


@pytest.mark.parametrize(("changes", "words"), [({"threshold": 1.0}, "1.0"), ({"n": 0}, "n=0")])
def test_near_duplicates_when_asked_nonsense_refuse(changes, words):
    with pytest.raises(InvalidArgumentError, match=words):
        drop_near_duplicates([sample()], **changes)
