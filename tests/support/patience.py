"""Waiting in tests, on machines that are busy or stand still for minutes."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["comes_true"]


def comes_true(condition: Callable[[], bool], looks: int, pause: float = 0.05) -> bool:
    """Whether it is true at one of so many looks.

    Counted are looks, not seconds: where the whole machine stood still, its clocks went on.
    """
    for _ in range(looks):
        if condition():
            return True
        time.sleep(pause)
    return condition()
