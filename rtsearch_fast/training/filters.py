"""Filters over samples, one after the other, with an account of what each of them dropped."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ..answers import final_answer
from ..errors import DataError, InvalidArgumentError
from .balance import balance_classes, balance_lengths, drop_one_sided
from .dedup import drop_duplicates, drop_near_duplicates
from .filtered import Filter, Filtered, drop_for_reason
from .report import columns
from .samples import Sampled

__all__ = [
    "STANDARD",
    "FilterReport",
    "FilterStep",
    "drop_malformed",
    "run_filters",
    "standard_filters",
]

#: The filters in the order in which they make sense: what is cheap first, balance last.
STANDARD = ("format", "duplicates", "near-duplicates", "one-sided", "classes", "lengths")

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])")


@dataclass(frozen=True, slots=True)
class FilterStep:
    """One filter's line in the report."""

    name: str
    before: int
    after: int
    dropped: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class FilterReport:
    """What each filter dropped, and why."""

    steps: tuple[FilterStep, ...]

    def render(self) -> str:
        """The report as a table."""
        rows: list[tuple[object, ...]] = [("filter", "before", "kept", "dropped because of")]
        for step in self.steps:
            why = ", ".join(f"{reason} {count}" for reason, count in sorted(step.dropped.items()))
            rows.append((step.name, step.before, step.after, why or "-"))
        return columns(rows)


def run_filters(
    samples: Sequence[Sampled], filters: Mapping[str, Filter]
) -> tuple[list[Sampled], FilterReport]:
    """Apply filters in their order.

    Parameters
    ----------
    samples : sequence of Sampled
    filters : mapping of str to Filter
        By the names that the report shows.

    Returns
    -------
    (list of Sampled, FilterReport)
        What all of them kept; what each of them dropped.

    Raises
    ------
    DataError
        Nothing is left; the message names the filter that removed most.

    Examples
    --------
    >>> good = Sampled("1", "1 + 1", ("It is \\\\boxed{2}.",), "2", True)
    >>> cut = Sampled("1", "1 + 1", ("It is",), None, False, finish="length")
    >>> kept, report = run_filters([good, cut], {"format": drop_malformed})
    >>> print(report.render())
    filter  before  kept  dropped because of
    format       2     1  truncated 1
    """
    if not samples:
        raise DataError("there are no samples to filter: sample some solutions first")
    kept, steps = list(samples), []
    for name, keep in filters.items():
        result = keep(kept)
        steps.append(FilterStep(name, len(kept), len(result.kept), dict(result.dropped)))
        kept = result.kept
        if not kept:
            worst = max(steps, key=lambda step: step.before - step.after)
            reason, count = max(worst.dropped.items(), key=lambda item: item[1])
            raise DataError(
                f"filters left none of {len(samples)} samples: {worst.name!r} removed most, "
                f"{worst.before - worst.after} ({reason} {count}); leave it out or sample more"
            )
    return kept, FilterReport(tuple(steps))


def standard_filters(
    names: Sequence[str] = STANDARD,
    *,
    threshold: float = 0.8,
    n: int = 3,
    across: bool = False,
    seed: int = 0,
) -> dict[str, Filter]:
    """The filters of these names, for `run_filters`.

    Parameters
    ----------
    names : sequence of str
        Out of `STANDARD`; they are applied in the order given.
    threshold, n, across
        Of `drop_near_duplicates`.
    seed : int
        Of the random choices of "classes" and "lengths".

    Examples
    --------
    >>> list(standard_filters(["format", "duplicates"]))
    ['format', 'duplicates']
    """
    known: dict[str, Filter] = {
        "format": drop_malformed,
        "duplicates": drop_duplicates,
        "near-duplicates": partial(drop_near_duplicates, threshold=threshold, n=n, across=across),
        "one-sided": drop_one_sided,
        "classes": partial(balance_classes, seed=seed),
        "lengths": partial(balance_lengths, seed=seed),
    }
    for name in names:
        if name not in known:
            raise InvalidArgumentError(f"filter {name!r}: choose out of {', '.join(known)}")
    return {name: known[name] for name in names}


def drop_malformed(samples: Sequence[Sampled]) -> Filtered:
    """Drop solutions that are empty or cut off, or do not have exactly one box.

    Examples
    --------
    >>> two = Sampled("1", "1 + 1", ("\\\\boxed{1} or \\\\boxed{2}",), "2", True)
    >>> drop_malformed([two]).dropped
    {'several boxes': 1}
    """
    return drop_for_reason(samples, _fault)


def _fault(sample: Sampled) -> str | None:
    text = sample.text
    if not text.strip():
        return "empty"
    if sample.finish == "length":
        return "truncated"
    if final_answer(text) is None:
        return "unboxed"
    return "several boxes" if len(_BOX.findall(text)) > 1 else None
