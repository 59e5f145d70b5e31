"""What this package asks of an engine that serves a model with a classification head.

Such a model generates nothing: it reads a text and gives each class a probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

__all__ = ["ClassProbs", "Classifier", "TokenClassifier"]

#: Probability of each class, in the model's order; NaN where the engine gives none.
ClassProbs = tuple[float, ...]


class Classifier(Protocol):
    """Classifies texts as a whole. Many calls may be awaited at once; the engine batches them."""

    @property
    def name(self) -> str:
        """Identifies the model for resuming runs (a folder's or served model's name)."""
        ...

    async def classify(self, prompts: Sequence[str], *, raw: bool = False) -> Sequence[ClassProbs]:
        """Return, per prompt, the class probabilities at its last token.

        Parameters
        ----------
        prompts : sequence of str
        raw : bool
            Return the head's numbers as they are, which are no probabilities.

        Raises
        ------
        EngineError
            The engine does not answer, or serves another task; the text says what to do.
        """
        ...

    async def aclose(self) -> None:
        """Release what the engine holds."""
        ...


class TokenClassifier(Protocol):
    """Classifies single tokens of a text. Many calls may be awaited at once."""

    @property
    def name(self) -> str:
        """Identifies the model for resuming runs (a folder's or served model's name)."""
        ...

    async def token_classify(
        self, prompts: Sequence[str], step_tag: str | None = None, *, raw: bool = False
    ) -> Sequence[Sequence[ClassProbs]]:
        """Return, per prompt, one row of class probabilities for each place that is read.

        Parameters
        ----------
        prompts : sequence of str
        step_tag : str, optional
            The token whose places are read, in their order. None leaves the choice of the places
            to the engine: all tokens, or those of the tag that it was started with.
        raw : bool
            Return the head's numbers as they are, which are no probabilities.

        Raises
        ------
        EngineError
            The engine does not answer, serves another task, or cannot find the tags.
        """
        ...

    async def aclose(self) -> None:
        """Release what the engine holds."""
        ...
