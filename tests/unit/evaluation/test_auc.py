"""Area under the ROC curve, against counting pairs."""

from __future__ import annotations

import math
import random

import pytest

from rtsearch_fast.evaluation.auc import auc


def test_auc_when_scores_are_random_equals_the_share_of_ordered_pairs() -> None:
    rng = random.Random(2)
    for _ in range(50):
        scores = [rng.choice([0.1, 0.2, 0.5, rng.random()]) for _ in range(40)]
        labels = [rng.random() < 0.4 for _ in scores]
        pairs = [
            1.0 if a > b else 0.5 if a == b else 0.0
            for a, right in zip(scores, labels, strict=True)
            if right
            for b, other in zip(scores, labels, strict=True)
            if not other
        ]
        if pairs:
            assert auc(scores, labels) == pytest.approx(sum(pairs) / len(pairs))


def test_auc_when_a_class_is_missing_is_nan() -> None:
    assert math.isnan(auc([0.1, 0.2], [True, True]))
    assert math.isnan(auc([], []))


def test_auc_when_a_score_is_missing_leaves_it_out() -> None:
    assert auc([0.9, math.nan, 0.1], [True, False, False]) == 1.0
