"""One score for a solution out of the scores of its steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..errors import InvalidArgumentError

__all__ = [
    "AGGREGATIONS",
    "Aggregation",
    "aggregate",
    "aggregation_name",
    "check_aggregation",
    "steps_that_count",
]

#: A name, or a function of the scores of the steps, NaN where a step got none.
Aggregation = str | Callable[[Sequence[float]], float]


def _product(scores: Sequence[float]) -> float:
    # A sum of logarithms rounds once, at its end, however many steps there are.
    return math.exp(math.fsum(map(math.log, scores))) if all(scores) else 0.0


#: How each aggregation is computed, once every score that counts is there.
AGGREGATIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "last": lambda scores: scores[-1],
    "min": min,
    "max": max,
    "product": _product,
    "mean": lambda scores: math.fsum(scores) / len(scores),
}

#: A step that is surely wrong decides alone.
_ZERO_DECIDES = ("min", "product")


def aggregate(scores: Sequence[float], how: Aggregation) -> float:
    """Return the score of a solution whose steps have these scores.

    Parameters
    ----------
    scores : sequence of float
        In [0, 1], or NaN where a step got no verdict.
    how : {"last", "min", "max", "product", "mean"}, or a callable
        "mean:3" is the mean of the last three steps, or of all if there are fewer.

    Returns
    -------
    float
        NaN if there are no steps, or a step that counts has no score and the others do not decide:
        a minimum or product with a 0 in it is 0.

    Raises
    ------
    InvalidArgumentError
        There is no such aggregation, or the callable returned no score.

    Examples
    --------
    >>> aggregate([0.5, 0.25, 0.75], "min"), aggregate([0.5, 0.25, 0.75], "mean:2")
    (0.25, 0.5)
    """
    check_aggregation(how)
    if callable(how):
        value = how(scores) if scores else math.nan
        if not (isinstance(value, int | float) and (math.isnan(value) or 0 <= value <= 1)):
            raise InvalidArgumentError(
                f"aggregation {aggregation_name(how)} returned {value!r}: it must return a number "
                "in [0, 1], or NaN for no verdict"
            )
        return float(value)
    name = how.partition(":")[0]
    counted = scores[-(steps_that_count(how) or len(scores)) :]
    if not counted:
        return math.nan
    if any(map(math.isnan, counted)):
        return 0.0 if name in _ZERO_DECIDES and 0.0 in counted else math.nan
    return AGGREGATIONS[name](counted)


def aggregation_name(how: Aggregation) -> str:
    """The name; that of the function, if it is one."""
    return str(getattr(how, "__qualname__", how)) if callable(how) else how


def steps_that_count(how: Aggregation) -> int | None:
    """How many of the last steps decide; None if all may."""
    if callable(how):
        return None
    name, _, window = how.partition(":")
    return 1 if name == "last" else int(window) if window else None


def check_aggregation(how: Aggregation) -> None:
    """Refuse what `aggregate` cannot compute.

    Raises
    ------
    InvalidArgumentError
    """
    if callable(how):
        return
    name, colon, window = how.partition(":")
    windowed = window.isdecimal() and int(window) > 0 and name != "last"
    if name not in AGGREGATIONS or (colon and not windowed):
        raise InvalidArgumentError(
            f"aggregation={how!r}: choose one of {', '.join(AGGREGATIONS)}, or NAME:K for the last "
            "K steps, such as mean:3"
        )
