"""Batches of similar length in random order."""

from __future__ import annotations

import random
from itertools import pairwise

from rtsearch_fast.training.batches import length_batches, length_sampler


def test_length_batches_when_asked_hold_each_example_once_and_like_lengths_together() -> None:
    rng = random.Random(0)
    lengths = [rng.choice([20, 100]) + rng.randrange(5) for _ in range(1003)]
    order = length_batches(lengths, 20, seed=4)
    assert sorted(order) == list(range(1003))
    batches = [order[i : i + 20] for i in range(0, 1000, 20)]
    mixed = [b for b in batches if max(lengths[i] for i in b) - min(lengths[i] for i in b) > 50]
    assert len(mixed) <= 2  # at most one a pool
    long = [lengths[batch[0]] > 60 for batch in batches]
    assert sum(a != b for a, b in pairwise(long)) > 10  # not one kind, then the other


def test_length_sampler_when_the_epoch_changes_gives_another_order_and_repeats_itself() -> None:
    sampler = length_sampler(list(range(100)), 10, 0)
    first = list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first
    sampler.set_epoch(0)
    assert list(sampler) == first
