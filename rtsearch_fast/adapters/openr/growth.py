"""How OpenR's environment grows a solution: which of the texts that were written become actions."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from .models import Models, Text

__all__ = ["Action", "Grower"]

_log = logging.getLogger(__name__)

#: Times that a model is asked before a solution counts as a dead end.
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Action:
    """A next step.

    Attributes
    ----------
    text : str
        The step, the separator behind it.
    prior : float
        Its exp(mean log-probability) over the sum of those of all actions.
    value : float
        The reward model's score of the last step.
    terminal : bool
        The solution ends with it.
    """

    text: str
    prior: float
    value: float
    terminal: bool


class Grower:
    """Asks for the actions below a solution of one problem, and counts the tokens.

    Parameters
    ----------
    models : Models
    question : str
    width : int
        Texts asked for each time.
    max_depth : int
        Most steps of a solution.

    Attributes
    ----------
    written : int
        Tokens generated, those of texts that were thrown away too.
    kept : int
        Tokens of the actions.
    """

    def __init__(self, models: Models, question: str, width: int, max_depth: int) -> None:
        self._models = models
        self._question = question
        self._width = width
        self._max_depth = max_depth
        self.written = 0
        self.kept = 0

    async def actions(self, steps: tuple[str, ...]) -> list[Action]:
        """Ask for the next steps; none if three attempts brought nothing of use."""
        answer = "".join(steps)
        for _ in range(_ATTEMPTS):
            texts = await self._models.write(
                self._question,
                answer,
                self._width,
                step=True,
                max_tokens=self._models.gen_config.max_new_tokens,
            )
            self.written += sum(text.num_tokens for text in texts)
            if whole := self._whole_steps(texts):
                return await self._judged(steps, whole)
        return []

    def _whole_steps(self, texts: list[Text]) -> dict[str, Text]:
        """Texts that were not cut off, by the step that they are, each once."""
        separator = self._models.prompt.separator
        steps: dict[str, Text] = {}
        for text in texts:
            if text.finish_reason == "stop":
                is_step = text.text.endswith(separator)
                steps.setdefault(text.text if is_step else text.text.strip() + separator, text)
        return steps

    async def _judged(self, steps: tuple[str, ...], found: dict[str, Text]) -> list[Action]:
        self.kept += sum(text.num_tokens for text in found.values())
        answers = ["".join((*steps, step)) for step in found]
        depth = len(steps) + 1
        values = []
        for scores in await self._models.step_scores(self._question, answers):
            if len(scores) != depth:
                _log.warning(
                    "rm_call gave %d scores for a solution of %d steps, which counts as 0: its "
                    "step tag and lm_step_tag must fit",
                    len(scores),
                    depth,
                )
            values.append(scores[-1] if len(scores) == depth else 0.0)
        weights = np.exp([text.mean_logprob for text in found.values()])
        separator = self._models.prompt.separator
        return [
            Action(
                step, prior, value, depth >= self._max_depth or not text.text.endswith(separator)
            )
            for (step, text), prior, value in zip(
                found.items(), (weights / weights.sum()).tolist(), values, strict=True
            )
        ]
