"""What a step is, as its_hub's `StepGeneration` says, and how a solution is shown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from its_hub.core.lms.step_generation import StepGeneration

from ...answers import final_answer
from ...splitters import RegexSplitter

__all__ = ["StepSplitter", "WholeText"]

#: Stands for a last step that says nothing: the text was over where the step before it ended.
_END = "\n"


class StepSplitter:
    """Steps end with `step_token`, or after `tokens_per_step` tokens.

    Solutions end with the model's text, with a step that holds `stop_token`, or with the last of
    `max_steps`; their answer is the last box, or the whole text where they box nothing.

    Parameters
    ----------
    sg : StepGeneration
    as_original : bool
        Ends that the model tells are ignored, and there is one step more than `max_steps`, as in
        its_hub.
    """

    lead = ""

    def __init__(self, sg: StepGeneration, *, as_original: bool = False) -> None:
        token = sg.step_token
        self.stop: tuple[str, ...] = (token,) if isinstance(token, str) else tuple(token or ())
        self.max_tokens: int | None = sg.tokens_per_step
        self.max_steps: int = sg.max_steps + as_original
        self._stop_token: str | None = sg.stop_token
        self._keeps_stops: bool = sg.include_stop_str_in_output
        self._ignores_ends = as_original

    @property
    def name(self) -> str:
        return f"its_hub:{self.stop or self.max_tokens}"

    def close(self, text: str, finish_reason: str, before: str = "") -> str:
        if finish_reason == "eos" and not self._ignores_ends:
            return text or _END
        ended = self.stop and (finish_reason == "stop" or self._ignores_ends)
        if ended and not self._keeps_stops and not text.endswith(self.stop):
            return text + self.stop[0]
        return text

    def split(self, text: str) -> list[str]:
        if not self.stop:
            return [text] if text else []
        return RegexSplitter("|".join(map(re.escape, self.stop))).split(text)

    def is_final(self, steps: Sequence[str], finish_reason: str) -> bool:
        if len(steps) >= self.max_steps or (finish_reason == "eos" and not self._ignores_ends):
            return True
        return self._stop_token is not None and self._stop_token in steps[-1]

    def answer(self, text: str) -> str | None:
        return final_answer(text) or text.strip() or None

    def show(self, steps: Sequence[str]) -> str:
        """The text of a solution, finished or not, as its_hub shows it to reward models."""
        if len(steps) > 1 and steps[-1] == _END:
            steps = steps[:-1]
        text = "".join(steps)
        if self._keeps_stops:
            return text.removesuffix(self._stop_token or "")
        return text.removesuffix(self.stop[0]) if self.stop else text


class WholeText:
    """A solution is one step, and its own answer, whatever it is about."""

    name = "whole"
    lead = ""
    stop: tuple[str, ...] = ()
    max_tokens = None

    def close(self, text: str, finish_reason: str, before: str = "") -> str:
        return text

    def split(self, text: str) -> list[str]:
        return [text] if text else []

    def is_final(self, steps: Sequence[str], finish_reason: str) -> bool:
        return finish_reason != "length"

    def answer(self, text: str) -> str | None:
        return text

    def show(self, steps: Sequence[str]) -> str:
        return "".join(steps)
