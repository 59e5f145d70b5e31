"""The approaches: a batch of problems in, n completions of each out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...aio import run_apart, together
from ...search import votes
from ...search.driver import Driver
from ...search.methods import make_method
from ...search.records import Candidate, Problem
from ...search.task import Method
from ...splitters import StringSplitter
from ...steps import Splitter
from ..foreign import ForeignReward
from .beam import RoundBeam
from .models import StepScores, make_policy
from .recipe import Plan, options_of

__all__ = [
    "APPROACHES",
    "rtsearch_beam_search",
    "rtsearch_best_of_n",
    "rtsearch_mcts",
    "rtsearch_mcts_g",
]


@dataclass(frozen=True)
class _Paragraphs(StringSplitter):
    """One step ends with each blank line; texts stay as they were written."""

    def close(self, text: str, finish_reason: str, before: str = "") -> str:
        whole = finish_reason != "stop" or text.endswith(self.sep)
        return text if whole else text + self.sep


@dataclass(frozen=True)
class _OnePiece:
    """A whole solution is one step, whatever stands in it."""

    name = "whole"
    lead = ""
    stop = ()
    max_tokens = None

    def close(self, text: str, finish_reason: str, before: str = "") -> str:
        return text

    def split(self, text: str) -> list[str]:
        return [text] if text else []

    def is_final(self, steps: Sequence[str], finish_reason: str) -> bool:
        return finish_reason == "eos"


def _search(
    approach: str, x: Mapping[str, Any], config: Any, llm: Any, prm: Any, base_url: str | None
) -> dict[str, list[Any]]:
    config = copy(config)
    config.approach = approach
    plan = options_of(config)
    policy = make_policy(config, llm, base_url)
    return run_apart(_solve_all(plan, x["problem"], policy, StepScores(prm, plan.batch)))


#: Stands for the solutions of a search that found none.
_NOTHING = Candidate((), None, 0.0, 0, False)


async def _solve_all(
    plan: Plan, questions: Sequence[str], policy: Any, step_scores: StepScores
) -> dict[str, list[Any]]:
    """Search all problems at once, and have judged what the search did not ask about."""
    reward = ForeignReward("prm", step_scores, aggregation=plan.aggregation)
    problems = _problems(questions)
    method: Method
    splitter: Splitter = _Paragraphs()
    if plan.method == "beam":
        method, options = RoundBeam(plan), plan.options
    else:
        method, options = make_method(plan.method, plan.options, plan.budget)
        if plan.method == "best_of_n":
            splitter = _OnePiece()
    driver = Driver(
        policy,
        reward,
        method,
        method_name=plan.method,
        splitter=splitter,
        budget=plan.budget,
        options=options,
        sequences=max(128, plan.n * len(problems)),
        concurrency=max(1, len(problems)),
    )
    found = {r.problem.unique_id: r.candidates async for r in driver.run(problems)}
    columns: dict[str, list[Any]] = {
        name: [] for name in ("completions", "scores", "pred", "completion_tokens")
    }
    missing = (step_scores(p.problem, [c.steps for c in found[p.unique_id]]) for p in problems)
    for problem, scores in zip(problems, await together(missing), strict=True):
        candidates = found[problem.unique_id]
        judged = list(zip(candidates, scores, strict=True)) or [(_NOTHING, [0.0])]
        if plan.sort_completed:
            judged.sort(key=lambda entry: -plan.score(entry[1]))
        judged = [judged[i % len(judged)] for i in range(plan.n)]
        columns["completions"].append([candidate.text for candidate, _ in judged])
        columns["scores"].append([scores for _, scores in judged])
        columns["pred"].append(judged[_chosen(plan, judged)][0].text)
        columns["completion_tokens"].append([candidate.num_tokens for candidate, _ in judged])
    return columns


def _problems(questions: Sequence[str]) -> list[Problem]:
    """Seeds come from the text, not from its place in a batch; the same text twice differs."""
    seen: Counter[str] = Counter()
    problems = []
    for question in questions:
        problems.append(Problem(f"{seen[question]}/{question}", question))
        seen[question] += 1
    return problems


def _chosen(plan: Plan, judged: Sequence[tuple[Candidate, list[float]]]) -> int:
    """The completion that is the prediction: of MCTS by weighted vote, otherwise the best."""
    if plan.method in ("mcts", "mcts_g"):
        voted = votes.weighted([candidate for candidate, _ in judged])
        if voted is not None:
            return voted
    return int(np.argmax([plan.score(scores) for _, scores in judged]))


def rtsearch_best_of_n(
    x: Mapping[str, Any], config: Any, llm: Any, prm: Any, *, base_url: str | None = None
) -> dict[str, list[Any]]:
    """Write n whole solutions of each problem, predict the one with the highest score.

    Parameters
    ----------
    x : mapping
        ``x["problem"]`` are the problems of a batch.
    config : sal.config.Config, or anything with its fields
        See `options_of`.
    llm : vllm.LLM or None
    prm : sal.models.reward_models.PRM, or anything with its ``score(questions, outputs)``
        Scores in [0, 1].
    base_url : str, optional
        Of an OpenAI-compatible server, with ``llm=None``.

    Returns
    -------
    dict
        Of each problem ``completions`` (n texts), ``scores`` (their steps' scores), ``pred`` (one
        of them) and ``completion_tokens`` (n counts). Where a search ended with fewer solutions,
        they are repeated; where it ended with none, they are empty.

    Raises
    ------
    InvalidArgumentError
        A setting cannot be honoured.
    EngineError, AnswerFormatError
        A model failed, or answered in another shape.
    """
    return _search("best_of_n", x, config, llm, prm, base_url)


def rtsearch_beam_search(
    x: Mapping[str, Any], config: Any, llm: Any, prm: Any, *, base_url: str | None = None
) -> dict[str, list[Any]]:
    """search-and-learn's beam search, any number of problems at once; see `rtsearch_best_of_n`."""
    return _search("beam_search", x, config, llm, prm, base_url)


def rtsearch_mcts(
    x: Mapping[str, Any], config: Any, llm: Any, prm: Any, *, base_url: str | None = None
) -> dict[str, list[Any]]:
    """MCTS with rollouts, of n solutions; see `rtsearch_best_of_n`."""
    return _search("mcts", x, config, llm, prm, base_url)


def rtsearch_mcts_g(
    x: Mapping[str, Any], config: Any, llm: Any, prm: Any, *, base_url: str | None = None
) -> dict[str, list[Any]]:
    """MCTS_G with rollouts, of n solutions; see `rtsearch_best_of_n`."""
    return _search("mcts_g", x, config, llm, prm, base_url)


#: By what stands in a recipe's ``approach``.
APPROACHES: dict[str, Callable[..., dict[str, list[Any]]]] = {
    approach.__name__: approach
    for approach in (rtsearch_best_of_n, rtsearch_beam_search, rtsearch_mcts, rtsearch_mcts_g)
}
