"""What a filter is: a function from samples to those it keeps, with a count of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .samples import Sampled

__all__ = ["Filter", "Filtered", "drop_for_reason"]


@dataclass(frozen=True, slots=True)
class Filtered:
    """What a filter kept, in the order in which it came, and how many it dropped for what reason.

    Attributes
    ----------
    kept : list of Sampled
    dropped : dict of str to int
    """

    kept: list[Sampled]
    dropped: Mapping[str, int] = field(default_factory=dict)


#: A filter: samples -> what it keeps of them.
Filter = Callable[[Sequence[Sampled]], Filtered]


def drop_for_reason(samples: Sequence[Sampled], fault: Callable[[Sampled], str | None]) -> Filtered:
    """Drop each sample of which `fault` has something to say, and count what it says."""
    kept: list[Sampled] = []
    dropped: Counter[str] = Counter()
    for sample in samples:
        reason = fault(sample)
        if reason is None:
            kept.append(sample)
        else:
            dropped[reason] += 1
    return Filtered(kept, dict(dropped))
