"""Where one step of a solution ends, and when a solution is finished."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from .answers import final_answer
from .errors import InvalidArgumentError
from .splitters import (
    LabelledSplitter,
    RegexSplitter,
    StringSplitter,
    ThinkSplitter,
    TokenSplitter,
    unescape,
)

__all__ = ["Splitter", "answer_reader", "make_splitter"]


class Splitter(Protocol):
    """How solutions are cut into steps; ``"".join(steps)`` is always the text itself."""

    @property
    def name(self) -> str:
        """The specification that `make_splitter` turns into this splitter."""

    @property
    def lead(self) -> str:
        """Text that begins every step: the model goes on from it, and does not write it itself."""

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
            `lead` and the generated text, without the stop string.
        finish_reason : {"stop", "eos", "length"}
        before : str
            The end of the solution so far (the last step is enough). Where steps have no lead,
            white space is stripped from the front of `text` only if a separator, or nothing, comes
            before it.

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


def answer_reader(splitter: Splitter) -> Callable[[str], str | None]:
    """What tells the answer of a finished solution's text.

    A splitter for texts that box no answer may have a method `answer`, which returns it, or None.
    For all others it is the last box.
    """
    reader: Callable[[str], str | None] = getattr(splitter, "answer", final_answer)
    return reader


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
            return StringSplitter(unescape(value))
        if kind == "regex" and colon:
            return RegexSplitter(value)
        if kind == "tokens" and value.isdecimal():
            return TokenSplitter(int(value))
        if kind == "think":
            return ThinkSplitter(unescape(value)) if colon else ThinkSplitter()
    except ValueError as error:
        reason = f" ({error})"
    else:
        reason = ""
    raise InvalidArgumentError(
        f"splitter {spec!r}{reason}: choose labelled, string:SEP, regex:PATTERN, tokens:N, think "
        "or think:SEP"
    )
