r"""A calculator that puts wrong arithmetic in a step right: ``3 + 4 = 8`` becomes ``3 + 4 = 7``.

Text is cut into tokens once. Each run of arithmetic tokens that stands by itself is read as a
chain ``expression = number = ...``, and a number that differs from the expression before it is
replaced. A chain may run on, as in ``3 + 4 = 7 + 2 = 9``, so an expression on the right is neither
judged nor changed.

A calculator must not make a right step wrong. What this one does not understand for certain it
leaves alone: variables, units between operands, functions, factorials, other bases, remainders,
ranges, dates, percent signs whose meaning is open.
"""

# ruff: noqa: RUF001 - mathematical signs are meant
from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

__all__ = ["correct"]

_MAX_DEPTH = 40  # of brackets
_MAX_BITS = 512  # of a numerator or denominator
_MAX_DIGITS = 40  # characters of a number in the text
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

# --- what surrounds a chain ---------------------------------------------------------------

# In these texts figures and equals signs have another meaning throughout,
_FOREIGN = re.compile(
    r"mod(?:ul[ou]s?)?\b|≡|\\equiv|congruent|binary|octal|hexadecimal"
    r"|\bbase[- ](?:\d|two|three|four|five|six|seven|eight|nine|ten|twelve|sixteen)",
    re.IGNORECASE,
)
# and in these lines they need not be exact, or are quoted as wrong.
_LOOSE = re.compile(
    r"remainder|\brem\b|round|floor|ceil|truncat|approx|roughly|integer division"
    r"|incorrect|wrong|false|mistake|error|not equal",
    re.IGNORECASE,
)
# After these words a number is an operand, an argument or a label.
_OPERAND_FOLLOWS = re.compile(
    r"""(?ix)\b(?:times|plus|minus|by|over|than|from|to|squared|cubed|root|power|half|twice|double
    |triple|thrice|negative|log|ln|sqrt|a?(?:sin|cos|tan)|gcd|lcm|max|min|floor|ceil|abs|exp|choose
    |factorial|of\s+\S+\s+and|(?<!total\ )(?<!sum\ )(?<!amount\ )(?<!cost\ )of
    |step|case|part|question|problem|example|equation|eq|option|method|day|week|page|chapter|number
    |no|figure|line|row|level|grade|item|section)\Z"""
)
_COMMANDS = r"\\(?:q?quad|implies|[Rr]ightarrow|to|therefore|because|checkmark|left|right|end)"
_OPENING = re.compile(  # what may stand before a chain, white space aside
    rf"""(?x)(?:[^\W\d_][^\W\d_]|{_COMMANDS}|[\n;?!\[({{<>→⇒∴•—≈≤≥✓"“‘`]|\\[\[(]|\\\\
    |(?<![\d\s])[.,:]|(?<!\w)'|\n[ \t]*\(?\w{{1,2}}\))\Z"""
)
_OPENING_SPACED = re.compile(r"(?:[.,|]|\S:)\Z")  # allowed with white space between
_UNFINISHED = re.compile(  # an expression that goes on in the next line
    r"[\w)}%][ \t]*(?:[-+*/^×·⋅÷−]|\\times|\\cdot|\\div)[ \t]*(?:\\\\)?\s*\Z"
)
_SCALE = (
    r"(?:times|plus|minus|divided|multiplied|over|squared|cubed|choose|factorial|dozens?|hundreds?"
    r"|thousands?|[mbtr]+illions?|percent|cents?|pi|sqrt|hal(?:f|ves)|thirds?|quarters?|fifths?"
    r"|tenths?|hundredths?)\b"
)
_END = rf"""(?:\Z|\r?\n(?!\s*(?:[+×·⋅÷/^]|\\times|\\cdot|\\div))|[;)\]}}>|"'”’`$—]
    |[.,:](?![0-9.]|\\[A-Za-z])|\\\\|\\[)\]$]
    |{_COMMANDS}(?![A-Za-z])|\\(?:text(?:bf|rm)?|mathrm|mbox)\{{(?!\s*{_SCALE}))"""
_CLOSING = re.compile(  # what may stand after the last number of a chain
    rf"""(?xi){_END}|°|\*\*(?![\w(])|(?:[ \t\xa0&]|\\[,;:!\ ])+(?:{_END}|[(\[<–→⇒✓✔✅#]
    |(?!{_SCALE}|and\s+(?:a|one|two|three|[0-9]+/[0-9]+)\b)[^\W\d_]{{2,}})"""
)
_RANGE_OR_DATE = re.compile(
    r"([0-9]+)-([0-9]+)|[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}|[0-9]{4}-[0-9]{2}-[0-9]{2}"
)


class _Token(NamedTuple):
    kind: str
    text: str
    start: int
    end: int


class _Stated(NamedTuple):
    """A bare number on the right of an equals sign."""

    value: Fraction  # a percent sign not applied
    places: int
    currency: str
    separator: str  # of thousands
    percent: bool
    start: int
    end: int


class _UnclearError(Exception):
    """The tokens are no expression, or too large a one."""


def correct(text: str) -> tuple[str, int]:
    r"""Correct the arithmetic of one step.

    A number on the right counts as right if it is exact, or a rounding of the exact value to its
    own decimals: ``10/3 = 3.33`` is right, ``7/2 = 3`` is not. Values whose decimals do not end
    within 12 places are written with 6 decimals (below 1: six significant ones). The time is
    linear in the length of `text`.

    Parameters
    ----------
    text : str

    Returns
    -------
    text : str
        The same but for wrong right-hand sides.
    corrections : int
        How many were replaced.

    Examples
    --------
    >>> correct("She sells 16 - 3 - 4 = 8 eggs for 9 \\times 2 = \\$19.")
    ('She sells 16 - 3 - 4 = 9 eggs for 9 \\times 2 = \\$18.', 2)
    >>> correct("2x + 3 = 7, so 2x = 7 - 3 = 4")
    ('2x + 3 = 7, so 2x = 7 - 3 = 4', 0)
    """
    if "=" not in text or _FOREIGN.search(text):
        return text, 0
    pieces: list[str] = []
    corrections = done = 0
    start = 0
    for line in text.splitlines(keepends=True):
        end = start + len(line)
        if "=" in line and not _LOOSE.search(line):
            for chain in _chains(text, start, end):
                for first, last, replacement in _corrections(text, chain):
                    pieces += text[done:first], replacement
                    done = last
                    corrections += 1
        start = end
    return "".join([*pieces, text[done:]]), corrections


def _chains(text: str, start: int, end: int) -> Iterator[list[_Token]]:
    """Runs of arithmetic tokens that have an equals sign outside brackets."""
    run: list[_Token] = []
    for match in _TOKEN.finditer(text, start, end):
        kind = match.lastgroup or "other"
        closes = kind == "currency" and run and run[-1].kind in ("num", "close", "percent")
        too_long = kind == "num" and match.end() - match.start() > _MAX_DIGITS
        if closes or too_long or kind in ("relation", "other"):
            yield from _split_at_brackets(run)
            run = []
        elif kind != "space":
            symbol = _OPERATORS.get(match[0], match[0])
            run.append(_Token(kind, symbol, match.start(), match.end()))
    yield from _split_at_brackets(run)


def _split_at_brackets(run: list[_Token]) -> Iterator[list[_Token]]:
    """Split at brackets that have no partner, or an equals sign inside."""
    if all(token.kind != "eq" for token in run):
        return
    walls: set[int] = set()
    pending: list[int] = []
    for i, token in enumerate(run):
        if token.kind == "open":
            pending.append(i)
        elif token.kind == "close":
            if pending and run[pending[-1]].text + token.text in ("()", "{}"):
                pending.pop()
            else:
                walls.add(i)
        elif token.kind == "eq":
            walls.update(pending)
            pending.clear()
    begin = 0
    for wall in (*sorted(walls.union(pending)), len(run)):
        if any(token.kind == "eq" for token in run[begin:wall]):
            yield run[begin:wall]
        begin = wall + 1


def _corrections(text: str, chain: list[_Token]) -> Iterator[tuple[int, int, str]]:
    """Replacements ``(start, end, new text)`` in a chain, from left to right."""
    begin = chain[0].start
    if chain[0].kind == "op" and _is_markup(text, chain):
        chain = chain[1:]
    if chain[-1].text == "^" and chain[-1].end - chain[-1].start == 2:
        chain = chain[:-1]  # the end of bold text
    members: list[list[_Token]] = [[]]
    for token in chain:
        if token.kind == "eq":
            members.append([])
        else:
            members[-1].append(token)
    if members[0] and not _stands_alone(text, begin, chain):
        members[0] = []
    value: tuple[Fraction, bool] | None = None
    for number, member in enumerate(members):
        stated = _read_stated(text, member)
        if stated is None:
            value = _evaluate(text, member)
            continue
        is_end = number == len(members) - 1
        if value is None or (is_end and not _CLOSING.match(text, member[-1].end)):
            continue
        if _is_right(stated, *value):
            continue
        digits = _write(abs(value[0]), stated.separator)
        if digits is None or value[1] or stated.percent:  # 0.9 or 90 %? Leave that open
            continue
        new = ("-" if value[0] < 0 else "") + stated.currency + digits
        old = text[stated.start : stated.end]
        # GSM8K's <<3+4=8>>8 says it twice
        echo = stated.end + 2
        if text.startswith(">>" + old, stated.end) and _CLOSING.match(text, echo + len(old)):
            yield stated.start, echo + len(old), f"{new}>>{new}"
        else:
            yield stated.start, stated.end, new


def _is_markup(text: str, chain: Sequence[_Token]) -> bool:
    """Whether the first token is a list's bullet, or opens or closes bold text."""
    first, adjacent = chain[0], chain[0].end == chain[1].start
    before = "\n" + text[max(0, first.start - 200) : first.start]
    if first.end - first.start == 2:
        opens, closes = r"[\s:;,.(]\Z", r"[:.]\Z"
        return bool(re.search(opens if adjacent else closes, before))
    if adjacent or text[first.start] not in "-*" or not re.search(r"\n[ \t]*\Z", before):
        return False
    # the line above must not be the first half of a broken formula
    above = before.rstrip(" \t")[:-1].rpartition("\n")[2].strip()
    return above.startswith(text[first.start]) or not re.search(r"[\w)}%$]\Z", above)


def _stands_alone(text: str, start: int, chain: Sequence[_Token]) -> bool:
    """Whether an expression begins at `start`, instead of going on there."""
    before = "\n" * (start < 60) + text[max(0, start - 60) : start].removesuffix("\\left")
    head = before.rstrip(" \t\xa0&")
    spaced = len(head) < len(before) or text.startswith("**", start)
    first = chain[0]
    if first.text == "-":
        return first.end == chain[1].start and head.endswith(("\n", ":", ",", ";", "(", "[", "{"))
    if first.kind not in ("num", "open", "frac", "currency") or _UNFINISHED.search(head):
        return False
    if head[-1:].isalpha() and (not spaced or _OPERAND_FOLLOWS.search(head)):
        return False
    command = re.search(r"\\[A-Za-z]+\Z", head)
    if command and not re.fullmatch(_COMMANDS, command[0]):
        return False
    return bool(_OPENING.search(head) or (spaced and _OPENING_SPACED.search(head)))


def _read_stated(text: str, member: Sequence[_Token]) -> _Stated | None:
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
    value = _number(number.text)
    return _Stated(
        -value if signs else value,
        len(number.text.partition(".")[2]),
        "".join(currency),
        separator[0] if separator else "",
        percent,
        member[0].start,
        number.end,
    )


def _is_right(stated: _Stated, value: Fraction, of_percents: bool) -> bool:
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


def _write(value: Fraction, separator: str) -> str | None:
    """Write a non-negative value as a decimal number; None if that is too long."""
    places = next((p for p in range(_EXACT_PLACES + 1) if 10**p % value.denominator == 0), None)
    exact = places is not None
    if places is None:
        places = _PLACES
        while value * 10 ** (places - _PLACES + 1) < 1 and places < _MAX_DIGITS:
            places += 1
    digits = str(round(value * 10**places)).zfill(places + 1)
    whole, decimals = digits[: len(digits) - places], digits[len(digits) - places :]
    if not exact:
        decimals = decimals.rstrip("0") or "0"  # as an integer it would claim to be exact
    if separator:
        whole = f"{int(whole):,}".replace(",", separator)
    written = f"{whole}.{decimals}" if decimals else whole
    return written if len(written) <= _MAX_DIGITS else None


def _number(text: str) -> Fraction:
    return Fraction(re.sub(r"[^0-9.]", "", text))


# --- expressions ----------------------------------------------------------------------------


def _evaluate(text: str, member: list[_Token]) -> tuple[Fraction, bool] | None:
    """Exact value of an expression, and whether it is a sum of percents; None if it is unclear."""
    if len(member) < 3:
        return None
    compact = _RANGE_OR_DATE.fullmatch(text, member[0].start, member[-1].end)
    if compact and not (compact[1] and _number(compact[1]) >= _number(compact[2])):
        return None
    parser = _Parser(member)
    try:
        result = parser.expression(1, _MAX_DEPTH)
    except (_UnclearError, ZeroDivisionError):
        return None
    return result if parser.at == len(member) and parser.operations else None


class _Parser:
    """Precedence climbing over a member's tokens."""

    def __init__(self, tokens: list[_Token]) -> None:
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
            value = _number(digits)
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
