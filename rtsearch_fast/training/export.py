"""The data sets of the loop as rows: in TRL's formats, for `rtsearch train`, in others' columns.

TRL's formats (its page "Dataset formats and types") carry the finished prompt: prompt-completion,
preference, unpaired preference, and stepwise supervision, which it had until 1.15. Those of
`rtsearch train` carry the problem, and the trainer makes the prompt. Math-Shepherd's and MATH-APS's
are what other trainers of process reward models read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from ..engine.template import Template, neutralise
from ..errors import InvalidArgumentError
from ..policy.prompt import PromptTemplate
from ..reward.spec import RewardSpec
from .labels import StepLabels
from .pairs import Pair
from .samples import Sampled
from .step_pairs import StepPair
from .tables import Columns

__all__ = [
    "COLUMNS",
    "best_of_each",
    "dpo_rows",
    "math_aps_rows",
    "math_shepherd_rows",
    "preference_rows",
    "process_rows",
    "prompt_completion_rows",
    "reward_rows",
    "sft_rows",
    "step_dpo_rows",
    "step_preference_rows",
    "stepwise_rows",
    "unpaired_rows",
]

_TEXT_PAIR = {"chosen": "string", "rejected": "string"}
_SCORES = {"chosen_score": "float64", "rejected_score": "float64", "margin": "float64"}

#: Of each kind of rows the columns, with their types.
COLUMNS: Mapping[str, Columns] = {
    "prompt-completion": {"prompt": "string", "completion": "string"},
    "preference": {"prompt": "string", **_TEXT_PAIR, "margin": "float64"},
    "step-preference": {"prompt": "string", **_TEXT_PAIR, "margin": "float64"},
    "unpaired": {"prompt": "string", "completion": "string", "label": "bool"},
    "stepwise": {
        "prompt": "string",
        "completions": ["string"],
        "labels": ["bool"],
        "values": ["float64"],
    },
    "sft": {"problem": "string", "solution": ["string"]},
    "dpo": {"problem": "string", **_TEXT_PAIR, **_SCORES},
    "step-dpo": {"problem": "string", "prefix": ["string"], **_TEXT_PAIR, **_SCORES},
    "reward": {"problem": "string", "solution": ["string"], "label": "bool", "score": "float64"},
    "process": {
        "problem": "string",
        "steps": ["string"],
        "labels": ["float64"],
        "counts": ["int64"],
    },
    "math-shepherd": {
        "input": "string",
        "label": "string",
        "task": "string",
        "values": ["float64"],
    },
    "math-aps": {
        "question_id": "string",
        "question": "string",
        "final_answer": "string",
        "reasoning_steps": [{"solution_prefix": "string", "mc_value": "float64"}],
    },
}

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
    """DPO: ``{"prompt", "chosen", "rejected", "margin"}``.

    The margin is the difference of the scores: below 0 where the wrong solution was taken for the
    better one.
    """
    for pair in pairs:
        yield {
            "prompt": prompt.render(pair.problem),
            "chosen": neutralise(pair.chosen),
            "rejected": neutralise(pair.rejected),
            "margin": pair.chosen_score - pair.rejected_score,
        }


def step_preference_rows(pairs: Iterable[StepPair], prompt: PromptTemplate) -> Rows:
    """Step-level DPO: as `preference_rows`; the prompt goes on to the steps before.

    TRL's DPOTrainer puts the end of a text behind both steps; `step_dpo_rows` are for a trainer
    that does not.

    Examples
    --------
    >>> pair = StepPair("1", "1 + 1", ("a\\n\\n",), "b", "c", 0.75, 0.5)
    >>> (row,) = step_preference_rows([pair], PromptTemplate.load("bare"))
    >>> row
    {'prompt': '1 + 1\\n\\na\\n\\n', 'chosen': 'b', 'rejected': 'c', 'margin': 0.25}
    """
    for pair in pairs:
        yield {
            "prompt": prompt.render(pair.problem, pair.prefix),
            "chosen": neutralise(pair.chosen),
            "rejected": neutralise(pair.rejected),
            "margin": pair.chosen_value - pair.rejected_value,
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
    """Process rewards: ``{"prompt", "completions", "labels", "values"}``, an entry a step.

    Labels are truth values, values what they are made of.

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
    >>> row["completions"], row["labels"], row["values"]
    (['a', 'b'], [True, False], [0.5, 0.0])
    """
    _check(threshold)
    for found in labels:
        yield {
            "prompt": prompt.render(found.problem),
            "completions": [neutralise(step) for step in found.steps],
            "labels": [value > threshold for value in found.values],
            "values": list(found.values),
        }


# --- other trainers of process reward models ----------------------------------------------


def math_shepherd_rows(
    labels: Iterable[StepLabels], *, threshold: float = 0.0, task: str = "MATH"
) -> Rows:
    """Math-Shepherd: ``{"input", "label", "task", "values"}``.

    The text is the one that the reward format "math-shepherd" shows its model. In the input each
    step ends in the tag "ки", in the label in + or - instead; values are of the steps.

    Parameters
    ----------
    labels : iterable of StepLabels
    threshold : float
        As `stepwise_rows`.
    task : str
        What the column `task` says.

    Examples
    --------
    >>> found = StepLabels("1", "1 + 1", ("## Step 1: Add\\n2", "So 3."), (0.5, 0.0), (2, 1))
    >>> (row,) = math_shepherd_rows([found])
    >>> print(row["label"])
    1 + 1 Step 1: Add 2 +
    So 3. -
    """
    _check(threshold)
    spec = RewardSpec.load("math-shepherd")
    text = Template(spec.name, spec.template.removeprefix("<s>"))
    template = dataclasses.replace(spec.process, template=text)
    for found in labels:
        laid = template.lay(found.problem, found.steps)
        label, start = "", 0
        for mark, value in zip(laid.marks, found.values, strict=True):
            label += laid.text[start : mark - len(spec.tag)] + (" +" if value > threshold else " -")
            start = mark
        yield {"input": laid.text, "label": label, "task": task, "values": list(found.values)}


def math_aps_rows(labels: Iterable[StepLabels]) -> Rows:
    """MATH-APS: ``{"question_id", "question", "final_answer", "reasoning_steps"}``, one a question.

    Reasoning steps are all beginnings of solutions, each with its value:
    ``{"solution_prefix", "mc_value"}``. The final answer is null where none is known to be right.

    Examples
    --------
    >>> found = StepLabels("1", "1 + 1", ("a ", "b"), (0.5, 0.0), (2, 1), "2")
    >>> (row,) = math_aps_rows([found])
    >>> row["final_answer"], row["reasoning_steps"][1]
    ('2', {'solution_prefix': 'a b', 'mc_value': 0.0})
    """
    for (unique_id, problem), group in groupby(labels, key=_question):
        values: dict[str, float] = {}
        for found in group:
            for i, value in enumerate(found.values):
                values.setdefault("".join(found.steps[: i + 1]).rstrip(), value)
        yield {
            "question_id": unique_id,
            "question": neutralise(problem),
            "final_answer": None if found.answer is None else neutralise(found.answer),
            "reasoning_steps": [
                {"solution_prefix": neutralise(text), "mc_value": value}
                for text, value in values.items()
            ],
        }


def _question(found: StepLabels) -> tuple[str, str]:
    return found.unique_id, found.problem


def _check(threshold: float) -> None:
    if not 0 <= threshold < 1:
        raise InvalidArgumentError(f"threshold={threshold}: give a share in [0, 1)")


# --- rtsearch train -----------------------------------------------------------------------


def sft_rows(samples: Iterable[Sampled]) -> Rows:
    """``{"problem", "solution"}`` of the right samples; a solution is a list of steps."""
    for sample in samples:
        if sample.right:
            yield {"problem": sample.problem, "solution": list(sample.solution)}


def best_of_each(questions: Iterable[list[Sampled]], count: int) -> Iterator[list[Sampled]]:
    """Of each question the right samples with the highest scores, at most `count`.

    Examples
    --------
    >>> samples = [Sampled("1", "?", (str(s),), None, True, s) for s in (0.2, float("nan"), 0.9)]
    >>> [[sample.score for sample in group] for group in best_of_each([samples], 2)]
    [[0.9, 0.2]]
    """
    if count < 1:
        raise InvalidArgumentError(f"per_question={count}: must be at least 1")
    for group in questions:
        right = [sample for sample in group if sample.right]
        yield sorted(right, key=lambda s: s.score if s.scored else -1.0, reverse=True)[:count]


def reward_rows(samples: Iterable[Sampled]) -> Rows:
    """``{"problem", "solution", "label", "score"}``.

    The label is the outcome; the score what the reward model said, null where it was not asked.

    Examples
    --------
    >>> list(reward_rows([Sampled("1", "1 + 1", ("\\\\boxed{3}",), "3", False)]))
    [{'problem': '1 + 1', 'solution': ['\\\\boxed{3}'], 'label': False, 'score': None}]
    """
    for sample in samples:
        yield {
            "problem": sample.problem,
            "solution": list(sample.solution),
            "label": sample.right,
            "score": sample.score if sample.scored else None,
        }


def dpo_rows(pairs: Iterable[Pair]) -> Rows:
    """``{"problem", "chosen", "rejected", "chosen_score", "rejected_score", "margin"}``."""
    for pair in pairs:
        yield {
            "problem": pair.problem,
            "chosen": pair.chosen,
            "rejected": pair.rejected,
            "chosen_score": pair.chosen_score,
            "rejected_score": pair.rejected_score,
            "margin": pair.chosen_score - pair.rejected_score,
        }


def step_dpo_rows(pairs: Iterable[StepPair]) -> Rows:
    """As `dpo_rows`, of single steps with their values; `prefix` is a list, the steps before."""
    for pair in pairs:
        yield {
            "problem": pair.problem,
            "prefix": list(pair.prefix),
            "chosen": pair.chosen,
            "rejected": pair.rejected,
            "chosen_score": pair.chosen_value,
            "rejected_score": pair.rejected_value,
            "margin": pair.chosen_value - pair.rejected_value,
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
