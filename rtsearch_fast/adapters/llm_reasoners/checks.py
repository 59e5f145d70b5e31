"""What a world model and a search config may answer, and what settings may be."""

from __future__ import annotations

import operator
from typing import Any

from ...errors import InvalidArgumentError

__all__ = ["LARGEST", "count", "function", "number", "pair"]

#: Of rewards, so that every one has a float32.
LARGEST = 1e38


def number(value: Any, what: str) -> float:
    """The value as a float.

    Raises
    ------
    InvalidArgumentError
        It is no number, or not within 1e38 of zero.
    """
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise InvalidArgumentError(f"{what} {value!r}: must be a number") from None
    if not abs(found) <= LARGEST:
        raise InvalidArgumentError(f"{what} {value!r}: must be finite and at most {LARGEST:g}")
    return found


def count(value: Any, what: str, least: int = 0) -> int:
    """The value as an int.

    Raises
    ------
    InvalidArgumentError
        It is no whole number, or too small.
    """
    try:
        found = operator.index(value)
    except TypeError:
        raise InvalidArgumentError(f"{what}={value!r}: must be a whole number") from None
    if found < least:
        raise InvalidArgumentError(f"{what}={value!r}: must be at least {least}")
    return found


def function(value: Any, what: str) -> Any:
    """The value, which can be called.

    Raises
    ------
    InvalidArgumentError
        It cannot.
    """
    if not callable(value):
        raise InvalidArgumentError(f"{what}={value!r}: must be a function of a list of rewards")
    return value


def pair(answer: Any, what: str, wanted: str) -> tuple[Any, Any]:
    """The two parts of an answer."""
    try:
        first, second = answer
    except (TypeError, ValueError):
        raise InvalidArgumentError(f"{what} returned {answer!r}: must be {wanted}") from None
    return first, second
