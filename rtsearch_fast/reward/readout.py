"""Reading a verdict off a row of class probabilities."""

from __future__ import annotations

import math

from ..engine.pooling_protocol import ClassProbs
from ..engine.squash import squash
from ..errors import AnswerFormatError

__all__ = ["class_share"]

#: Sums of rounded probabilities may miss 1 by so much.
_ROUNDING = 1e-6


def class_share(row: ClassProbs, positive: int | None, name: str, how: str = "auto") -> float:
    """Return the probability of one class.

    Parameters
    ----------
    row : tuple of float
        Probabilities if `how` is "auto", else the head's numbers.
    positive : int or None
        Index of the class, from the end if negative; None is the only one.
    name : str
        Whose row it is, for messages.
    how : {"auto", "none", "sigmoid", "softmax"}
        What makes probabilities of the numbers.

    Raises
    ------
    AnswerFormatError
        There is no such class, or its value is no probability.

    Examples
    --------
    >>> class_share((0.25, 0.75), -1, "judge")
    0.75
    """
    if positive is None and len(row) != 1:
        raise AnswerFormatError(
            f"{name}: one value is to be read, the model has {len(row)} outputs: it is a "
            "classifier, to be read by class"
        )
    index = -1 if positive is None else positive
    if not -len(row) <= index < len(row):
        raise AnswerFormatError(
            f"{name}: the model has {len(row)} classes, none with the index {positive}: set "
            "`positive` to the class that means right"
        )
    value = (row if how == "auto" else squash(row, how))[index]
    if math.isnan(value):
        return math.nan
    if not -_ROUNDING <= value <= 1 + _ROUNDING:
        raise AnswerFormatError(
            f"{name}: the class {index} has the value {value:g}, which is no probability: the "
            "model was trained to give bare scores, or its server does not squash them"
        )
    return min(max(value, 0.0), 1.0)
