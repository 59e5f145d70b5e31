r"""A calculator that puts wrong arithmetic in a step right: ``3 + 4 = 8`` becomes ``3 + 4 = 7``.

Text is cut into tokens once. Each run of arithmetic tokens that stands by itself is read as a
chain ``expression = number = ...``, and a number that differs from the expression before it is
replaced. A chain may run on, as in ``3 + 4 = 7 + 2 = 9``, so an expression on the right is neither
judged nor changed.

A calculator must not make a right step wrong. What this one does not understand for certain it
leaves alone: variables, units between operands, functions, factorials, other bases, remainders,
ranges, dates, percent signs whose meaning is open, conversions of units.
"""

# ruff: noqa: RUF001 - mathematical signs are meant
from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction

from .arithmetic import (
    MAX_DIGITS,
    Stated,
    Token,
    evaluate,
    is_right,
    read_stated,
    tokenize,
    value_of,
    write,
)

__all__ = ["correct"]


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
_UNIT = re.compile(  # of a number before it
    r"""(?xi)(?:>>[0-9.,]+)?(?:[ \t\xa0$&]|\\[,;:!\ ]|\\(?:text|mathrm|mbox)\{)*(?:
    (?P<time>secs?|seconds?|mins?|minutes?|h|hrs?|hours?|days?|weeks?|months?|years?)
    |(?P<money>dollars?|euros?|pounds?|bucks?)
    |(?P<size>mm|cm|m|km|(?:milli|centi|kilo)?met(?:er|re)s?|inch(?:es)?|f(?:oo|ee)t|yards?|miles?
    |m?g|kg|(?:milli|kilo)?grams?|ounces?|oz|lbs?|m?l|(?:milli)?lit(?:er|re)s?|cups?|pints?|quarts?
    |gallons?))(?![^\W_])"""
)
_FACTORS = {
    "time": {4, 7, 12, 24, 30, 52, 60, 365, 1440, 3600},
    "money": {100},
    "size": {3, 4, 12, 16, 36, 100, 1000, 1760, 5280},
}


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


def _chains(text: str, start: int, end: int) -> Iterator[list[Token]]:
    """Runs of arithmetic tokens that have an equals sign outside brackets."""
    run: list[Token] = []
    for token in tokenize(text, start, end):
        closes = token.kind == "currency" and run and run[-1].kind in ("num", "close", "percent")
        too_long = token.kind == "num" and token.end - token.start > MAX_DIGITS
        if closes or too_long or token.kind in ("relation", "other"):
            yield from _split_at_brackets(run)
            run = []
        else:
            run.append(token)
    yield from _split_at_brackets(run)


def _split_at_brackets(run: list[Token]) -> Iterator[list[Token]]:
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


def _corrections(text: str, chain: list[Token]) -> Iterator[tuple[int, int, str]]:
    """Replacements ``(start, end, new text)`` in a chain, from left to right."""
    begin = chain[0].start
    markup: list[Token] = []
    if chain[0].kind == "op" and _is_markup(text, chain):
        markup, chain = chain[:1], chain[1:]
    if chain[-1].text == "^" and chain[-1].end - chain[-1].start == 2:
        chain = chain[:-1]  # the end of bold text
    members: list[list[Token]] = [[]]
    for token in chain:
        if token.kind == "eq":
            members.append([])
        else:
            members[-1].append(token)
    if members[0] and not _stands_alone(text, begin, chain):
        members[0] = []
    value: tuple[Fraction, bool] | None = None
    other: tuple[Fraction, bool] | None = None  # the value with a bullet read as a minus sign
    for number, member in enumerate(members):
        stated = read_stated(member)
        if stated is None:
            value = _evaluate(text, member)
            other = _evaluate(text, markup + member) if markup and number == 0 else None
            continue
        is_end = number == len(members) - 1
        if value is None or (is_end and not _CLOSING.match(text, member[-1].end)):
            continue
        if is_right(stated, *value) or (other is not None and is_right(stated, *other)):
            continue
        if _is_converted(text, stated, value[0]):
            continue
        digits = write(abs(value[0]), stated.separator)
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


def _evaluate(text: str, member: Sequence[Token]) -> tuple[Fraction, bool] | None:
    """Value of an expression that is not a range or a date; see `evaluate`."""
    if not member:
        return None
    compact = _RANGE_OR_DATE.fullmatch(text, member[0].start, member[-1].end)
    if compact and not (compact[1] and value_of(compact[1]) >= value_of(compact[2])):
        return None
    return evaluate(member)


def _is_markup(text: str, chain: Sequence[Token]) -> bool:
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


def _stands_alone(text: str, start: int, chain: Sequence[Token]) -> bool:
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


def _is_converted(text: str, stated: Stated, value: Fraction) -> bool:
    """Whether the number may be the value in another unit, as in ``3/4 = 45 minutes``."""
    unit = _UNIT.match(text, stated.end)
    kind = unit.lastgroup if unit else "money" if stated.currency else None
    if kind is None or not value or not stated.value:
        return False
    ratio = stated.value / value
    return max(ratio, 1 / ratio) in _FACTORS[kind]
