"""Reading a verdict off a row of class probabilities."""

from __future__ import annotations

import math

from ..engine.pooling_protocol import ClassProbs
from ..errors import AnswerFormatError

__all__ = ["class_share"]

#: Sums of rounded probabilities may miss 1 by so much.
_ROUNDING = 1e-6


def class_share(row: ClassProbs, positive: int, name: str) -> float:
    """Return the probability of one class.

    Parameters
    ----------
    row : tuple of float
    positive : int
        Index of the class, from the end if negative.
    name : str
        Whose row it is, for messages.

    Raises
    ------
    AnswerFormatError
        There is no such class, or its value is no probability.

    Examples
    --------
    >>> class_share((0.25, 0.75), -1, "judge")
    0.75
    """
    if not -len(row) <= positive < len(row):
        raise AnswerFormatError(
            f"{name}: the model has {len(row)} classes, none with the index {positive}: set "
            "`positive` to the class that means right"
        )
    value = row[positive]
    if math.isnan(value):
        return math.nan
    if not -_ROUNDING <= value <= 1 + _ROUNDING:
        raise AnswerFormatError(
            f"{name}: the class {positive} has the value {value:g}, which is no probability: the "
            "model was trained to give bare scores, or its server does not squash them"
        )
    return min(max(value, 0.0), 1.0)
