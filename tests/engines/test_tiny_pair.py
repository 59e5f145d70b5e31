"""The pair that comes with the package: it loads everywhere, and does what its card says."""

from __future__ import annotations

import asyncio

import pytest

from rtsearch_fast import Budget, Problem, Searcher, SearchOptions
from rtsearch_fast.engine.embedded import SHIPPED_MODELS, embedded_model
from rtsearch_fast.tasks import FAMILIES, examples

pytest.importorskip("transformers")
pytest.importorskip("cyclopts")

#: Most that both may take in the wheel.
MOST_BYTES = 20_000_000


def test_pair_when_shipped_is_small_and_whole() -> None:
    files = [path for name in SHIPPED_MODELS for path in embedded_model(name).iterdir()]
    assert sum(path.stat().st_size for path in files) < MOST_BYTES
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".jinja"}


@pytest.mark.parametrize("name", SHIPPED_MODELS)
def test_pair_when_loaded_by_transformers_is_a_llama(name: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = str(embedded_model(name))
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    assert model.config.model_type == "llama"
    text = "Use each of 9, 23, 7 and 25 once to make 46.\n\n## Step 1: keep 23,7: 25-9=16"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode("Yes")) == len(tokenizer.encode("No")) == 1


@pytest.mark.parametrize(("method", "least"), [("best_of_n", 1), ("mcts_g", 5)])
def test_pair_when_it_searches_stays_in_its_budget_and_repeats_itself(
    method: str, least: int
) -> None:
    from rtsearch_fast.cli.models import Models
    from rtsearch_fast.cli.settings import ModelFlags

    found = examples("chain", split="heldout", count=12, seed=3)
    problems = [Problem(example.unique_id, example.problem) for example in found]
    options = SearchOptions(
        value="prefix",
        width=6,
        temperature=0.5,
        exploration=0.1,
        in_flight=1,
        narrow=True,
        max_solution_tokens=128,
        max_step_tokens=20,
    )

    def run(sequences: int) -> list[tuple[str | None, int, int]]:
        async def work() -> list[tuple[str | None, int, int]]:
            models = Models(ModelFlags())
            searcher = Searcher(
                models.policy,
                models.reward,
                method=method,
                budget=Budget(tokens=600),
                options=options,
                sequences=sequences,
            )
            try:
                results = await searcher.solve_async(problems)
            finally:
                await models.aclose()
            return [(r.answer, r.usage.tokens, r.signature) for r in results]

        return asyncio.run(work())

    first = run(8)
    assert first == run(64)
    assert all(tokens <= 600 for _, tokens, _ in first)
    right = [
        answer is not None and FAMILIES["chain"].is_right(example.problem, answer)
        for example, (answer, _, _) in zip(found, first, strict=True)
    ]
    assert sum(right) >= least


def test_pair_when_it_judges_meets_its_golden_scores() -> None:
    from rtsearch_fast.cli.models import Models
    from rtsearch_fast.cli.settings import ModelFlags

    async def gap(**flags: object) -> float | None:
        models = Models(ModelFlags(**flags))  # type: ignore[arg-type]
        try:
            return await models.check_reward()
        finally:
            await models.aclose()

    assert asyncio.run(gap()) is not None  # in the numbers of this processor
    assert asyncio.run(gap(reward_check_tokens=0)) is None  # another question has other scores


def test_golden_scores_when_computed_as_they_were_recorded_are_met_closely() -> None:
    from rtsearch_fast.engine.transformers import TransformersEngine
    from rtsearch_fast.reward.calculated import CalculatedReward
    from rtsearch_fast.reward.golden import Golden, check_golden
    from rtsearch_fast.reward.question import JudgeTemplate
    from rtsearch_fast.reward.written import WrittenReward

    async def gap() -> float:
        written = WrittenReward(
            TransformersEngine(embedded_model("tiny-reward"), dtype="float32"),
            JudgeTemplate.load("check"),
            check_tokens=80,
            prefixes="bare",
            bare_template=JudgeTemplate.load("verdict"),
            calculator=True,
        )
        try:
            return await check_golden(CalculatedReward(written), Golden.shipped("tiny-reward"))
        finally:
            await written.aclose()

    assert asyncio.run(gap()) < 0.01
