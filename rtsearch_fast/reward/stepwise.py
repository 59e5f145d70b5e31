"""The text put to a process reward model: behind each step the token that it is judged at."""

from __future__ import annotations

from dataclasses import dataclass

from ..engine.template import Template, neutralise
from ..errors import DataError, InvalidArgumentError

__all__ = ["PROCESS_PRESETS", "ProcessTemplate"]

#: Each ends with the solution: what would follow its last tag cannot change the verdict there.
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
    """Turns a problem and the steps of a solution into a text with one tag a step.

    Attributes
    ----------
    template : Template
        With the places ``{problem}`` and ``{solution}``, and without the tag.
    step_tag : str
        Stands behind each step; one token of the model.
    separator : str
        Stands between a tag and the next step.
    """

    template: Template
    step_tag: str = "<extra_0>"
    separator: str = ""

    def __post_init__(self) -> None:
        if self.step_tag in ("", " "):
            raise InvalidArgumentError(
                f"step_tag={self.step_tag!r}: give the token that ends each step, <extra_0> or the "
                "like"
            )
        if self.step_tag in self.template.text:
            raise DataError(
                f"template {self.template.name!r} holds the step tag {self.step_tag!r}: leave it "
                "out, it is put behind each step"
            )

    @classmethod
    def load(
        cls, path_or_preset: str, step_tag: str = "<extra_0>", separator: str = ""
    ) -> ProcessTemplate:
        """Take a preset ("qwen-prm", "plain") or read a file that holds both places.

        Raises
        ------
        DataError
            There is no such preset or file, it lacks a place, or it holds the tag.
        InvalidArgumentError
            The tag is no token that could end a step.
        """
        places = ("problem", "solution")
        template = Template.find(str(path_or_preset), PROCESS_PRESETS, places)
        return cls(template, step_tag, separator)

    @property
    def name(self) -> str:
        """Name and hash of the template's text, the tag, and the separator if there is one."""
        marks = f"{self.template.identity}/{self.step_tag}"
        return f"{marks}/{self.separator!r}" if self.separator else marks

    def render(self, problem: str, steps: tuple[str, ...]) -> str:
        """Return the text to judge; it holds the tag once for each step and nowhere else."""
        solution = self.separator.join(
            f"{neutralise(self._without_tag(step)).strip()}{self.step_tag}" for step in steps
        )
        # Our own tags are filled in as they are, also where they look like a control token.
        parts = (Template("", part) for part in self.template.text.split("{solution}"))
        return solution.join(part.fill(problem=self._without_tag(problem)) for part in parts)

    def _without_tag(self, text: str) -> str:
        """Take the tag out of a text: neither problem nor model may claim another step."""
        while self.step_tag in text:  # what is left may make another
            text = text.replace(self.step_tag, " ")
        return text
