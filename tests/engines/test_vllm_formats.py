"""Every format whose models vLLM can serve, on real servers; the plugin for heads among them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from real_vllm import cache_hits, model_folder

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tiny_rewards import byte_level, sentence_piece, tiny_reward  # noqa: E402

from rtsearch_fast.engine.completions import CompletionsEngine  # noqa: E402
from rtsearch_fast.engine.heads import HeadEngine  # noqa: E402
from rtsearch_fast.engine.pooling import PoolingEngine  # noqa: E402
from rtsearch_fast.engine.served_heads import ServedHeads  # noqa: E402
from rtsearch_fast.engine.server.process import VllmServer  # noqa: E402
from rtsearch_fast.engine.server.settings import ServerOptions  # noqa: E402
from rtsearch_fast.engine.transformers import TransformersEngine  # noqa: E402
from rtsearch_fast.reward.make import AnyEngine, make_reward  # noqa: E402
from rtsearch_fast.reward.process import ProcessReward  # noqa: E402
from rtsearch_fast.reward.spec import RewardSpec  # noqa: E402

PROBLEM = "A shop sells pens at 3 dollars each. Tom buys 4 pens and pays with 20 dollars. Change?"
STEPS = ("## Step 1: Price\n4 * 3 = 12\n", "## Step 2: Change\n20 - 12 = 8\n", "## Answer\n8")
SOLUTIONS = [STEPS[:1], STEPS, (*STEPS[:2], "No, no, no.")]


@dataclass(frozen=True)
class Served:
    """A model of a class, how it is served, and the formats of such models.

    "chat" is the embedded chat model, the others are small and random.
    """

    kind: str
    family: str
    task: str
    formats: tuple[str, ...]
    tokenizer: Callable[[], object] = byte_level

    def reader(self, server: VllmServer) -> AnyEngine:
        """What reads the server."""
        if self.task == "policy":
            return CompletionsEngine(server.base_url)
        return ServedHeads(PoolingEngine(server.base_url))

    def here(self, folder: Path, spec: RewardSpec) -> AnyEngine:
        """What reads the model in this process."""
        if spec.writes or (spec.read == "label" and not spec.step):
            return TransformersEngine(folder, dtype="float32")
        return HeadEngine(folder, labels=spec.labels or None, dtype="float32")


MODELS = {
    "chat": Served("chat", "Llama", "policy", ("generative", "written", "judge", "thinkprm")),
    "labels": Served("CausalLM", "Llama", "policy", ("rlhflow-prm", "rlhflow-orm", "er-prm")),
    "labels of other lines": Served("CausalLM", "Qwen2", "policy", ("openr",)),
    "labels of pieces": Served("CausalLM", "Mistral", "policy", ("math-shepherd",), sentence_piece),
    "two layers": Served("ProcessReward", "Qwen2", "reward-head", ("qwen2.5-math-prm",)),
    "value": Served("v_head", "Llama", "reward-head", ("skywork-o1-prm", "pqm")),
    "sequence": Served(
        "SequenceClassification", "Llama", "classify", ("skywork-reward", "qwen2.5-math-rm")
    ),
}
#: What is written is short here, so that it costs seconds.
WRITTEN = 12
SHAPE = {"hidden_size": 64, "num_attention_heads": 2, "max_position_embeddings": 2048}


@pytest.fixture(scope="module", params=MODELS)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Served, Path, VllmServer]]:
    folder, model = model_folder(), MODELS[request.param]
    if model.kind != "chat":
        folder = tiny_reward(
            tmp_path_factory.mktemp("models") / "tiny",
            model.kind,
            model.tokenizer(),
            family=model.family,
            **SHAPE,
            **({"num_labels": 1} if model.kind == "SequenceClassification" else {}),
        )
    options = ServerOptions(model.task, dtype="float32", block_size=32, kv_cache_gib=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RTSEARCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        with VllmServer(str(folder), port=0, options=options) as server:
            yield model, folder, server


def all_scores(spec: RewardSpec, engine: AnyEngine) -> list[float]:
    """Of ragged candidates; those of steps, where the format has such."""

    async def work() -> list[float]:
        reward = make_reward(spec, engine)
        try:
            if isinstance(reward, ProcessReward):
                found = await reward.step_scores(PROBLEM, SOLUTIONS)
                assert [len(steps) for steps in found] == [1, 3, 3]
                return [score for steps in found for score in steps]
            return [judged.score for judged in await reward.score(PROBLEM, SOLUTIONS)]
        finally:
            await reward.aclose()

    return asyncio.run(work())


def test_format_when_served_scores_as_in_this_process(served) -> None:
    model, folder, server = served
    for name in model.formats:
        spec = replace(RewardSpec.load(name), tokens={})
        spec = replace(spec, max_tokens=min(spec.max_tokens, WRITTEN))
        found = all_scores(spec, model.reader(server))
        here = all_scores(spec, model.here(folder, spec))
        assert found == pytest.approx(here, abs=1e-3, nan_ok=True), name
        if spec.read in ("verdicts", "json"):  # which so small a model does not come to
            continue
        assert max(found) - min(found) > 0.005, name


def test_format_when_a_solution_goes_on_finds_it_in_the_prefix_cache(served) -> None:
    model, _, server = served
    spec = replace(RewardSpec.load(model.formats[0]), tokens={})
    steps = tuple(f"## Step {n}: {n} + 1 = {n + 1}.\n\n" for n in range(1, 21))

    async def work() -> float:
        reward = make_reward(spec, model.reader(server))
        try:
            await reward.score(PROBLEM, [steps])
            before = cache_hits(server)
            await reward.score(PROBLEM, [(*steps, "## Step 21: So 3.\n\n")])
            return cache_hits(server) - before
        finally:
            await reward.aclose()

    # all whole blocks but the last
    assert asyncio.run(work()) >= 4 * 32
