"""The data sets of the loop as rows of JSONL files: in TRL's formats, and for `rtsearch train`.

TRL's formats (its page "Dataset formats and types") carry the finished prompt: prompt-completion,
preference, unpaired preference, stepwise supervision. Those of `rtsearch train` carry the problem,
and the trainer makes the prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..engine.template import neutralise
from ..errors import InvalidArgumentError
from ..policy.prompt import PromptTemplate
from .harvest import StepLabels
from .pairs import Pair
from .samples import Sampled

__all__ = [
    "dpo_rows",
    "preference_rows",
    "process_rows",
    "prompt_completion_rows",
    "reward_rows",
    "sft_rows",
    "stepwise_rows",
    "unpaired_rows",
]

Rows = Iterator[dict[str, Any]]


# --- TRL ----------------------------------------------------------------------------------


def prompt_completion_rows(samples: Iterable[Sampled], prompt: PromptTemplate) -> Rows:
    """SFT: ``{"prompt", "completion"}`` of the right samples.

    Examples
    --------
    >>> sample = Sampled("1", "1 + 1", ("## Answer\\n\\\\boxed{2}",), "2", True)
    >>> (row,) = prompt_completion_rows([sample], PromptTemplate.load("labelled"))
    >>> row["prompt"][-18:], row["completion"]
    ('## Problem\\n1 + 1\\n\\n', '## Answer\\n\\\\boxed{2}')
    """
    for sample in samples:
        if sample.right:
            yield {"prompt": prompt.render(sample.problem), "completion": neutralise(sample.text)}


def preference_rows(pairs: Iterable[Pair], prompt: PromptTemplate) -> Rows:
    """DPO: ``{"prompt", "chosen", "rejected"}``."""
    for pair in pairs:
        yield {
            "prompt": prompt.render(pair.problem),
            "chosen": neutralise(pair.chosen),
            "rejected": neutralise(pair.rejected),
        }


def unpaired_rows(samples: Iterable[Sampled], prompt: PromptTemplate) -> Rows:
    """KTO, classifiers: ``{"prompt", "completion", "label"}``, the label being the rightness."""
    for sample in samples:
        yield {
            "prompt": prompt.render(sample.problem),
            "completion": neutralise(sample.text),
            "label": sample.right,
        }


def stepwise_rows(
    labels: Iterable[StepLabels], prompt: PromptTemplate, *, threshold: float = 0.0
) -> Rows:
    """Process rewards: ``{"prompt", "completions", "labels"}``, a truth value a step.

    Parameters
    ----------
    labels : iterable of StepLabels
    prompt : PromptTemplate
    threshold : float
        A step counts as good if its value is above. With the default one right solution through it
        is enough, as in Math-Shepherd's hard estimation.

    Examples
    --------
    >>> found = StepLabels("1", "1 + 1", ("a", "b"), (0.5, 0.0), (2, 1))
    >>> (row,) = stepwise_rows([found], PromptTemplate.load("labelled"))
    >>> row["completions"], row["labels"]
    (['a', 'b'], [True, False])
    """
    if not 0 <= threshold < 1:
        raise InvalidArgumentError(f"threshold={threshold}: give a share in [0, 1)")
    for found in labels:
        yield {
            "prompt": prompt.render(found.problem),
            "completions": [neutralise(step) for step in found.steps],
            "labels": [value > threshold for value in found.values],
        }


# --- rtsearch train -----------------------------------------------------------------------


def sft_rows(samples: Iterable[Sampled]) -> Rows:
    """``{"problem", "solution"}`` of the right samples; a solution is a list of steps."""
    for sample in samples:
        if sample.right:
            yield {"problem": sample.problem, "solution": list(sample.solution)}


def reward_rows(samples: Iterable[Sampled]) -> Rows:
    """``{"problem", "solution", "label"}``.

    Examples
    --------
    >>> list(reward_rows([Sampled("1", "1 + 1", ("\\\\boxed{3}",), "3", False)]))
    [{'problem': '1 + 1', 'solution': ['\\\\boxed{3}'], 'label': False}]
    """
    for sample in samples:
        yield {
            "problem": sample.problem,
            "solution": list(sample.solution),
            "label": sample.right,
        }


def dpo_rows(pairs: Iterable[Pair]) -> Rows:
    """``{"problem", "chosen", "rejected", "chosen_score", "rejected_score"}``."""
    for pair in pairs:
        yield {
            "problem": pair.problem,
            "chosen": pair.chosen,
            "rejected": pair.rejected,
            "chosen_score": pair.chosen_score,
            "rejected_score": pair.rejected_score,
        }


def process_rows(labels: Iterable[StepLabels]) -> Rows:
    """``{"problem", "steps", "labels", "counts"}``, a share in [0, 1] a step."""
    for found in labels:
        yield {
            "problem": found.problem,
            "steps": list(found.steps),
            "labels": list(found.values),
            "counts": list(found.counts),
        }
