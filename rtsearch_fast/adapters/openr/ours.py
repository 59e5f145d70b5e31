"""This package's own searches over OpenR's two models."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ...policy.protocol import SampleRequest
from ...search.options import Budget, SearchOptions
from ...search.records import Problem, SearchResult
from ...search.searcher import Searcher
from ...splitters import StringSplitter
from ..foreign import Continuation, ForeignPolicy, ForeignReward
from .models import Models, Text, setting
from .output import Solutions, all_at_the_end

__all__ = ["best_of_n", "tree_search"]


async def best_of_n(models: Models, config: Any, question: str) -> Solutions:
    """Write `num_sequence` whole solutions in one call, as OpenR does."""
    texts = await models.write(
        question,
        "",
        setting(config, "num_sequence"),
        step=False,
        max_tokens=models.gen_config.max_new_tokens,
    )
    tokens = [text.num_tokens for text in texts]
    return Solutions([text.text for text in texts], tokens, tokens)


def tree_search(
    method: str,
) -> Callable[[Models, Any, Sequence[str]], Awaitable[list[Solutions]]]:
    """One of `rtsearch_fast.METHODS` with a tree, over all questions at once."""

    async def solve(models: Models, config: Any, questions: Sequence[str]) -> list[Solutions]:
        wanted = setting(config, "num_path")
        searcher = _searcher(method, models, config, wanted)
        problems = [Problem(str(i), question) for i, question in enumerate(questions)]
        results = await searcher.solve_async(problems)
        return [_solutions(result, wanted) for result in results]

    return solve


def _searcher(method: str, models: Models, config: Any, wanted: int) -> Searcher:
    width, gen_config = setting(config, "tree_max_width"), models.gen_config
    separator = models.prompt.separator

    async def write(request: SampleRequest) -> list[Continuation]:
        texts = await models.write(
            request.problem,
            "".join(request.steps),
            len(request.seeds),
            step=bool(request.stop),
            max_tokens=request.max_tokens,
        )
        return [_continuation(text, separator if request.stop else None) for text in texts]

    async def score(problem: str, solutions: Sequence[tuple[str, ...]]) -> list[list[float]]:
        return await models.step_scores(problem, ["".join(steps) for steps in solutions])

    return Searcher(
        ForeignPolicy("openr-lm", write),
        ForeignReward("openr-rm", score),
        method=method,
        # a simulation rolls out one solution for each child
        budget=Budget(simulations=-(-wanted // width)),
        options=SearchOptions(
            width=width,
            max_depth=setting(config, "tree_max_depth"),
            temperature=gen_config.temperature,
            top_p=gen_config.top_p,
            max_step_tokens=gen_config.max_new_tokens,
            max_solution_tokens=gen_config.max_new_tokens,
            calculator=False,
        ),
        splitter=StringSplitter(separator),
    )


def _continuation(text: Text, separator: str | None) -> Continuation:
    """OpenR's finish reason does not tell a stop string from the end of the text; the text does."""
    if text.finish_reason == "length":
        return Continuation(text.text, text.num_tokens, "length")
    if separator is not None and text.text.endswith(separator):
        return Continuation(text.text.removesuffix(separator), text.num_tokens, "stop")
    return Continuation(text.text, text.num_tokens, "eos")


def _solutions(result: SearchResult, wanted: int) -> Solutions:
    texts = [candidate.text for candidate in result.candidates[:wanted]]
    tokens = result.usage.policy_tokens
    return all_at_the_end(texts or [""], tokens, tokens)
