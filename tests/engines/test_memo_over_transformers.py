"""The memo over a real engine: what it cuts from a kept sample is what the engine would give."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tiny_llama import tiny_llama  # noqa: E402

from rtsearch_fast import Budget, Problem, SampleRequest, Searcher, SearchOptions  # noqa: E402
from rtsearch_fast.engine.template import Template  # noqa: E402
from rtsearch_fast.engine.transformers import TransformersEngine  # noqa: E402
from rtsearch_fast.policy.prompt import PromptTemplate  # noqa: E402
from rtsearch_fast.policy.prompted import PromptedPolicy  # noqa: E402
from rtsearch_fast.reward.generative import GenerativeReward  # noqa: E402
from rtsearch_fast.reward.question import JudgeTemplate  # noqa: E402
from rtsearch_fast.runs.memo import MemoPolicy, MemoReward  # noqa: E402


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TransformersEngine]:
    engine = TransformersEngine(tiny_llama(tmp_path_factory.mktemp("tiny")), dtype="float32")
    yield engine
    asyncio.run(engine.aclose())


def models(engine: TransformersEngine) -> tuple[PromptedPolicy, GenerativeReward]:
    question = JudgeTemplate(Template("q", "{problem}\n{solution}\n"))
    policy = PromptedPolicy(engine, PromptTemplate(Template("p", "{problem}\n")))
    return policy, GenerativeReward(engine, question, ("a", "b"))


def test_samples_with_any_limit_are_those_of_the_engine(engine: TransformersEngine) -> None:
    policy, _ = models(engine)
    memo = MemoPolicy(policy)
    rng = random.Random(3)
    base = SampleRequest("ab the", ("the\n",), (1, 2, 3), 40, stop=("ab", "th."))
    limits = [40, *(rng.randrange(1, 60) for _ in range(40))]
    for limit in limits:
        request = replace(base, max_tokens=limit)
        kept, fresh = asyncio.run(memo.sample(request)), asyncio.run(policy.sample(request))
        for a, b in zip(kept, fresh, strict=True):
            assert replace(a, logprob=0.0) == replace(b, logprob=0.0)
            assert math.isnan(a.logprob) or a.logprob == b.logprob
    assert memo.stats.known > 0.8 * (memo.stats.known + memo.stats.asked)


def test_searches_with_a_memo_have_the_same_signatures(engine: TransformersEngine) -> None:
    policy, reward = models(engine)
    kept = MemoPolicy(policy), MemoReward(reward)
    problems = [Problem(str(i), text) for i, text in enumerate(("ab the", "hat", "a tab"))]
    for method in ("best_of_n", "mcts", "mcts_g", "beam"):
        for tokens in (240, 120, 60):
            searches = [
                Searcher(
                    *pair,
                    method=method,
                    budget=Budget(tokens=tokens),
                    options=SearchOptions(max_solution_tokens=30, max_step_tokens=10, width=2),
                    splitter="string:e",
                )
                for pair in (kept, (policy, reward))
            ]
            found = [asyncio.run(search.solve_async(problems)) for search in searches]
            assert [r.signature for r in found[0]] == [r.signature for r in found[1]]
    assert kept[0].stats.known > 0 and kept[1].stats.known >= 0
