"""One score for a solution out of the scores of its steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

from ..errors import InvalidArgumentError

__all__ = ["AGGREGATIONS", "Aggregation", "aggregate", "check_aggregation"]

#: The last step's score, the lowest, the product, or the arithmetic mean.
Aggregation = Literal["last", "min", "product", "mean"]


def _product(scores: Sequence[float]) -> float:
    # A sum of logarithms rounds once, at its end, however many steps there are.
    return math.exp(math.fsum(map(math.log, scores))) if all(scores) else 0.0


#: How each aggregation is computed, once every score that counts is there.
AGGREGATIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "last": lambda scores: scores[-1],
    "min": min,
    "product": _product,
    "mean": lambda scores: math.fsum(scores) / len(scores),
}


def aggregate(scores: Sequence[float], how: str) -> float:
    """Return the score of a solution whose steps have these scores.

    Parameters
    ----------
    scores : sequence of float
        In [0, 1], or NaN where a step got no verdict.
    how : {"last", "min", "product", "mean"}

    Returns
    -------
    float
        NaN if there are no steps, or a step that counts has no score.

    Examples
    --------
    >>> aggregate([0.5, 0.25, 0.75], "min")
    0.25
    """
    check_aggregation(how)
    counted = scores[-1:] if how == "last" else scores
    if not counted or any(map(math.isnan, counted)):
        return math.nan
    return AGGREGATIONS[how](counted)


def check_aggregation(how: str) -> None:
    """Refuse a name that `aggregate` does not know.

    Raises
    ------
    InvalidArgumentError
    """
    if how not in AGGREGATIONS:
        raise InvalidArgumentError(f"aggregation={how!r}: choose one of {', '.join(AGGREGATIONS)}")
