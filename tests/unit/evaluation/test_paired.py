"""Shares and differences over problems with several seeds, against known values."""

from __future__ import annotations

import math
import random

import pytest

from rtsearch_fast.errors import InvalidArgumentError
from rtsearch_fast.evaluation.paired import mcnemar, paired_difference, share_of
from rtsearch_fast.evaluation.table import wilson_interval


def test_share_of_one_seed_is_wilsons() -> None:
    right = [[i < 81] for i in range(263)]
    share = share_of(right)
    assert (share.low, share.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)  # Newcombe (1998)
    assert share.value == pytest.approx(81 / 263)


def test_seeds_that_agree_count_once_and_independent_ones_each() -> None:
    agree = share_of([[i < 40] * 3 for i in range(100)])
    assert (agree.low, agree.high) == pytest.approx(wilson_interval(40, 100))
    rng = random.Random(1)
    free = share_of([[rng.random() < 0.4 for _ in range(3)] for _ in range(2000)])
    hits = round(free.value * 6000)
    low, high = wilson_interval(hits, 6000)
    assert free.high - free.low == pytest.approx(high - low, rel=0.05)


def test_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Problems of unequal difficulty, three seeds each: single searches are not independent."""
    rng = random.Random(2)
    hits = naive = 0
    for _ in range(400):
        chances = [rng.choice([0.05, 0.9]) for _ in range(60)]
        right = [[rng.random() < chance for _ in range(3)] for chance in chances]
        share = share_of(right)
        hits += share.low <= 0.475 <= share.high
        low, high = wilson_interval(sum(map(sum, right)), 180)
        naive += low <= 0.475 <= high
    assert hits / 400 > 0.93 > naive / 400


@pytest.mark.parametrize("right", [True, False])
def test_share_at_an_end_counts_problems(right: bool) -> None:
    share = share_of([[right] * 4] * 20)
    assert (share.low, share.high) == pytest.approx(wilson_interval(20 * right, 20))


def test_share_of_nothing_and_of_equal_halves() -> None:
    nothing = share_of([])
    assert math.isnan(nothing.value) and (nothing.low, nothing.high) == (0.0, 1.0)
    halves = share_of([[True, False]] * 30)
    assert (halves.low, halves.high) == pytest.approx(wilson_interval(30, 60))


@pytest.mark.parametrize(
    ("better", "worse", "p"),
    # two-sided binomial tests: scipy.stats.binomtest(b, b + c).pvalue
    [(0, 0, 1.0), (5, 5, 1.0), (6, 16, 0.0524792), (1, 8, 0.0390625), (0, 10, 0.001953125)],
)
def test_mcnemar_is_exact(better: int, worse: int, p: float) -> None:
    assert mcnemar(better, worse) == pytest.approx(p, rel=1e-5)
    assert mcnemar(worse, better) == mcnemar(better, worse)
    assert mcnemar(5000, 5400) == pytest.approx(9.1e-5, rel=0.03)  # 2 Phi(-399 / sqrt(10400))


def test_difference_of_one_seed_has_the_normal_interval() -> None:
    # 60 better, 30 worse, 310 equal: mean .075, variance (90 - 30^2 / 400) / 400^2
    gains = [(True, False)] * 60 + [(False, True)] * 30 + [(True, True)] * 310
    first, second = [[a] for a, _ in gains], [[b] for _, b in gains]
    found = paired_difference(first, second)
    half = 1.96 * math.sqrt((90 - 900 / 400) / 400**2)
    assert found.value == pytest.approx(0.075)
    assert (found.low, found.high) == pytest.approx((0.075 - half, 0.075 + half), abs=4e-3)
    assert (found.better, found.worse) == (60, 30)
    assert found.p == pytest.approx(mcnemar(60, 30))
    assert paired_difference(first, second) == found
    turned = paired_difference(second, first)
    assert (turned.value, turned.better) == (pytest.approx(-0.075), 30)


def test_difference_resamples_problems_not_searches() -> None:
    one = paired_difference([[i < 30] for i in range(100)], [[i >= 80] for i in range(100)])
    three = paired_difference(
        [[i < 30] * 3 for i in range(100)], [[i >= 80] * 3 for i in range(100)]
    )
    assert (three.low, three.high) == pytest.approx((one.low, one.high))
    assert three.better == 3 * one.better


@pytest.mark.parametrize(
    ("first", "second"), [([], []), ([[True]], [[True], [True]]), ([[True]], [[]]), ([[]], [[]])]
)
def test_difference_of_other_problems_is_refused(first, second) -> None:
    with pytest.raises(InvalidArgumentError, match="same problems and seeds"):
        paired_difference(first, second)
