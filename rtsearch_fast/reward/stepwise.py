"""The text put to a process reward model, and where in it each step is judged."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ..engine.marks import MarkedText
from ..engine.template import Template, neutralise
from ..errors import DataError, InvalidArgumentError

__all__ = ["PROCESS_PRESETS", "ProcessTemplate"]

PROCESS_PRESETS = {
    # Qwen2.5-Math-PRM, with the tag "<extra_0>"
    "qwen-prm": (
        "<|im_start|>system\nPlease reason step by step, and put your final answer within "
        "\\boxed{}.<|im_end|>\n<|im_start|>user\n{problem}<|im_end|>\n"
        "<|im_start|>assistant\n{solution}"
    ),
    "plain": "Problem:\n{problem}\n\nSolution:\n{solution}",
}


@dataclass(frozen=True, slots=True)
class ProcessTemplate:
    """Turns a problem and the steps of a solution into a text with a mark behind each step.

    The text ends at its last mark: what would follow cannot change a verdict of a causal model.

    Attributes
    ----------
    template : Template
        With the places ``{solution}``, once, and ``{problem}``, unless `first` has that.
    step : str
        What stands for a step in the solution: ``{step}``, and behind it ``{read}`` at the place
        that is read, and maybe ``{number}``, from 1. Without ``{read}`` there are no marks.
    first : str
        The same for the first step, if that is another; it may have ``{problem}``.
    step_tag : str
        What is taken out of problems and steps, so that neither can claim a step; "" is nothing.
    clean : tuple of (str, str)
        Regular expressions and what replaces their matches in each step.
    pieces : bool
        Whether steps are tokenised apart from what is around them.
    """

    template: Template
    step: str = "{step}<extra_0>{read}"
    first: str = ""
    step_tag: str = "<extra_0>"
    clean: tuple[tuple[str, str], ...] = ()
    pieces: bool = False

    def __post_init__(self) -> None:
        forms = {"step": self.step, **({"first": self.first} if self.first else {})}
        for name, form in forms.items():
            before, *after = form.split("{step}")
            marks = "".join(after).count("{read}")
            if len(after) != 1 or "{read}" in before or marks > 1 or marks != self._reads:
                raise InvalidArgumentError(
                    f"{name}={form!r}: it must have the place {{step}} once and behind it the mark "
                    "{read} once, or neither of `step` and `first` has that"
                )
            if self.step_tag and f"{self.step_tag}{{read}}" not in form:
                raise InvalidArgumentError(
                    f"step_tag={self.step_tag!r}: it must stand in {name}={form!r}, just before "
                    "{read}"
                )
        text = self.template.text
        if self.step_tag and self.step_tag in text:
            raise DataError(
                f"template {self.template.name!r} holds the step tag {self.step_tag!r}: leave it "
                "out, it is put behind each step"
            )
        for place, places in (("solution", text), ("problem", text + self.first)):
            count = places.count(f"{{{place}}}")
            if count == 0 or (count > 1 and place == "solution"):
                raise DataError(
                    f"template {self.template.name!r} must have {{{place}}} once: put it in its "
                    "place"
                )
        for pattern, replacement in self.clean:
            try:
                re.sub(pattern, replacement, "")
            except re.error as error:
                raise InvalidArgumentError(f"clean={pattern!r}: {error}") from None

    @classmethod
    def load(
        cls, path_or_preset: str, step_tag: str = "<extra_0>", separator: str = ""
    ) -> ProcessTemplate:
        """Take a preset ("qwen-prm", "plain") or read a file that holds both places.

        Parameters
        ----------
        path_or_preset : str
        step_tag : str
            Stands behind each step; one token of the model.
        separator : str
            Stands between a tag and the next step.

        Raises
        ------
        DataError
            There is no such preset or file, it lacks a place, or it holds the tag.
        InvalidArgumentError
            The tag is no token that could end a step.
        """
        places = ("problem", "solution")
        template = Template.find(str(path_or_preset), PROCESS_PRESETS, places)
        if step_tag in ("", " "):
            raise InvalidArgumentError(
                f"step_tag={step_tag!r}: give the token that ends each step, <extra_0> or the like"
            )
        return cls(template, f"{{step}}{step_tag}{{read}}{separator}", step_tag=step_tag)

    def render(self, problem: str, steps: Sequence[str]) -> str:
        """Return the text to judge; it holds the tag once for each step and nowhere else."""
        return self.lay(problem, steps).text

    def lay(self, problem: str, steps: Sequence[str]) -> MarkedText:
        """Return the text to judge and its marks, one a step; without steps, its beginning."""
        problem = self._without_tag(problem)
        head, _, tail = self.template.text.partition("{solution}")
        text = Template("", head).fill(problem=problem)
        marks: list[int] = []
        cuts: list[int] = []
        for number, step in enumerate(steps, 1):
            # Our own tags are put in as they are, also where they look like a control token.
            fill = partial(Template.fill, problem=problem, number=str(number))
            form = self.first if self.first and number == 1 else self.step
            before, _, after = form.partition("{step}")
            behind, read, rest = (Template("", part) for part in after.partition("{read}"))
            text += fill(Template("", before))
            cuts.append(len(text))
            text += self._cleaned(step)
            cuts.append(len(text))
            text += fill(behind)
            if read.text:
                marks.append(len(text))
            text += fill(rest)
        if self._reads:
            text = text[: marks[-1] if marks else None]
        else:
            text += Template("", tail).fill(problem=problem)
        return MarkedText(text, tuple(marks), tuple(cuts) if self.pieces else ())

    @property
    def _reads(self) -> int:
        return self.step.count("{read}")

    def _cleaned(self, step: str) -> str:
        step = step.strip()
        for pattern, replacement in self.clean:
            step = re.sub(pattern, replacement, step)
        return neutralise(self._without_tag(step)).strip()

    def _without_tag(self, text: str) -> str:
        """Take the tag out of a text: neither problem nor model may claim another step."""
        while self.step_tag and self.step_tag in text:  # what is left may make another
            text = text.replace(self.step_tag, " ")
        return text
