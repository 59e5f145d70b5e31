r"""What the answer of a solution is, and which answers are the same."""

# ruff: noqa: RUF001 - mathematical signs are meant
from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

__all__ = ["answer_key", "final_answer", "last_box"]

_BOX_TOKEN = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_BARE_BOX = re.compile(r"\\(?:boxed|fbox)\s+([^\s\\{}$]+)")


def last_box(text: str) -> str | None:
    """Content of the last balanced, non-blank box; where boxes are nested, of the inner one."""
    if "\\boxed" not in text and "\\fbox" not in text:
        return None
    last: tuple[int, int] | None = None
    open_groups: list[tuple[bool, int]] = []
    for token in _BOX_TOKEN.finditer(text):
        if token[0] == "}":
            is_box, start = open_groups.pop() if open_groups else (False, 0)
            later = last is None or start > last[0]
            if is_box and later and not text[start : token.start()].isspace():
                last = (start, token.start()) if token.start() > start else last
        elif token[0][-1] == "{" and token[0] != "\\{":
            open_groups.append((token[0] != "{", token.end()))
    return text[slice(*last)].strip() if last else None


def final_answer(text: str) -> str | None:
    r"""Content of the last balanced ``\boxed{...}`` or ``\fbox{...}``, None if there is none.

    ``\boxed 7``, without braces, counts where no box has braces. The time is linear.

    Examples
    --------
    >>> final_answer(r"so \boxed{\frac{1}{2}}.")
    '\\frac{1}{2}'
    """
    box = last_box(text)
    if box is None and (bare := _BARE_BOX.findall(text)):
        return bare[-1].rstrip(".,;") or None
    return box


_TIDY = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\(?:left|right|displaystyle)(?![A-Za-z])|\\[!,()\[\]]|\\?\$", ""),
        (r"\\[;: ]|\\q?quad(?![A-Za-z])|~|\s+", " "),
        (r"\\(?:text|textbf|textrm|mathrm|mathbf|mbox)\s*\{([^{}]*)\}", r"\1"),
        (r"\\[dtc]frac", r"\\frac"),
        (r"\\frac ?(\d)", r"\\frac{\1}"),
        (r"(\\frac\{\d\}) ?(\d)", r"\1{\2}"),
        (r"\{,\}", ","),
        (r"[−–]", "-"),
        (r"^ ?[A-Za-z]\w? ?=(?!.*=)", ""),  # "x = 5" votes for 5
        (r" +", " "),
    )
]
_LATEX_RATIO = re.compile(r"\\frac\{ ?(-?\d+) ?\}\{ ?(-?\d+) ?\}")
_NUMBER = re.compile(
    r"""(?P<sign>[-+]?)\ ?(?:
        (?:(?P<mixed>\d+)\ )?(?P<top>\d+)\ ?/\ ?(?P<bottom>\d+)
      | (?=\.?\d)(?P<whole>\d{1,3}(?:,\d{3})+|\d*)(?P<places>\.\d*)?
        (?:(?:[eE]|\ ?(?:\\times|\\cdot|[*×x])\ ?10\^)\{?(?P<power>[-+]?\d{1,3})\}?)?
    )\ ?(?:\\?%|percent|dollars?|USD|units?|degrees?|°|\^\{?\ ?\\circ\ ?\}?)?""",
    re.VERBOSE,
)
_LONGEST_NUMBER = 200  # characters; longer ones vote as strings


@lru_cache(maxsize=1 << 14)  # a search asks again after every simulation
def answer_key(answer: str) -> str:
    r"""Normalise an answer so that equal answers vote together.

    Plain numbers become reduced fractions, whatever their notation; a percent sign, a degree sign,
    "dollars" or "units" after a number is dropped, other units are kept. All else stays a string,
    without what changes only its looks.

    Examples
    --------
    >>> [answer_key(a) for a in (r"\dfrac{1}{2}", "0.50", "$1,000$ dollars", r"\text{East}")]
    ['1/2', '1/2', '1000', 'east']
    """
    text = answer
    for pattern, replacement in _TIDY:
        text = pattern.sub(replacement, text)
    text = text.strip()
    if text.endswith(".") and not text.endswith(".."):
        text = text[:-1].rstrip()
    value = _value(text) if len(text) <= _LONGEST_NUMBER else None
    if value is not None:
        return str(value)
    text = re.sub(r"(?<!\w) | (?!\w)", "", text)
    if re.fullmatch(r"\([A-Z]\)", text):  # a choice
        return text[1]
    words = text.replace(" ", "")
    return text.casefold() if len(words) > 2 and words.isalpha() else text


def _value(text: str) -> Fraction | None:
    """The number that `text` is, None if it is anything else."""
    ratio = _LATEX_RATIO.search(text)
    if ratio:
        top, bottom = int(ratio[1]), int(ratio[2])
        sign = "-" if top * bottom < 0 else ""
        before = text[: ratio.start()].rstrip()
        if before and sign:
            return None
        text = f"{before} {sign}{abs(top)}/{abs(bottom)}{text[ratio.end() :]}".strip()
    number = _NUMBER.fullmatch(text)
    if number is None:
        return None
    if number["bottom"] is not None:
        if int(number["bottom"]) == 0:
            return None
        value = int(number["mixed"] or 0) + Fraction(int(number["top"]), int(number["bottom"]))
    else:
        value = Fraction(f"{number['whole'].replace(',', '') or 0}{number['places'] or ''}")
        value *= Fraction(10) ** int(number["power"] or 0)
    return -value if number["sign"] == "-" else value
