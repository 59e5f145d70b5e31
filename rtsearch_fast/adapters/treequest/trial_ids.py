"""Ids of trials: ULIDs, as treequest's are, that say which trial they name.

A ULID has 48 bits of milliseconds and 80 that are free: 48 of them tell apart the copies of a
search that went on separately, 32 are the number of the trial.
"""

from __future__ import annotations

__all__ = ["number_of", "ulid_of"]

_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 26


def ulid_of(number: int, created: int, salt: int) -> str:
    """The id of a trial that was created so many nanoseconds after 1970."""
    value = created // 1_000_000 << 80 | (salt & 0xFFFFFFFFFFFF) << 32 | number
    return "".join(_LETTERS[value >> shift & 31] for shift in range(5 * (_LENGTH - 1), -1, -5))


def number_of(ulid: str) -> int | None:
    """Which trial an id names, if it is one at all."""
    if not isinstance(ulid, str) or len(ulid) != _LENGTH:
        return None
    value = 0
    for letter in ulid:
        digit = _LETTERS.find(letter)
        if digit < 0:
            return None
        value = value << 5 | digit
    return value & 0xFFFFFFFF
