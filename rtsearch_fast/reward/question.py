"""The question put to a judging language model: ready-made ones, or a user's file."""

from __future__ import annotations

from dataclasses import dataclass

from ..engine.template import Template

__all__ = ["PRESETS", "JudgeTemplate"]

_INSTRUCTION = "You check solutions of mathematical problems."
# The question comes last: the judgements of a problem share its text, and those of one branch the
# steps too, in the engine's prefix cache.
_QUESTION = "Is this solution correct? Answer with one word, Yes or No."
_CASE = f"Problem:\n{{problem}}\n\nSolution:\n{{solution}}\n\n{_QUESTION}"

#: Each ends with a line break, so that the labels "Yes" and "No" are tokens without a blank before.
#: "verdict" asks a model that was trained for nothing else for its label, "check" for its check: it
#: goes on where a policy's solution ends, so that one model learns both from one text.
PRESETS = {
    "plain": f"{_INSTRUCTION}\n\n{_CASE}\nAnswer:\n",
    "chatml": (
        f"<|im_start|>system\n{_INSTRUCTION}<|im_end|>\n"
        f"<|im_start|>user\n{_CASE}<|im_end|>\n<|im_start|>assistant\n"
    ),
    "llama3": (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
        f"{_INSTRUCTION}<|eot_id|>"
        f"<|start_header_id|>user<|end_header_id|>\n\n{_CASE}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    "verdict": "{problem}\n\n{solution}\n\n## Verdict\n",
    "check": "{problem}\n\n{solution}<|endoftext|>\n\n## Check\n",
}

#: A mark of a chat format -> how a conversation of that format goes on to the question.
_FOLLOW_UPS = {
    "<|im_start|>": (
        f"<|im_end|>\n<|im_start|>user\n{_QUESTION}<|im_end|>\n<|im_start|>assistant\n"
    ),
    "<|start_header_id|>": (
        f"<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n{_QUESTION}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    "": f"\n\n{_QUESTION}\nAnswer:\n",
}


@dataclass(frozen=True, slots=True)
class JudgeTemplate:
    """Turns a problem and a solution into the text whose next token is the verdict.

    Labels and template belong together: a template that ends in ``Answer:`` makes most models
    write the label with a blank before it, and wants ``labels=(" Yes", " No")``.

    Attributes
    ----------
    template : Template
        With the places ``{problem}`` and ``{solution}``.
    """

    template: Template

    @classmethod
    def load(cls, path_or_preset: str) -> JudgeTemplate:
        """Take a preset ("plain", "chatml", "llama3") or read a file that holds both places.

        Raises
        ------
        DataError
            There is no such preset or file, or it lacks a place.
        """
        return cls(Template.find(str(path_or_preset), PRESETS, ("problem", "solution")))

    @classmethod
    def following(cls, policy: Template) -> JudgeTemplate:
        """The question as it follows in the policy's own conversation.

        For a model that judges what it wrote itself: the solution is in the engine's prefix cache
        already, and only the question is computed.

        Parameters
        ----------
        policy : Template
            The policy's prompt, with the place ``{problem}``; solutions follow it.
        """
        question = next(text for mark, text in _FOLLOW_UPS.items() if mark in policy.text)
        return cls(Template(f"{policy.name}-followup", f"{policy.text}{{solution}}{question}"))

    @property
    def name(self) -> str:
        """Name and hash of the template's text."""
        return self.template.identity

    def render(self, problem: str, steps: tuple[str, ...]) -> str:
        """Return the text to judge; what problem and solution say is not interpreted."""
        return self.template.fill(problem=problem, solution="".join(steps).strip())
