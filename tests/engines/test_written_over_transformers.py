"""Written checks by a real model: the same as asked by hand, and the same in any company."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tiny_llama import tiny_llama

from rtsearch_fast.engine.protocol import CompletionRequest
from rtsearch_fast.engine.template import Template
from rtsearch_fast.engine.transformers import TransformersEngine
from rtsearch_fast.reward.labels import positive_share
from rtsearch_fast.reward.question import JudgeTemplate
from rtsearch_fast.reward.written import WrittenReward


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TransformersEngine]:
    engine = TransformersEngine(tiny_llama(tmp_path_factory.mktemp("tiny")), dtype="float32")
    yield engine
    asyncio.run(engine.aclose())


def test_judgements_are_those_of_two_calls_by_hand(engine: TransformersEngine) -> None:
    # a random model never writes "Verdict:"; a letter ends its check now and then
    template = JudgeTemplate(Template("q", "{problem}\n{solution}\n"))
    reward = WrittenReward(engine, template, ("y", "n"), 12, verdict="e ")
    solutions = [(f"the {letter} tab", "ab.") for letter in "abcdefgh"]
    together = asyncio.run(reward.score("hat", solutions))
    alone = [asyncio.run(reward.score("hat", [steps]))[0] for steps in solutions]
    assert together == alone
    assert {1 <= judgement.num_tokens <= 13 for judgement in together} == {True}
    assert len({judgement.num_tokens for judgement in together}) > 1

    async def by_hand(steps: tuple[str, ...]) -> tuple[float, int]:
        prompt = f"hat\n{''.join(steps)}\n"
        request = CompletionRequest(prompt, (0,), 12, temperature=0.0, stop=("e",))
        (sample,) = await engine.complete(request)
        ((yes, no),) = await engine.label_logprobs(
            [f"{prompt}{sample.text.rstrip()}e "], ("y", "n")
        )
        return positive_share(yes, no), sample.num_tokens + 1

    for steps, judgement in zip(solutions, together, strict=True):
        assert asyncio.run(by_hand(steps)) == (judgement.score, judgement.num_tokens)
