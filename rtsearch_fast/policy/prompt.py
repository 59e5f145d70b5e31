"""The text that makes a language model write labelled steps: ready-made ones, or a user's file."""

from __future__ import annotations

from dataclasses import dataclass

from ..engine.template import Template, neutralise

__all__ = ["PRESETS", "PromptTemplate"]

_INSTRUCTION = (
    "Solve the problem in short steps with one calculation each. End with ## Answer and the result "
    "in \\boxed{}."
)
# Short: every search prefills them. A blank line after each step, as the search joins steps.
_EXAMPLES = (
    (
        "Mia has 3 boxes of 12 pens and gives away 5 pens. How many are left?",
        "## Step 1: Count the pens\n3 * 12 = 36\n\n"
        "## Step 2: Take away the gifts\n36 - 5 = 31\n\n"
        "## Answer\n\\boxed{31}",
    ),
    (
        "Tom reads 10 pages, then 15 more. How many pages does he read?",
        "## Step 1: Add the pages\n10 + 15 = 25\n\n## Answer\n\\boxed{25}",
    ),
    (
        "A cinema has 9 rows of 6 seats. 20 are taken. How many are free?",
        "## Step 1: Count the seats\n9 * 6 = 54\n\n"
        "## Step 2: Take away the taken seats\n54 - 20 = 34\n\n"
        "## Answer\n\\boxed{34}",
    ),
)
_LABELLED_INSTRUCTION = (
    "Solve the problem in this format: ## Analysis, ## Restatement, then one logical step under "
    "each ## Step k: title, then ## Answer with the result in \\boxed{}."
)


def _with_examples(instruction: str, before_problem: str, before_answer: str, end: str) -> str:
    """The instruction, the examples, and the place of the problem up to its answer."""
    examples = (
        f"{before_problem}{problem}{before_answer}{answer}{end}" for problem, answer in _EXAMPLES
    )
    return f"{instruction}{''.join(examples)}{before_problem}{{problem}}{before_answer}"


#: Each ends where the model is to write the ``##`` of a step. "plain" is for models without a chat
#: format, "labelled" for models that were adapted to the full format and need no examples, "bare"
#: for models that were trained for nothing else. Problems have a ``##`` heading in "plain" and
#: "labelled": a model that goes on to invent one meets the stop string of steps.
PRESETS = {
    "plain": _with_examples(f"{_INSTRUCTION}\n\n", "## Problem\n", "\n\n", "\n\n"),
    "chatml": _with_examples(
        f"<|im_start|>system\n{_INSTRUCTION}<|im_end|>\n",
        "<|im_start|>user\n",
        "<|im_end|>\n<|im_start|>assistant\n",
        "<|im_end|>\n",
    ),
    "llama3": _with_examples(
        f"<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n{_INSTRUCTION}<|eot_id|>",
        "<|start_header_id|>user<|end_header_id|>\n\n",
        "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|eot_id|>",
    ),
    "labelled": f"{_LABELLED_INSTRUCTION}\n\n## Problem\n{{problem}}\n\n",
    "bare": "{problem}\n\n",
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
        """Take a preset or read a file.

        Parameters
        ----------
        path_or_preset : str
            "plain", "chatml", "llama3", "labelled", "bare", or the path of a file that holds
            ``{problem}``.

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
