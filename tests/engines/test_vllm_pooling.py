"""Reward models on real vLLM servers: a language model turned into a classifier, and a tiny PRM."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from real_vllm import cache_hits, model_folder

from rtsearch_fast.engine.pooling import PoolingEngine
from rtsearch_fast.engine.server.process import VllmServer
from rtsearch_fast.engine.server.settings import ServerOptions
from rtsearch_fast.engine.transformers import TransformersEngine
from rtsearch_fast.errors import EngineError
from rtsearch_fast.reward.classifier import ClassifierReward
from rtsearch_fast.reward.generative import GenerativeReward
from rtsearch_fast.reward.golden import Golden, check_golden
from rtsearch_fast.reward.process import ProcessReward
from rtsearch_fast.reward.question import JudgeTemplate
from rtsearch_fast.reward.spec import RewardSpec

TEMPLATE = JudgeTemplate.load("chatml")
PROBLEM = "A shop sells pens at 3 dollars each. Tom buys 4 pens and pays with 20 dollars. Change?"
STEPS = ("## Step 1: Price\n4 * 3 = 12\n", "## Step 2: Change\n20 - 12 = 8\n", "## Answer\n8")
SOLUTIONS = [STEPS[:1], STEPS, (*STEPS[:2], "No, no, no.")]
#: Any token of the tokenizer that no text holds.
TAG, TAG_ID = "<file_sep>", 5
#: The format of Qwen2.5-Math-PRM, without the ids of its vocabulary, and with this tag.
QWEN = replace(RewardSpec.load("qwen2.5-math-prm"), tokens={})
PRM = replace(QWEN, step=f"{{step}}{TAG}{{read}}", tag=TAG)


@pytest.fixture(scope="module")
def folder() -> Path:
    return model_folder()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the servers' files apart from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RTSEARCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def options(task: str, *extra: str) -> ServerOptions:
    # 16-bit numbers move these scores by up to 0.06, which would hide a fault
    return ServerOptions(task, dtype="float32", block_size=32, kv_cache_gib=1, extra=extra)


@pytest.fixture(scope="module")
def classifier(folder: Path, cache: None) -> Iterator[VllmServer]:
    overrides = {"classifier_from_token": ["No", "Yes"], "method": "from_2_way_softmax"}
    extra = ("--hf-overrides", json.dumps(overrides))
    with VllmServer(str(folder), port=0, options=options("classify", *extra)) as server:
        yield server


@pytest.fixture(scope="module")
def process_model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2ForProcessRewardModel of random weights, with the tokenizer of the embedded model."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file
    from transformers import Qwen2Config, Qwen2Model

    config = Qwen2Config(
        vocab_size=49152,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
    )
    generator = torch.Generator().manual_seed(0)

    def random(shape: tuple[int, ...]):
        return 0.2 * torch.randn(shape, generator=generator)

    weights = {
        f"model.{name}": value if "norm" in name else random(value.shape)
        for name, value in Qwen2Model(config).state_dict().items()
    }
    for layer, rows in (("score.0", 64), ("score.2", 2)):
        weights[f"{layer}.weight"], weights[f"{layer}.bias"] = random((rows, 64)), random((rows,))
    path = tmp_path_factory.mktemp("models") / "tiny-prm"
    path.mkdir()
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    architecture = {"architectures": ["Qwen2ForProcessRewardModel"], "dtype": "float32"}
    (path / "config.json").write_text(json.dumps(config.to_dict() | architecture, default=str))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / name, path)
    return path


@pytest.fixture(scope="module")
def process_server(process_model: Path, cache: None) -> Iterator[VllmServer]:
    # vLLM would look for the tag of Qwen2.5-Math-PRM, which is no token of this tokenizer
    pooling = {"task": "token_classify", "tok_pooling_type": "STEP", "step_tag_id": TAG_ID}
    extra = ("--pooler-config", json.dumps(pooling))
    asked = options("process-reward", *extra)
    with VllmServer(str(process_model), port=0, options=asked) as server:
        yield server


def scores(reward, *solutions: tuple[str, ...], problem: str = PROBLEM) -> list[float]:
    async def work() -> list[float]:
        try:
            return [judgement.score for judgement in await reward.score(problem, solutions)]
        finally:
            await reward.aclose()

    return asyncio.run(work())


@pytest.fixture(scope="module")
def next_word_scores(folder: Path) -> list[float]:
    """Those of the same model, generating in this process; before a server takes the cores."""
    judge = GenerativeReward(TransformersEngine(folder, dtype="float32"), TEMPLATE)
    return scores(judge, *SOLUTIONS)


def test_classifier_when_made_of_a_language_model_scores_as_its_next_word(
    next_word_scores, classifier
):
    engine = PoolingEngine(classifier.base_url)
    found = scores(ClassifierReward(engine, TEMPLATE), *SOLUTIONS)
    assert found == pytest.approx(next_word_scores, abs=0.002)
    assert max(found) - min(found) > 0.02


def test_classifier_when_made_of_the_embedded_model_gives_its_golden_scores(classifier):
    async def work() -> float:
        reward = ClassifierReward(PoolingEngine(classifier.base_url), TEMPLATE)
        try:
            return await check_golden(reward, Golden.shipped())
        finally:
            await reward.aclose()

    assert asyncio.run(work()) < 0.002


def test_classifier_when_a_problem_is_judged_again_finds_it_in_the_prefix_cache(classifier):
    engine = PoolingEngine(classifier.base_url)
    problem = "How many legs have " + ", ".join(f"{n} cats" for n in range(2, 40)) + "?"
    scores(ClassifierReward(engine, TEMPLATE), STEPS[:1], problem=problem)
    before = cache_hits(classifier)
    scores(ClassifierReward(engine, TEMPLATE), STEPS[:2], problem=problem)
    assert cache_hits(classifier) - before >= 32


def test_classifier_when_asked_for_single_tokens_says_how_to_start_it(classifier):
    engine = PoolingEngine(classifier.base_url)
    with pytest.raises(EngineError, match=r"start vLLM with --runner pooling --pooler-config "):
        scores(ProcessReward(engine, QWEN), STEPS)
    (models, task) = asyncio.run(PoolingEngine(classifier.base_url).probe("classify"))
    assert models.ok and task.ok


def longhand(model: Path, text: str) -> list[float]:
    """The probability of class 1 at each tag, in torch."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoTokenizer, Qwen2Config, Qwen2Model

    weights = load_file(model / "model.safetensors")
    body = Qwen2Model(Qwen2Config.from_pretrained(model)).float().eval()
    prefix = "model."
    body.load_state_dict(
        {key[len(prefix) :]: w for key, w in weights.items() if key.startswith(prefix)}
    )
    tokenizer = AutoTokenizer.from_pretrained(model)
    ids = torch.tensor([tokenizer.encode(text, add_special_tokens=False)])
    with torch.no_grad():
        hidden = body(ids).last_hidden_state[0]
    inner = torch.relu(hidden @ weights["score.0.weight"].T + weights["score.0.bias"])
    logits = inner @ weights["score.2.weight"].T + weights["score.2.bias"]
    at_tags = ids[0] == tokenizer.convert_tokens_to_ids(TAG)
    return torch.softmax(logits, -1)[at_tags, 1].tolist()


def test_process_reward_when_served_gives_each_step_what_torch_computes(
    process_server, process_model
):
    async def work() -> list[tuple[float, ...]]:
        reward = ProcessReward(PoolingEngine(process_server.base_url), PRM)
        try:
            return await reward.step_scores(PROBLEM, SOLUTIONS)
        finally:
            await reward.aclose()

    found = asyncio.run(work())
    assert [len(steps) for steps in found] == [1, 3, 3]
    for steps, solution in zip(found, SOLUTIONS, strict=True):
        text = PRM.process.render(PROBLEM, solution)
        assert steps == pytest.approx(longhand(process_model, text), abs=1e-4)
    # a causal model judges a step by what comes before it
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-4)
    values = [value for steps in found for value in steps]
    assert max(values) - min(values) > 0.05


def test_process_reward_when_the_tag_is_no_token_says_so(process_server):
    reward = ProcessReward(PoolingEngine(process_server.base_url), QWEN)
    with pytest.raises(EngineError, match="the step tag '<extra_0>' is 5 tokens"):
        scores(reward, STEPS)
