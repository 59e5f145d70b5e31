"""A whole search through HTTP equals the same search with the same model in this process."""

from __future__ import annotations

import asyncio
import gc
import random

import pytest
from toy_models import toy_problem
from toy_text import POLICY_TEMPLATE, REWARD_TEMPLATE, ToyEngine, judge, write

from rtsearch_fast import Budget, Searcher, SearchOptions, SearchResult
from rtsearch_fast.engine.completions import CompletionsEngine
from rtsearch_fast.engine.protocol import Engine
from rtsearch_fast.engine.template import Template
from rtsearch_fast.policy.prompt import PromptTemplate
from rtsearch_fast.policy.prompted import PromptedPolicy
from rtsearch_fast.reward.generative import GenerativeReward
from rtsearch_fast.reward.question import JudgeTemplate

PROBLEMS = [toy_problem(random.Random(i), 3) for i in range(4)]


def search(engine: Engine, method: str, options: SearchOptions) -> list[SearchResult]:
    async def work() -> list[SearchResult]:
        try:
            searcher = Searcher(
                PromptedPolicy(engine, PromptTemplate(Template("toy", POLICY_TEMPLATE))),
                GenerativeReward(engine, JudgeTemplate(Template("toy", REWARD_TEMPLATE))),
                method=method,
                budget=Budget(tokens=500),
                options=options,
                concurrency=3,
            )
            return await searcher.solve_async(PROBLEMS)
        finally:
            await engine.aclose()

    return asyncio.run(work())


@pytest.mark.parametrize("dialect", ["vllm", "llama"])
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("mcts_g", {}),
        ("mcts_g", {"calculator": False, "value": "mix", "in_flight": 4}),
        ("best_of_n", {}),
        ("beam", {}),
        ("cot", {}),
    ],
)
def test_search_when_run_over_http_has_the_signatures_of_the_same_model_in_process(
    start_server, dialect, method, options
):
    server = start_server(write, judge, dialect=dialect)
    over_http = search(CompletionsEngine(server.base_url), method, SearchOptions(**options))
    in_process = search(ToyEngine(), method, SearchOptions(**options))
    assert [r.signature for r in over_http] == [r.signature for r in in_process]
    assert [r.candidates for r in over_http] == [r.candidates for r in in_process]
    assert [r.usage for r in over_http] == [r.usage for r in in_process]
    assert all(result.answer is not None for result in over_http)
    assert max(result.usage.tokens for result in over_http) <= 500


def test_searcher_when_it_solves_twice_needs_no_close_in_between(start_server):
    engine = CompletionsEngine(start_server().base_url)
    policy = PromptedPolicy(engine, PromptTemplate.load("plain"))
    searcher = Searcher(policy, GenerativeReward(engine), budget=Budget(tokens=200))
    first, second = searcher.solve("1 2 3"), searcher.solve("1 2 3")
    assert first.signature == second.signature
    gc.collect()  # what was left open would complain now
