"""How a sample of the policy becomes steps of a solution: cut, closed and put right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .. import calculator
from ..answers import final_answer
from ..policy.protocol import Sample
from ..steps import Splitter
from .options import SearchOptions
from .records import Candidate

__all__ = ["Grower", "Solution"]


@dataclass(frozen=True, slots=True)
class Solution:
    """A solution on its way.

    Attributes
    ----------
    steps : tuple of str
    num_tokens : int
        Policy tokens of the steps.
    finished : bool
        By the splitter's judgement.
    stuck : bool
        The model had nothing to add, or a limit is reached: nothing will be asked any more.
    """

    steps: tuple[str, ...]
    num_tokens: int
    finished: bool = False
    stuck: bool = False

    @property
    def ended(self) -> bool:
        return self.finished or self.stuck

    def to_candidate(self, read: Callable[[str], str | None] = final_answer) -> Candidate:
        """The solution as a candidate without a score; `read` tells the answer of a text."""
        answer = read("".join(self.steps)) if self.finished else None
        return Candidate(self.steps, answer, float("nan"), self.num_tokens, self.finished)


class Grower:
    """Appends samples to solutions (stage 3, *correct*).

    Parameters
    ----------
    splitter : Splitter
    options : SearchOptions
    """

    def __init__(self, splitter: Splitter, options: SearchOptions) -> None:
        self.splitter = splitter
        self.options = options

    def grow(self, start: Solution, sample: Sample, *, whole: bool) -> tuple[list[Solution], int]:
        """Append a sample to a solution.

        Parameters
        ----------
        start : Solution
        sample : Sample
        whole : bool
            The sample was asked for without stop strings and may hold several steps.

        Returns
        -------
        list of Solution
            `start` with one step more, with two, and so on; empty if the model added nothing.
        int
            Right-hand sides that the calculator put right. A correction ends the list: what the
            model wrote after a wrong step does not follow from the right one.
        """
        lead = self.splitter.lead
        text = lead + sample.text
        pieces = self.splitter.split(text) if whole else [text]
        solutions: list[Solution] = []
        steps, read = start.steps, -len(lead)
        for number, piece in enumerate(pieces, start=1):
            reason = sample.finish_reason if number == len(pieces) else "stop"
            step = self.splitter.close(piece, reason, steps[-1] if steps else "")
            read += len(piece)
            if not step:
                continue
            corrections = 0
            if self.options.calculator:
                step, corrections = calculator.correct(step)
            steps = (*steps, step)
            num_tokens = start.num_tokens + sample.tokens_until(max(1, read))
            finished = self.splitter.is_final(steps, reason)
            solutions.append(
                Solution(steps, num_tokens, finished, self._is_full(steps, num_tokens))
            )
            # what follows an answer is chatter
            if solutions[-1].ended or corrections:
                return solutions, corrections
        return solutions, 0

    def _is_full(self, steps: tuple[str, ...], num_tokens: int) -> bool:
        options = self.options
        return len(steps) >= options.max_depth or num_tokens >= options.max_solution_tokens
