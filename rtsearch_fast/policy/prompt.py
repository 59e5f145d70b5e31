"""The text that makes a language model write labelled steps: ready-made ones, or a user's file."""

from __future__ import annotations

from dataclasses import dataclass

from ..engine.template import Template, neutralise

__all__ = ["PRESETS", "PromptTemplate"]

_INSTRUCTION = (
    "Solve the problem in this format: ## Analysis, ## Restatement, then one logical step under "
    "each ## Step k: title, then ## Answer with the result in \\boxed{}. Write calculations like "
    "12 * 3 = 36."
)
_PROBLEM = "Mia fills 3 boxes with 12 pens each and gives away 5 pens. How many pens are left?"
# A blank line after each step, as the search writes the steps that it appends.
_SOLUTION = """\
## Analysis
Count the pens in the boxes, then take away the gifts.

## Restatement
Find what is left of 3 boxes of 12 pens after giving 5 away.

## Step 1: Count the pens
12 * 3 = 36 pens are in the boxes.

## Step 2: Take away the gifts
36 - 5 = 31 pens are left.

## Answer
\\boxed{31}"""

#: Each ends where the model is to write ``## Analysis``. In "plain", problems have a ``##`` heading
#: too: a model that goes on to invent a further problem meets the stop string of the steps.
PRESETS = {
    "plain": (
        f"{_INSTRUCTION}\n\n## Problem\n{_PROBLEM}\n\n{_SOLUTION}\n\n## Problem\n{{problem}}\n\n"
    ),
    "chatml": (
        f"<|im_start|>system\n{_INSTRUCTION}<|im_end|>\n"
        f"<|im_start|>user\n{_PROBLEM}<|im_end|>\n"
        f"<|im_start|>assistant\n{_SOLUTION}<|im_end|>\n"
        "<|im_start|>user\n{problem}<|im_end|>\n<|im_start|>assistant\n"
    ),
    "llama3": (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
        f"{_INSTRUCTION}<|eot_id|>"
        f"<|start_header_id|>user<|end_header_id|>\n\n{_PROBLEM}<|eot_id|>"
        f"<|start_header_id|>assistant<|end_header_id|>\n\n{_SOLUTION}<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n{problem}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
}


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """Turns a problem and the steps so far into the text that the policy model continues.

    Attributes
    ----------
    template : Template
        With the place ``{problem}``; the steps are put after its end.
    """

    template: Template

    @classmethod
    def load(cls, path_or_preset: str) -> PromptTemplate:
        """Take a preset ("plain", "chatml", "llama3") or read a file that holds ``{problem}``.

        Raises
        ------
        DataError
            There is no such preset or file, or it lacks ``{problem}``.
        """
        return cls(Template.find(str(path_or_preset), PRESETS, ("problem",)))

    @property
    def name(self) -> str:
        """Name and hash of the template's text."""
        return self.template.identity

    def render(self, problem: str, steps: tuple[str, ...] = ()) -> str:
        """Return the text to continue."""
        return self.template.fill(problem=problem) + neutralise("".join(steps))
