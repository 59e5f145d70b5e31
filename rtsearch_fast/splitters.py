r"""The ways to cut a solution into steps.

The labelled format has one header per step, each on a line of its own::

    ## Analysis
    ...

    ## Step 1: title
    ...

    ## Answer
    \boxed{7}
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .answers import last_box
from .errors import InvalidArgumentError

__all__ = [
    "LabelledSplitter",
    "RegexSplitter",
    "StringSplitter",
    "ThinkSplitter",
    "TokenSplitter",
    "escape",
    "unescape",
]


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
    r"""One step per ``##`` header. The default, and usable with models that forget the headers.

    The model is given the ``##`` of every step. So a step that reaches the token limit ends there:
    the next one has a header of its own. Where an engine ignores stop strings, `close` keeps all
    that was written and `split` cuts it.

    Examples
    --------
    >>> LabelledSplitter().close("## Step 1: add\n3 + 4 = 7\n", "stop")
    '## Step 1: add\n3 + 4 = 7\n\n'
    >>> LabelledSplitter().split("## Step 1: add\n7\n\n## Answer\n\\boxed{7}")
    ['## Step 1: add\n7\n\n', '## Answer\n\\boxed{7}']
    """

    name = "labelled"
    lead = "##"
    stop = ("\n##",)
    max_tokens = None

    def close(self, text: str, finish_reason: str, before: str = "") -> str:
        body = text.strip()
        if not body.strip("#"):
            return ""
        return body if finish_reason == "eos" else body + "\n\n"

    def split(self, text: str) -> list[str]:
        return _cut(text, (match.start() for match in re.finditer("^##", text, re.MULTILINE)))

    def is_final(self, steps: Sequence[str], finish_reason: str) -> bool:
        text = "".join(steps)
        # an answer section without a box gets none later: the next step has a header of its own
        last_section = text[text.rfind("\n##") + 1 :]
        return (
            finish_reason == "eos"
            or last_section.startswith("## Answer")
            or last_box(text) is not None
        )


@dataclass(frozen=True)
class StringSplitter:
    r"""One step ends with each `sep`.

    Examples
    --------
    >>> StringSplitter("\n").split("a\nb\n\nc")
    ['a\n', 'b\n\n', 'c']
    """

    sep: str = "\n\n"
    lead = ""
    max_tokens = None

    def __post_init__(self) -> None:
        if not self.sep:
            raise InvalidArgumentError("sep='': the separator must not be empty")

    @property
    def name(self) -> str:
        return f"string:{escape(self.sep)}"

    @property
    def stop(self) -> tuple[str, ...]:
        return (self.sep,)

    def close(self, text: str, finish_reason: str, before: str = "") -> str:
        return _close(text, finish_reason, before, self.sep)

    def split(self, text: str) -> list[str]:
        return _cut(text, (match.end() for match in re.finditer(re.escape(self.sep), text)))

    def is_final(self, steps: Sequence[str], finish_reason: str) -> bool:
        return finish_reason == "eos" or last_box("".join(steps)) is not None


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
    lead = ""
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
        if last_box("".join(steps)) is not None:
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
    lead = ""
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
        return finish_reason == "eos" or last_box("".join(steps)) is not None


@dataclass(frozen=True)
class ThinkSplitter(StringSplitter):
    r"""Thoughts end with each `sep`; what follows ``</think>`` is one final step.

    The opening tag may be in the prompt. While a model writes, stop strings cut its final part at
    `sep` too; boxes count as an answer only there.

    Examples
    --------
    >>> ThinkSplitter().split("<think>a\n\nb\n</think>\n\nSo:\n\n\\boxed{7}")
    ['<think>a\n\n', 'b\n</think>\n\n', 'So:\n\n\\boxed{7}']
    """

    @property
    def name(self) -> str:
        return "think" if self.sep == "\n\n" else f"think:{escape(self.sep)}"

    def split(self, text: str) -> list[str]:
        thought_end = re.search(r"</think>\s*", text)
        thoughts = text[: thought_end.start()] if thought_end else text
        ends = [match.end() for match in re.finditer(re.escape(self.sep), thoughts)]
        return _cut(text, [*ends, thought_end.end()] if thought_end else ends)

    def is_final(self, steps: Sequence[str], finish_reason: str) -> bool:
        _, _, final = "".join(steps).partition("</think>")
        return finish_reason == "eos" or last_box(final) is not None


_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def escape(text: str) -> str:
    return "".join(_ESCAPES.get(char, char) for char in text)


def unescape(text: str) -> str:
    plain = {escaped: char for char, escaped in _ESCAPES.items()}
    return re.sub(r"\\.", lambda match: plain.get(match[0], match[0]), text)
