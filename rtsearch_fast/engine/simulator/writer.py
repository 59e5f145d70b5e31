"""What a simulated engine writes: labelled solutions, a function of prompt and seed alone."""

from __future__ import annotations

import math
import random
import re
from bisect import bisect_left
from collections.abc import Sequence
from typing import Protocol

from ...errors import InvalidArgumentError
from ..protocol import LabelLogprobs

__all__ = ["SyntheticWriter", "Writer"]


class Writer(Protocol):
    """The model behind a simulated engine."""

    @property
    def chars_per_token(self) -> int:
        """Every token of it has this many characters."""

    def write(self, prompt: str, seed: int) -> str:
        """All that the model writes after `prompt`, up to its end of text."""

    def judge(self, prompt: str, labels: tuple[str, ...]) -> LabelLogprobs:
        """Log-probability of each label as the next token."""


_HEADER = re.compile(r"## Step (\d{1,9}): ")
_STEP_END = "\n\n##"
_PERIOD = 1 << 16
#: Letters only: the calculator finds nothing to correct in them. Twice the same, so that they can
#: be read from any place of the first half on.
_LETTERS = 2 * "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz", k=_PERIOD))


class SyntheticWriter:
    r"""Writes steps of empty words: only their number and lengths are like a real model's.

    A solution that is asked for step by step has the same distribution as one that is written in
    one piece: what is drawn is drawn given what the prompt already holds.

    Parameters
    ----------
    step_tokens : sequence of int
        Lengths of steps in tokens, each as likely as the others: those of a recorded run, or a
        range. A step's header and the ``\n\n##`` behind it count with it.
    num_steps : sequence of int
        Numbers of steps before the answer, likewise.
    chars_per_token : int
    answers : int
        Different final answers, each as likely as the others.

    Examples
    --------
    >>> writer = SyntheticWriter([8], [2])
    >>> writer.write("##", seed=1)
    ' Step 1: myenhejtycitidpbjgi\n\n## Step 2: cqjuzjgyoqzsfuzsfxx\n\n## Answer\n\\boxed{0}'
    """

    def __init__(
        self,
        step_tokens: Sequence[int],
        num_steps: Sequence[int],
        *,
        chars_per_token: int = 4,
        answers: int = 5,
    ) -> None:
        # shorter than this, a step has no room for its header and a word
        least = -(-len(f" Step 100: word{_STEP_END}") // max(1, chars_per_token))
        for name, value, lowest in (
            ("chars_per_token", chars_per_token, 1),
            ("answers", answers, 1),
            ("step_tokens", min(step_tokens, default=0), least),
            ("num_steps", min(num_steps, default=-1), 0),
        ):
            if value < lowest:
                raise InvalidArgumentError(f"{name}={value}: must be at least {lowest}")
        self._step_tokens = tuple(sorted(step_tokens))
        self._num_steps = tuple(sorted(num_steps))
        self._answers = answers
        self.chars_per_token = chars_per_token

    def write(self, prompt: str, seed: int) -> str:
        """All that the model writes after `prompt`, up to its end of text."""
        rng = random.Random(f"{seed}:{prompt}")
        body = prompt.removesuffix("##")
        header = _HEADER.match(body, body.rfind("\n##") + 1)
        done = int(header[1]) if header else 0
        pieces = []
        if len(body) < len(prompt):
            lead = ""
        elif not header or body.endswith("\n"):
            lead = "##" if body.endswith("\n") or not body else _STEP_END
        else:  # it breaks off in mid-step
            lead, written = "", len(body) - header.start() - 2
            tokens = _draw(rng, self._step_tokens, written // self.chars_per_token + 1)
            missing = (tokens or 0) * self.chars_per_token - written - len(_STEP_END)
            pieces.append(_words(rng, max(0, missing)))
        for number in range(done + 1, (_draw(rng, self._num_steps, done) or done) + 1):
            head = f" Step {number}: "
            size = _draw(rng, self._step_tokens, 0) or 0
            pieces.append(
                head + _words(rng, size * self.chars_per_token - len(head) - len(_STEP_END))
            )
        pieces.append(f" Answer\n\\boxed{{{rng.randrange(self._answers)}}}")
        return lead + _STEP_END.join(pieces)

    def judge(self, prompt: str, labels: tuple[str, ...]) -> LabelLogprobs:
        """Log-probability of each label as the next token; any share of two is equally likely."""
        rng = random.Random(f"judge:{prompt}")
        weights = [rng.expovariate(1.0) + 1e-12 for _ in range(len(labels) + 1)]  # and the rest
        total = math.log(sum(weights))
        return tuple(math.log(weight) - total for weight in weights[:-1])


def _draw(rng: random.Random, values: Sequence[int], least: int) -> int | None:
    """One of the sorted values that are at least `least`; None if there is none."""
    first = bisect_left(values, least)
    return values[rng.randrange(first, len(values))] if first < len(values) else None


def _words(rng: random.Random, size: int) -> str:
    """So many letters, hardly ever the same again."""
    if not size:
        return ""
    tag = "".join(rng.choices(_LETTERS, k=min(8, size)))
    start, rest = rng.randrange(_PERIOD), size - len(tag)
    return (
        tag
        + (_LETTERS * (1 + rest // _PERIOD) if rest > _PERIOD else _LETTERS)[start : start + rest]
    )
