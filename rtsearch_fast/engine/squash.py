"""What makes probabilities of the numbers of a head."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..errors import InvalidArgumentError

__all__ = ["SQUASHES", "check_squash", "squash"]

#: "auto" is the sigmoid of one number and the softmax of several, as vLLM has it.
SQUASHES = ("auto", "none", "sigmoid", "softmax")


def check_squash(how: str) -> None:
    """Refuse a name that `squash` does not know.

    Raises
    ------
    InvalidArgumentError
    """
    if how not in SQUASHES:
        raise InvalidArgumentError(f"squash={how!r}: choose one of {', '.join(SQUASHES)}")


def squash(row: Sequence[float], how: str) -> tuple[float, ...]:
    """Return the numbers of a head as probabilities.

    Parameters
    ----------
    row : sequence of float
        NaN stays NaN; in a softmax it makes all of the row so.
    how : {"auto", "none", "sigmoid", "softmax"}

    Examples
    --------
    >>> squash((0.0,), "auto"), squash((2.0, 2.0), "auto")
    ((0.5,), (0.5, 0.5))
    """
    check_squash(how)
    if how == "none" or not row:
        return tuple(row)
    if how == "sigmoid" or (how == "auto" and len(row) == 1):
        return tuple(map(_sigmoid, row))
    if any(map(math.isnan, row)):
        return (math.nan,) * len(row)
    top = max(row)
    parts = [math.exp(value - top) for value in row]
    whole = math.fsum(parts)
    return tuple(part / whole for part in parts)


def _sigmoid(value: float) -> float:
    # The exponent is never positive, so exp cannot overflow.
    small = math.exp(-abs(value))
    return (1.0 if value >= 0 else small) / (1.0 + small)
