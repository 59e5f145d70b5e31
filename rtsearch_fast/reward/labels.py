"""Reading a verdict off the probabilities of two labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..engine.protocol import Engine
from ..errors import AnswerFormatError, InvalidArgumentError

__all__ = ["check_labels", "positive_share", "positive_shares"]


def check_labels(labels: tuple[str, ...]) -> tuple[str, str]:
    """Refuse labels that are not two different texts; returns them as a tuple."""
    if len(labels) != 2 or not all(labels) or labels[0] == labels[1]:
        raise InvalidArgumentError(
            f"labels={labels!r}: give two different ones, the positive first"
        )
    return (labels[0], labels[1])


async def positive_shares(
    engine: Engine, prompts: Sequence[str], labels: tuple[str, str]
) -> list[float]:
    """The probability of the positive label after each prompt, renormalised over the two.

    NaN where the engine does not tell both: a share cannot be had from one of them.

    Raises
    ------
    AnswerFormatError
        The engine answered in another shape.
    """
    if not prompts:
        return []
    answers = await engine.label_logprobs(prompts, labels)
    if len(answers) != len(prompts) or any(len(answer) != 2 for answer in answers):
        raise AnswerFormatError(
            f"{engine.name}: {len(prompts)} solutions were put, {len(answers)} answers came, or "
            "not two labels in each"
        )
    return [positive_share(yes, no) for yes, no in answers]


def positive_share(yes: float, no: float) -> float:
    """Return ``exp(yes) / (exp(yes) + exp(no))``, without overflow.

    Parameters
    ----------
    yes, no : float
        Log-probabilities. NaN in either, or -inf in both, gives NaN.
    """
    # The exponent is never positive, so exp cannot overflow; NaN passes through.
    small = math.exp(-abs(yes - no))
    return (small if yes < no else 1.0) / (1.0 + small)
