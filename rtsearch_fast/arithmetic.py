r"""Arithmetic in text: its tokens, the values of expressions, and how numbers are written.

Plain and LaTeX notation are understood: ``3 \times 4``, ``\frac{1}{2}``, ``$1,000``, ``20\%``.
"""

# ruff: noqa: RUF001 - mathematical signs are meant
from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

__all__ = [
    "MAX_DIGITS",
    "Stated",
    "Token",
    "evaluate",
    "is_right",
    "read_stated",
    "tokenize",
    "value_of",
    "write",
]

MAX_DIGITS = 40  #: characters of a number in the text
_MAX_DEPTH = 40  # of brackets
_MAX_BITS = 512  # of a numerator or denominator
_MAX_EXPONENT = 64
_EXACT_PLACES = 12  # terminating decimals up to here are written in full
_PLACES = 6  # others are rounded to this many

_TOKEN = re.compile(
    r"""(?P<space>(?:[ \t\xa0&]|\\[,;:!\ ]|\\(?:left|right)(?![A-Za-z]))+)
      | (?P<num>[0-9]{1,3}(?:(?:,|\{,\}|\\,)[0-9]{3})+(?![0-9])(?:\.[0-9]+)?
               |[0-9]+(?:\.[0-9]+)?|\.[0-9]+)
      | (?P<relation>[<>!=:~]=+|=[<>~])
      | (?P<eq>=)
      | (?P<op>\*\*|[-+*/^×·⋅÷−]|\\(?:times|cdot|div)(?![A-Za-z])
              |(?<=[0-9)])(?<!\b0)x(?=[0-9])|(?<=[0-9)]\ )x(?=\ [-.0-9($\\]))
      | (?P<frac>\\[dtc]?frac(?![A-Za-z]))
      | (?P<open>[({])
      | (?P<close>[)}])
      | (?P<currency>\\?[$€£])
      | (?P<percent>\\?%)
      | (?P<other>\\[A-Za-z]+|\\.|[^\W\d_]+|.)""",
    re.VERBOSE | re.DOTALL,
)
_OPERATORS = {"×": "*", "·": "*", "⋅": "*", "x": "*", "\\times": "*", "\\cdot": "*", "÷": "/",
              "\\div": "/", "−": "-", "**": "^"}  # fmt: skip
_RANKS = {"+": 1, "-": 1, "*": 2, "/": 2, "^": 3}


class Token(NamedTuple):
    """A piece of the text from `start` to `end`; operators have their plain sign as `text`."""

    kind: str
    text: str
    start: int
    end: int


class Stated(NamedTuple):
    """A bare number on the right of an equals sign."""

    value: Fraction  # a percent sign not applied
    places: int
    currency: str
    separator: str  # of thousands
    percent: bool
    start: int
    end: int


def tokenize(text: str, start: int, end: int) -> Iterator[Token]:
    """Tokens of ``text[start:end]`` but for white space."""
    for match in _TOKEN.finditer(text, start, end):
        kind = match.lastgroup or "other"
        if kind != "space":
            symbol = _OPERATORS.get(match[0], match[0])
            yield Token(kind, symbol, match.start(), match.end())


def value_of(number: str) -> Fraction:
    """Value of a number token."""
    return Fraction(re.sub(r"[^0-9.]", "", number))


def read_stated(member: Sequence[Token]) -> Stated | None:
    """Read a member that is one number, with its sign, currency and percent sign."""
    percent = bool(member) and member[-1].kind == "percent"
    lead = list(member[: len(member) - percent])
    if not lead or lead[-1].kind != "num":
        return None
    number = lead.pop()
    signs = [token.text for token in lead if token.text == "-"]
    currency = [token.text for token in lead if token.kind == "currency"]
    if len(signs) > 1 or len(currency) > 1 or len(signs) + len(currency) < len(lead):
        return None
    separator = re.search(r"[^0-9.]+", number.text)
    value = value_of(number.text)
    return Stated(
        -value if signs else value,
        len(number.text.partition(".")[2]),
        "".join(currency),
        separator[0] if separator else "",
        percent,
        member[0].start,
        number.end,
    )


def is_right(stated: Stated, value: Fraction, of_percents: bool) -> bool:
    """Whether the value is as stated, or is rounded so (halves up, or to even)."""
    for exact in (value, 100 * value) if stated.percent or of_percents else (value,):
        if stated.value == exact:
            return True
        off = 2 * abs(stated.value - exact) * 10**stated.places
        away = abs(stated.value) > abs(exact)
        half_is_right = away or round(exact, stated.places) == stated.value
        if stated.places and (off < 1 or (off == 1 and half_is_right)):
            return True
    return False


def write(value: Fraction, separator: str) -> str | None:
    """Write a non-negative value as a decimal number; None if that is too long."""
    places = next((p for p in range(_EXACT_PLACES + 1) if 10**p % value.denominator == 0), None)
    exact = places is not None
    if places is None:
        places = _PLACES
        while value * 10 ** (places - _PLACES + 1) < 1 and places < MAX_DIGITS:
            places += 1
    digits = str(round(value * 10**places)).zfill(places + 1)
    whole, decimals = digits[: len(digits) - places], digits[len(digits) - places :]
    if not exact:
        decimals = decimals.rstrip("0") or "0"  # as an integer it would claim to be exact
    if separator:
        whole = f"{int(whole):,}".replace(",", separator)
    written = f"{whole}.{decimals}" if decimals else whole
    return written if len(written) <= MAX_DIGITS else None


def evaluate(expression: Sequence[Token]) -> tuple[Fraction, bool] | None:
    """Exact value of an expression, and whether it is a sum of percents.

    None if it is none, has no operator, is too large, or is read in different ways.
    """
    parser = _Parser(expression)
    try:
        result = parser.expression(1, _MAX_DEPTH)
    except (_UnclearError, ZeroDivisionError):
        return None
    return result if parser.at == len(expression) and parser.operations else None


class _UnclearError(Exception):
    """The tokens are no expression, or too large a one."""


class _Parser:
    """Precedence climbing over the tokens of an expression."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.operations = 0

    def take(self, kind: str, text: str | None = None) -> str | None:
        """Step over the next token if it is of this kind, and return its text."""
        if self.at < len(self.tokens):
            token = self.tokens[self.at]
            if token.kind == kind and text in (None, token.text):
                self.at += 1
                return token.text
        return None

    def expression(self, rank: int, depth: int) -> tuple[Fraction, bool]:
        """Read operators of at least this rank."""
        if depth == 0:
            raise _UnclearError
        left = self.operand(depth)
        while (operator := self.take("op")) is not None:
            own = _RANKS[operator]
            if own < rank:
                self.at -= 1
                break
            right = self.expression(own if operator == "^" else own + 1, depth - 1)
            left = _apply(operator, left, right)
            self.operations += 1
        return left

    def operand(self, depth: int) -> tuple[Fraction, bool]:
        if self.take("op", "-"):
            value, percent = self.expression(_RANKS["^"], depth - 1)
            return -value, percent
        while self.take("currency"):
            pass
        if (digits := self.take("num")) is not None:
            if re.match(r"0[0-9]", digits):
                raise _UnclearError  # a code, a date, a time
            percent = self.take("percent") is not None
            value = value_of(digits)
            return (value / 100 if percent else value), percent
        if self.take("frac"):
            over, under = self.group("{", depth), self.group("{", depth)
            self.operations += 1
            return _apply("/", over, under)
        return self.group(None, depth)

    def group(self, bracket: str | None, depth: int) -> tuple[Fraction, bool]:
        if self.take("open", bracket) is None:
            raise _UnclearError
        inner = self.expression(1, depth - 1)
        if self.take("close") is None:
            raise _UnclearError
        return inner


def _apply(
    operator: str, left: tuple[Fraction, bool], right: tuple[Fraction, bool]
) -> tuple[Fraction, bool]:
    (a, a_percent), (b, b_percent) = left, right
    if operator in "+-":
        if a_percent != b_percent:
            raise _UnclearError  # 100 - 20 % is 80 to some
        value = a + b if operator == "+" else a - b
    elif operator == "*":
        value = a * b
    elif operator == "/":
        value = a / b
    else:
        bits = max(a.numerator.bit_length(), a.denominator.bit_length())
        if b.denominator != 1 or abs(b) > _MAX_EXPONENT or abs(b) * bits > _MAX_BITS:
            raise _UnclearError
        if a == 0 and b <= 0:
            raise _UnclearError
        value = Fraction(a ** int(b))
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > _MAX_BITS:
        raise _UnclearError
    return value, operator in "+-" and a_percent
