"""Verdicts and scores out of what a model wrote; nothing is made up where it wrote none."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

__all__ = ["json_score", "verdicts"]

_MOST_DIGITS = 9


def verdicts(text: str, pattern: str, labels: tuple[str, str], count: int) -> tuple[float, ...]:
    r"""Return the verdicts on steps that a text holds.

    Parameters
    ----------
    text : str
    pattern : str
        With the groups ``step``, a number from 1, and ``verdict``.
    labels : tuple of two str
        The verdict that means right, and that which means wrong.
    count : int
        Steps that there are; verdicts on others are left out.

    Returns
    -------
    tuple of float
        1, 0, or NaN for a step without a verdict, or with one and the other.

    Examples
    --------
    >>> verdicts("1: yes. 3: no. 3: yes.", r"(?P<step>\d): (?P<verdict>yes|no)", ("yes", "no"), 3)
    (1.0, nan, nan)
    """
    found: dict[int, set[float]] = {}
    for match in re.finditer(pattern, text):
        number, verdict = match["step"] or "", match["verdict"]
        # more digits than that are no step, and Python refuses to read thousands of them
        if verdict in labels and number.isdecimal() and len(number) <= _MOST_DIGITS:
            found.setdefault(int(number), set()).add(float(verdict == labels[0]))
    said = (found.get(number, set()) for number in range(1, count + 1))
    return tuple(each.pop() if len(each) == 1 else math.nan for each in said)


def json_score(text: str, key: str, scale: tuple[float, float]) -> float:
    """Return the score in the JSON that a text holds, scaled to [0, 1].

    What comes before ``</think>`` is left out.

    Parameters
    ----------
    text : str
    key : str
        Of the score, in a JSON object.
    scale : tuple of two float
        The lowest and the highest score.

    Returns
    -------
    float
        NaN if there is no such object, its value is no number of the scale, or two objects differ.

    Examples
    --------
    >>> json_score('So: {"score": 7}', "score", (0, 10))
    0.7
    """
    text = text.rpartition("</think>")[2]
    decoder = json.JSONDecoder(parse_constant=_refuse)
    found = set()
    start = text.find("{")
    while start >= 0:
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            start = text.find("{", start + 1)
            continue
        if key in value:
            found.add(_scaled(value[key], scale))
        start = text.find("{", end)
    return found.pop() if len(found) == 1 else math.nan


def _scaled(value: Any, scale: tuple[float, float]) -> float:
    low, high = scale
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        return math.nan
    return (value - low) / (high - low)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
