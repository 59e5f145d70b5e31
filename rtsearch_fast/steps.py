r"""Where one step of a solution ends, when a solution is finished, and what its answer is.

The labelled format has one header per step, each on a line of its own::

    ## Analysis
    ...

    ## Step 1: title
    ...

    ## Answer
    \boxed{7}
"""

# ruff: noqa: RUF001 - mathematical signs are meant
from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Protocol

from .errors import InvalidArgumentError

__all__ = [
    "LabelledSplitter",
    "RegexSplitter",
    "Splitter",
    "StringSplitter",
    "ThinkSplitter",
    "TokenSplitter",
    "answer_key",
    "final_answer",
    "make_splitter",
]


class Splitter(Protocol):
    """How solutions are cut into steps; ``"".join(steps)`` is always the text itself."""

    @property
    def name(self) -> str:
        """The specification that `make_splitter` turns into this splitter."""

    @property
    def stop(self) -> tuple[str, ...]:
        """Stop strings for the engine that end one step."""

    @property
    def max_tokens(self) -> int | None:
        """Most tokens of one step, or None where the text decides."""

    def close(self, text: str, finish_reason: str, before: str = "") -> str:
        """Turn what the model generated into a step.

        Parameters
        ----------
        text : str
            The generated text, without the stop string.
        finish_reason : {"stop", "eos", "length"}
        before : str
            The end of the solution so far (the last step is enough): white space is stripped from
            the front of `text` only where a separator, or nothing, comes before it.

        Returns
        -------
        str
            The step as it is appended to the solution, separator included, so that the model can
            go on from there. "" if nothing was written: drop such a sample.
        """

    def split(self, text: str) -> list[str]:
        """Cut a whole solution; no step is blank unless the whole text is."""

    def is_final(self, steps: Sequence[str], finish_reason: str) -> bool:
        """Tell whether the solution is finished after its last step."""


def _cut(text: str, ends: Iterable[int]) -> list[str]:
    """Cut `text` after each of `ends`; a blank piece stays with the piece before it."""
    pieces: list[str] = []
    start = 0
    for end in (*ends, len(text)):
        piece = text[start:end]
        if piece.strip():
            pieces.append(piece)
        elif pieces:
            pieces[-1] += piece
        else:
            continue  # blank at the very front: the first piece takes it
        start = end
    return pieces or ([text] if text else [])


def _close(text: str, finish_reason: str, before: str, separator: str) -> str:
    """End a step with `separator`, unless the text breaks off or the solution is over."""
    fresh = not before or before.endswith(("\n", separator))
    body = text.lstrip("\n") if fresh else text
    if finish_reason != "stop":
        return body  # the next step goes on in mid-sentence, or there is none
    body = body.rstrip()
    return body + separator if body or not fresh else ""


@dataclass(frozen=True)
class LabelledSplitter:
    r"""One step per ``## `` header. The default, and usable with models that forget the headers.

    A step that reaches the token limit is kept verbatim, and the next one goes on in mid-sentence.
    Where an engine ignores stop strings, `close` keeps all that was written and `split` cuts it.

    Examples
    --------
    >>> LabelledSplitter().close("## Step 1: add\n3 + 4 = 7\n", "stop")
    '## Step 1: add\n3 + 4 = 7\n\n'
    >>> LabelledSplitter().split("## Step 1: add\n7\n\n## Answer\n\\boxed{7}")
    ['## Step 1: add\n7\n\n', '## Answer\n\\boxed{7}']
    """

    name = "labelled"
    stop = ("\n## ",)
    max_tokens = None

    def close(self, text: str, finish_reason: str, before: str = "") -> str:
        return _close(text, finish_reason, before, "\n\n")

    def split(self, text: str) -> list[str]:
        return _cut(text, (match.start() for match in re.finditer(r"^## ", text, re.MULTILINE)))

    def is_final(self, steps: Sequence[str], finish_reason: str) -> bool:
        text = "".join(steps)
        if finish_reason == "eos" or _last_box(text) is not None:
            return True
        # an answer section that was cut off may still get its box
        last_section = text[text.rfind("\n## ") + 1 :]
        return finish_reason != "length" and last_section.startswith("## Answer")


@dataclass(frozen=True)
class StringSplitter:
    r"""One step ends with each `sep`.

    Examples
    --------
    >>> StringSplitter("\n").split("a\nb\n\nc")
    ['a\n', 'b\n\n', 'c']
    """

    sep: str = "\n\n"
    max_tokens = None

    def __post_init__(self) -> None:
        if not self.sep:
            raise InvalidArgumentError("sep='': the separator must not be empty")

    @property
    def name(self) -> str:
        return f"string:{_escape(self.sep)}"

    @property
    def stop(self) -> tuple[str, ...]:
        return (self.sep,)

    def close(self, text: str, finish_reason: str, before: str = "") -> str:
        return _close(text, finish_reason, before, self.sep)

    def split(self, text: str) -> list[str]:
        return _cut(text, (match.end() for match in re.finditer(re.escape(self.sep), text)))

    def is_final(self, steps: Sequence[str], finish_reason: str) -> bool:
        return finish_reason == "eos" or _last_box("".join(steps)) is not None


@dataclass(frozen=True)
class RegexSplitter:
    r"""One step ends with each match of `pattern`.

    No stop string stands for a pattern: the engine generates up to its token limit, `close` cuts
    at the first match, and what was generated after it is thrown away (and paid for). The pattern
    must match the separator itself, without looking ahead: a step that ends with a match counts as
    cut, even if the model ended its whole text somewhere behind.

    Examples
    --------
    >>> RegexSplitter(r"(?<=\.)\s+").close("Add. Then halve.", "eos")
    'Add. '
    """

    pattern: str
    stop = ()
    max_tokens = None

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise InvalidArgumentError(f"pattern={self.pattern!r}: {error}") from error
        if not self.pattern:
            raise InvalidArgumentError("pattern='': the pattern must not be empty")

    @property
    def name(self) -> str:
        return f"regex:{self.pattern}"

    def close(self, text: str, finish_reason: str, before: str = "") -> str:
        body = _close(text, "length", before, "\n")
        pieces = self.split(body)
        if len(pieces) > 1:
            return pieces[0]
        # white space at the very end of a solution must not look like a cut
        return body.rstrip() if finish_reason == "eos" else body

    def split(self, text: str) -> list[str]:
        return _cut(text, self._ends(text))

    def is_final(self, steps: Sequence[str], finish_reason: str) -> bool:
        if _last_box("".join(steps)) is not None:
            return True
        last = steps[-1] if steps else ""
        return finish_reason == "eos" and len(last) not in self._ends(last)

    def _ends(self, text: str) -> list[int]:
        return [match.end() for match in re.finditer(self.pattern, text) if match.end()]


@dataclass(frozen=True)
class TokenSplitter:
    """One step is `max_tokens` tokens; a finished text, whose tokens are unknown, is not cut.

    Examples
    --------
    >>> TokenSplitter(64).split("one step")
    ['one step']
    """

    max_tokens: int
    stop = ()

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise InvalidArgumentError(f"max_tokens={self.max_tokens}: must be at least 1")

    @property
    def name(self) -> str:
        return f"tokens:{self.max_tokens}"

    def close(self, text: str, finish_reason: str, before: str = "") -> str:
        return text

    def split(self, text: str) -> list[str]:
        return [text] if text else []

    def is_final(self, steps: Sequence[str], finish_reason: str) -> bool:
        return finish_reason == "eos" or _last_box("".join(steps)) is not None


@dataclass(frozen=True)
class ThinkSplitter:
    r"""Thoughts end with each `sep`; what follows ``</think>`` is one final step.

    The opening tag may be in the prompt. While a model writes, stop strings cut its final part at
    `sep` too; boxes count as an answer only there.

    Examples
    --------
    >>> ThinkSplitter().split("<think>a\n\nb\n</think>\n\nSo:\n\n\\boxed{7}")
    ['<think>a\n\n', 'b\n</think>\n\n', 'So:\n\n\\boxed{7}']
    """

    sep: str = "\n\n"
    max_tokens = None

    def __post_init__(self) -> None:
        StringSplitter(self.sep)

    @property
    def name(self) -> str:
        return "think" if self.sep == "\n\n" else f"think:{_escape(self.sep)}"

    @property
    def stop(self) -> tuple[str, ...]:
        return (self.sep,)

    def close(self, text: str, finish_reason: str, before: str = "") -> str:
        return _close(text, finish_reason, before, self.sep)

    def split(self, text: str) -> list[str]:
        thought_end = re.search(r"</think>\s*", text)
        thoughts = text[: thought_end.start()] if thought_end else text
        ends = [match.end() for match in re.finditer(re.escape(self.sep), thoughts)]
        return _cut(text, [*ends, thought_end.end()] if thought_end else ends)

    def is_final(self, steps: Sequence[str], finish_reason: str) -> bool:
        _, _, final = "".join(steps).partition("</think>")
        return finish_reason == "eos" or _last_box(final) is not None


_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def _escape(text: str) -> str:
    return "".join(_ESCAPES.get(char, char) for char in text)


def _unescape(text: str) -> str:
    plain = {escaped: char for char, escaped in _ESCAPES.items()}
    return re.sub(r"\\.", lambda match: plain.get(match[0], match[0]), text)


def make_splitter(spec: str) -> Splitter:
    r"""Build a splitter from its name.

    Parameters
    ----------
    spec : str
        "labelled", "string:SEP" (``\n`` and ``\t`` stand for line end and tab), "regex:PATTERN",
        "tokens:N", "think" or "think:SEP".

    Raises
    ------
    InvalidArgumentError
        If `spec` is none of these.

    Examples
    --------
    >>> make_splitter("tokens:64")
    TokenSplitter(max_tokens=64)
    """
    kind, colon, value = spec.partition(":")
    try:
        if kind == "labelled" and not colon:
            return LabelledSplitter()
        if kind == "string" and colon:
            return StringSplitter(_unescape(value))
        if kind == "regex" and colon:
            return RegexSplitter(value)
        if kind == "tokens" and value.isdecimal():
            return TokenSplitter(int(value))
        if kind == "think":
            return ThinkSplitter(_unescape(value)) if colon else ThinkSplitter()
    except ValueError as error:
        reason = f" ({error})"
    else:
        reason = ""
    raise InvalidArgumentError(
        f"splitter {spec!r}{reason}: choose labelled, string:SEP, regex:PATTERN, tokens:N, think "
        "or think:SEP"
    )


_BOX_TOKEN = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_BARE_BOX = re.compile(r"\\(?:boxed|fbox)\s+([^\s\\{}$]+)")


def _last_box(text: str) -> str | None:
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
    box = _last_box(text)
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
