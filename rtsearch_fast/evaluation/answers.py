"""When are two final answers equal? As strings, as numbers, and by computer algebra.

The first two are exact, fast and safe. `compare_symbolically` is none of these on hostile text:
call it where it can be killed.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any, NamedTuple

__all__ = ["Verdict", "compare_plainly", "compare_symbolically"]

RELATIVE_TOLERANCE = Fraction(1, 10_000)  #: the usual one for GSM-Hard, whose answers are floats
_ROUNDING = Fraction(1, 1_000_000)  # decimals agree if they do to six places and six digits
_LONGEST_NUMBER = 200  # characters


class Verdict(NamedTuple):
    """Whether two answers are equal; whether they are, or are numbers within 1e-4; and how so."""

    correct: bool
    relative: bool
    how: str


def compare_plainly(pred: str, gold: str) -> Verdict | None:
    r"""Compare as strings and numbers; None where that settles nothing.

    Units and currencies of numbers are ignored, and 17.5 as well as 0.175 stands for 17.5 %.

    Examples
    --------
    >>> compare_plainly(r"\text{East}", "east")
    Verdict(correct=True, relative=True, how='string')
    >>> compare_plainly("1,800 dollars", r"\$1800.01")
    Verdict(correct=False, relative=True, how='number')
    >>> compare_plainly("x + 1", "1 + x")
    """
    p_text, g_text = _plain(pred), _plain(gold)
    if p_text == g_text:
        return Verdict(True, True, "string")
    p_index, g_index = _INDEXED.fullmatch(p_text), _INDEXED.fullmatch(g_text)
    if p_index and g_index:  # math-verify takes 40_9 and 40_8 for 40
        same = p_index.groups() == g_index.groups()
        return Verdict(same, same, "string")
    p, g = _number(pred), _number(gold)
    if p is None or g is None:
        return None
    readings = [(p.value, g.value)]
    if p.percent != g.percent:
        readings.append((p.fraction, g.fraction))
    rounding = Fraction(0) if p.exact and g.exact else _ROUNDING
    correct = any(
        abs(a - b) <= rounding * min(Fraction(1), max(abs(a), abs(b))) for a, b in readings
    )
    return Verdict(correct, correct or any(_close(a, b) for a, b in readings), "number")


def compare_symbolically(pred: str, gold: str) -> Verdict:
    """Compare by math-verify, without a limit of time or memory."""
    from math_verify import LatexExtractionConfig, parse, verify

    # LaTeX alone: what math-verify takes for a plain expression goes through sympy's `eval`.
    # Its own timeouts are signals, which work in main threads only and which code may swallow.
    answer, right = (
        parse(_as_latex(text), [LatexExtractionConfig()], parsing_timeout=None)
        for text in (pred, gold)
    )
    correct = verify(right, answer, timeout_seconds=None)
    return Verdict(correct, correct or _close_to_number(answer, gold), "symbolic")


def _close_to_number(parsed: list[Any], gold: str) -> bool:
    number = _number(gold)
    if number is None or not parsed:
        return False
    try:
        value = Fraction(float(getattr(parsed[0], "rhs", parsed[0])))
    except (ArithmeticError, TypeError, ValueError):  # it has symbols, or is no number
        return False
    return _close(value, number.value)


def _close(value: Fraction, right: Fraction) -> bool:
    return abs(value - right) <= RELATIVE_TOLERANCE * abs(right)


class _Number(NamedTuple):
    value: Fraction  # as written
    percent: bool
    exact: bool  # not a decimal, which may be rounded

    @property
    def fraction(self) -> Fraction:
        return self.value / 100 if self.percent else self.value


_TEXT = r"\\(?:text|textbf|textrm|mathrm|mbox|operatorname)\s*\{([^{}]*)\}"
_TIDY = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\[!,]|\\(?:left|right|displaystyle)(?![A-Za-z])|\\?\$|\\[()\[\]]", ""),
        (r"\\[;: ]|\\q?quad(?![A-Za-z])|~|\s+", " "),
        (r"\^\s?\{?\s?\\circ\s?\}?|°|\\degrees?(?![A-Za-z])", ""),
        (r"\\[dtc]frac", r"\\frac"),
        (r"\{,\}", ","),
        (r"\\%|\bper ?cent\b", "%"),
        (r"[\u2212\u2013]", "-"),
    )
]
_SPACE = re.compile(r"(?<!\d) +| +(?!\d)")  # between digits it tells 1 1/2 from 11/2
_LETTER = re.compile(r"\(([A-Z])\)")
_INDEXED = re.compile(r"(\w+?)_\{?([A-Za-z0-9]+)\}?")
# Each blank has one place in the pattern: with two, words without a unit took exponential time.
_UNITS = re.compile(
    rf"(?: ?(?:{_TEXT}|(?<![A-Za-z\\])[A-Za-z]{{3,}})(?:\^\{{?[23]\}}?)?(?: ?/| (?= ))?)+$"
)
_NOT_UNITS = re.compile(
    r"(?i)\b(?:e|i|j|pi|hundred|thousand|[mbtr]+illion|dozen|half|plus|minus|squared|cubed)s?\b"
)
_DECIMAL = re.compile(
    r"""(?P<sign>[-+]?)[€£¥]?(?=\.?\d)(?P<whole>\d{1,3}(?:,\d{3})+|\d*)(?P<places>\.\d*)?
    (?:(?:[eE]|(?:\\times|\\cdot|[*\u00d7])10\^)\{?(?P<power>[-+]?\d{1,3})\}?)?(?P<percent>%)?""",
    re.VERBOSE,
)
_RATIO = re.compile(r"([-+]?)(?:(\d+)/(\d+)|\\frac(?:\{(-?\d+)\}|(\d))(?:\{(-?\d+)\}|(\d)))(%)?")


def _tidy(text: str) -> str:
    """Without what changes only how the answer looks."""
    for pattern, replacement in _TIDY:
        text = pattern.sub(replacement, text)
    return text.strip().rstrip(". ")


def _plain(text: str) -> str:
    """The form in which answers are compared as strings."""
    text = re.sub(_TEXT, r"\1", _tidy(text))
    text = _SPACE.sub("", text.strip())
    letter = _LETTER.fullmatch(text)
    if letter:
        return letter[1]
    return text.casefold() if len(text) > 1 and text.isalpha() else text


def _number(text: str) -> _Number | None:
    """The one number that `text` is, with or without a unit; None if it is anything else."""
    text = _tidy(text) if len(text) <= _LONGEST_NUMBER else ""
    units = _UNITS.search(text)
    if units:
        if _NOT_UNITS.search(units[0]):
            return None
        text = text[: units.start()]
    text = _SPACE.sub("", text)
    ratio = _RATIO.fullmatch(text)
    if ratio:
        sign, *digits, percent = ratio.groups()
        top, bottom = (int(part) for part in digits if part is not None)
        if bottom == 0:
            return None
        value, exact = Fraction(top, bottom), True
    else:
        decimal = _DECIMAL.fullmatch(text)
        if decimal is None:
            return None
        sign, whole, places, power, percent = decimal.groups()
        exact = places is None
        value = Fraction(f"{whole.replace(',', '') or '0'}{places or ''}")
        value *= Fraction(10) ** int(power or 0)
    return _Number(-value if sign == "-" else value, percent is not None, exact)


def _as_latex(text: str) -> str:
    """Marked as mathematics, unless it marks its parts itself."""
    text = text.replace(r"\$", "")
    return text if "$" in text else f"${text}$"
