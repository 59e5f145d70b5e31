"""Batches of examples of similar length, in random order."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["length_batches", "length_sampler"]

#: Batches' worth of examples that are sorted together.
_POOL = 50


def length_batches(lengths: Sequence[int], batch_size: int, seed: int) -> list[int]:
    """Return the order of examples in which neighbours, batch by batch, are of similar length.

    Unlike `transformers.trainer_pt_utils.LengthGroupedSampler`, which gives the longest of a pool
    first and the shortest last, the batches of a pool are shuffled: where lengths go with kinds of
    examples, a model would learn one kind after the other, and forget.

    Examples
    --------
    >>> length_batches([1, 9, 2, 8], 2, seed=1)
    [1, 3, 2, 0]
    """
    rng = random.Random(seed)
    order = list(range(len(lengths)))
    rng.shuffle(order)
    found: list[int] = []
    for start in range(0, len(order), _POOL * batch_size):
        pool = sorted(order[start : start + _POOL * batch_size], key=lambda i: -lengths[i])
        batches = [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
        last = batches.pop() if len(batches[-1]) < batch_size else []
        rng.shuffle(batches)
        found += [index for batch in (*batches, last) for index in batch]
    return found


def length_sampler(lengths: Sequence[int], batch_size: int, seed: int) -> Any:
    """Return a sampler for torch whose order changes with the epoch, and with nothing else."""
    from torch.utils.data import Sampler

    class LengthSampler(Sampler[int]):
        epoch = 0

        def __len__(self) -> int:
            return len(lengths)

        def __iter__(self) -> Iterator[int]:
            return iter(length_batches(lengths, batch_size, seed + self.epoch))

        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

    return LengthSampler()
