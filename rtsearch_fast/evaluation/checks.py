"""Exact checks of answers, for problems that have many right ones."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import DataError

__all__ = ["find_check"]


def find_check(name: str) -> Callable[[str, str], bool]:
    """The check ``is_right(problem, answer)`` of a family of generated problems.

    Raises
    ------
    DataError
        There is no such family.

    Examples
    --------
    >>> is_right = find_check("countdown")
    >>> is_right("Use each of 1, 2, 3 and 4 once to make 24.", "4*(1+2+3)")
    True
    """
    from ..tasks import FAMILIES

    if name not in FAMILIES:
        raise DataError(f"no check is called {name!r}: use one of {', '.join(FAMILIES)}")
    return FAMILIES[name].is_right
