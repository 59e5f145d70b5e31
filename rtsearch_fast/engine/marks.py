"""Texts with marks: the places where a model is read, and the tokens that end there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from ..errors import EngineError
from .pooling_protocol import ClassProbs

__all__ = ["MarkReader", "MarkedText", "token_places"]


@dataclass(frozen=True, slots=True)
class MarkedText:
    """A text and the places in it that are read.

    Attributes
    ----------
    text : str
    marks : tuple of int
        Ascending offsets > 0. What is read at a mark is told by the last token before it: the
        token that comes next, or the head's value at that token.
    cuts : tuple of int
        Ascending offsets where the text is tokenised apart.
    """

    text: str
    marks: tuple[int, ...]
    cuts: tuple[int, ...] = ()

    @property
    def prefixes(self) -> list[str]:
        """The text up to each mark."""
        return [self.text[:mark] for mark in self.marks]


class MarkReader(Protocol):
    """Reads a model's head at marks. Many calls may be awaited at once; the engine batches them."""

    @property
    def name(self) -> str:
        """Identifies the model for resuming runs (a folder's name)."""
        ...

    async def read_marks(
        self, prompts: Sequence[MarkedText], *, raw: bool = False
    ) -> Sequence[Sequence[ClassProbs]]:
        """Return, per prompt, one row of class probabilities for each of its marks.

        Parameters
        ----------
        prompts : sequence of MarkedText
        raw : bool
            Return the head's numbers as they are.

        Raises
        ------
        EngineError
            The engine does not answer, or a mark lies within a token.
        """
        ...

    async def aclose(self) -> None:
        """Release what the engine holds."""
        ...


def token_places(
    marked: MarkedText, encode: Callable[[str], list[int]]
) -> tuple[list[int], list[int]]:
    """Return the tokens of a text, and for each mark the index of the token that ends there.

    Offsets that tokenizers tell are not used: they leave out blanks, which some tags consist of.

    Raises
    ------
    EngineError
        No token ends at a mark: the model would be read at a place that it was not trained at.

    Examples
    --------
    >>> token_places(MarkedText("ab", (1, 2)), lambda text: list(text.encode()))
    ([97, 98], [0, 1])
    """

    def until(end: int) -> list[int]:
        edges = (0, *(cut for cut in marked.cuts if 0 < cut < end), end)
        return [token for a, b in pairwise(edges) for token in encode(marked.text[a:b])]

    tokens = until(len(marked.text))
    places = []
    for number, mark in enumerate(marked.marks, 1):
        before = until(mark)
        if not before or tokens[: len(before)] != before:
            around = f"{marked.text[max(0, mark - 12) : mark]!r}|{marked.text[mark : mark + 12]!r}"
            raise EngineError(
                f"mark {number} lies within a token, at {around}: put between step and mark a tag "
                "that is one token of the model"
            )
        places.append(len(before) - 1)
    return tokens, places
