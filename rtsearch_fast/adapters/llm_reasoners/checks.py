"""What a world model and a search config may answer."""

from __future__ import annotations

from typing import Any

from ...errors import InvalidArgumentError

__all__ = ["LARGEST", "number", "pair"]

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


def pair(answer: Any, what: str, wanted: str) -> tuple[Any, Any]:
    """The two parts of an answer."""
    try:
        first, second = answer
    except (TypeError, ValueError):
        raise InvalidArgumentError(f"{what} returned {answer!r}: must be {wanted}") from None
    return first, second
