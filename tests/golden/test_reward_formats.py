"""Every format on a small random model of its class: scores as its definition, written longhand.

The definitions are those of the models' own programs, in float64, on token ids put together as they
do it, and know nothing of `RewardSpec`.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tiny_rewards import (  # noqa: E402
    byte_level,
    hidden64,
    sentence_piece,
    stored,
    tiny_reward,
    weights64,
)

from rtsearch_fast.engine.heads import HeadEngine  # noqa: E402
from rtsearch_fast.engine.transformers import TransformersEngine  # noqa: E402
from rtsearch_fast.reward.explain import explain  # noqa: E402
from rtsearch_fast.reward.make import make_reward  # noqa: E402
from rtsearch_fast.reward.spec import RewardSpec  # noqa: E402
from rtsearch_fast.reward.spec_file import shipped_specs  # noqa: E402

PROBLEM = "What is 1+2*3?"
SHORT = ("## Step 1: 2*3=6.\n\n",)
LONG = ("## Step 1: 2*3=6.\n\n", "## Step 2: 1+6\n= 8\n\n", "## Answer\n\\boxed{8}")
#: In one line without the marks of a header, as most of these models were shown steps.
LINES = ["Step 1: 2*3=6.", "Step 2: 1+6 = 8", "Answer \\boxed{8}"]
#: The same, line ends kept.
PLAIN = ["Step 1: 2*3=6.", "Step 2: 1+6\n= 8", "Answer\n\\boxed{8}"]
BYTES, PIECES = byte_level(), sentence_piece()


def spec_of(name: str, **changes: Any) -> RewardSpec:
    """A shipped format, without the ids of the real model's vocabulary."""
    return replace(RewardSpec.load(name), tokens={}, **changes)


def step_scores(engine: Any, spec: RewardSpec) -> list[float]:
    """Of `LONG`, which must begin as `SHORT` does: a causal model does not look ahead."""

    async def work() -> list[tuple[float, ...]]:
        reward = make_reward(spec, engine)
        try:
            return await reward.step_scores(PROBLEM, [SHORT, LONG])  # type: ignore[attr-defined]
        finally:
            await reward.aclose()

    short, long = asyncio.run(work())
    assert short == long[:1]
    return list(long)


def score(engine: Any, spec: RewardSpec) -> float:
    async def work() -> float:
        reward = make_reward(spec, engine)
        try:
            return (await reward.score(PROBLEM, [LONG]))[0].score
        finally:
            await reward.aclose()

    return asyncio.run(work())


def ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False))


def id_of(text: str) -> int:
    """The id of a token in the byte-level vocabulary."""
    return int(BYTES.convert_tokens_to_ids(stored(text)))


def labels64(folder: Path, tokens: list[int], places: list[int], pair: list[int]) -> list[float]:
    """The share of the first of two tokens, as the next one after each place."""
    rows = weights64(folder)["lm_head.weight"][pair]
    logits = hidden64(folder, tokens)[places] @ rows.T
    return list(torch.softmax(logits, -1)[:, 0].tolist())


# --- labels ------------------------------------------------------------------------------


def label_case(name: str, folder: Path) -> tuple[Path, list[float]]:
    """A model of the format's family, and the definition of its scores."""
    if name == "math-shepherd":
        tiny_reward(folder, "CausalLM", PIECES, family="Mistral")
        text = "<s>" + PROBLEM + " " + "\n".join(f"{line} ки" for line in LINES)
        tokens, tag = ids(PIECES, text), PIECES.convert_tokens_to_ids("▁ки")
        pair = [PIECES.convert_tokens_to_ids(piece) for piece in ("▁+", "▁-")]
    elif name == "rlhflow-prm":
        tiny_reward(folder, "CausalLM", BYTES, family="Llama")
        dates = "\n\nCutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
        head, eot = "<|start_header_id|>{}<|end_header_id|>", "<|eot_id|>"
        text = f"<|begin_of_text|>{head.format('system')}{dates}{eot}"
        for number, step in enumerate(PLAIN):
            said = f"{PROBLEM} {step}" if number == 0 else step
            text += f"{head.format('user')}\n\n{said}{eot}{head.format('assistant')}\n\n+{eot}"
        tokens, plus, end = ids(BYTES, text), id_of("+"), BYTES.convert_tokens_to_ids(eot)
        pair = [plus, id_of("-")]
        # logits[-3] of a conversation that ends here: the place before "+" and the end of its turn
        ends = [i for i in range(2, len(tokens)) if tokens[i - 1 : i + 1] == [plus, end]]
        return folder, labels64(folder, tokens, [i - 2 for i in ends], pair)
    elif name == "openr":
        tiny_reward(folder, "CausalLM", BYTES)
        text = PROBLEM + " " + "".join(f"{step} \n\n\n\n\n" for step in PLAIN)
        tokens, tag = ids(BYTES, text), id_of(" \n\n\n\n\n")
        pair = [id_of(" +"), id_of(" -")]
    else:
        tiny_reward(folder, "CausalLM", BYTES, family="Llama", tie_word_embeddings=True)
        weights = weights64(folder)
        assert "lm_head.weight" not in weights
        text = "<|begin_of_text|>" + PROBLEM + " " + "".join(f"{line} ки" for line in LINES)
        tokens, tag = ids(BYTES, text), id_of(" ки")
        pair = [id_of(" +"), id_of(" -")]
        rows = weights["model.embed_tokens.weight"][pair]
        logits = hidden64(folder, tokens) @ rows.T
        shares = torch.softmax(logits, -1)[:, 0]
        return folder, shares[torch.tensor(tokens) == tag].tolist()
    return folder, labels64(folder, tokens, [i for i, t in enumerate(tokens) if t == tag], pair)


@pytest.mark.parametrize("name", ["math-shepherd", "rlhflow-prm", "openr", "er-prm"])
def test_format_when_labels_are_read_behind_steps_gives_the_share_of_the_positive(
    tmp_path, name
) -> None:
    folder, expected = label_case(name, tmp_path)
    assert len(expected) == 3 and max(expected) - min(expected) > 0.05
    spec = spec_of(name)
    heads = HeadEngine(folder, labels=spec.labels, dtype="float32")
    assert step_scores(heads, spec) == pytest.approx(expected, abs=1e-5)
    generator = TransformersEngine(folder, dtype="float32")
    assert step_scores(generator, spec) == pytest.approx(expected, abs=1e-5)


def test_format_when_the_label_is_read_behind_the_text_gives_the_share_of_the_positive(
    tmp_path,
) -> None:
    tiny_reward(tmp_path, "CausalLM", BYTES, family="Llama")
    spec = spec_of("rlhflow-orm")
    head, tail = spec.template.split("{problem} {solution}")
    tokens = ids(BYTES, f"{head}{PROBLEM} {''.join(LONG)}{tail}")
    pair = [id_of("+"), id_of("-")]
    expected = labels64(tmp_path, tokens, [len(tokens) - 1], pair)
    found = score(TransformersEngine(tmp_path, dtype="float32"), spec)
    assert found == pytest.approx(expected[0], abs=1e-5)


# --- heads -------------------------------------------------------------------------------


def qwen_tokens() -> list[int]:
    system = "Please reason step by step, and put your final answer within \\boxed{}."
    answer = "".join(f"{step.strip()}<extra_0>" for step in LONG)
    return ids(
        BYTES,
        f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{PROBLEM}<|im_end|>\n"
        f"<|im_start|>assistant\n{answer}<|im_end|><|endoftext|>",
    )


@pytest.mark.parametrize("kind", ["ProcessReward", "TokenClassification"])
def test_format_when_classes_are_read_at_tags_gives_the_softmax(tmp_path, kind) -> None:
    tiny_reward(tmp_path, kind, BYTES, num_labels=2)
    tokens, weights = qwen_tokens(), weights64(tmp_path)
    logits = hidden64(tmp_path, tokens)
    if kind == "ProcessReward":
        inner = torch.relu(logits @ weights["score.0.weight"].T + weights["score.0.bias"])
        logits = inner @ weights["score.2.weight"].T + weights["score.2.bias"]
    else:
        logits = logits @ weights["score.weight"].T + weights["score.bias"]
    at_tags = torch.tensor(tokens) == BYTES.convert_tokens_to_ids("<extra_0>")
    expected = torch.softmax(logits, -1)[at_tags, 1].tolist()
    found = step_scores(HeadEngine(tmp_path, dtype="float32"), spec_of("qwen2.5-math-prm"))
    assert found == pytest.approx(expected, abs=1e-5)
    assert len(expected) == 3 and max(expected) - min(expected) > 0.05


def test_format_when_values_are_read_at_line_ends_gives_their_sigmoid(tmp_path) -> None:
    tiny_reward(tmp_path, "v_head", BYTES)
    tokens, places = ids(BYTES, "<|endoftext|>" + PROBLEM + "\n"), []
    for line in LINES:  # steps and line ends are tokenised apart
        tokens += ids(BYTES, line) + ids(BYTES, "\n")
        places.append(len(tokens) - 1)
    weights = weights64(tmp_path)
    values = hidden64(tmp_path, tokens) @ weights["v_head.summary.weight"].T
    expected = torch.sigmoid(values + weights["v_head.summary.bias"])[places, 0].tolist()
    found = step_scores(HeadEngine(tmp_path, dtype="float32"), spec_of("skywork-o1-prm"))
    assert found == pytest.approx(expected, abs=1e-5)
    # the trap: at once, the first step's full stop and line end are one token
    assert ids(BYTES, f"{LINES[0]}\n") != ids(BYTES, LINES[0]) + ids(BYTES, "\n")


def test_format_when_values_are_read_at_a_new_token_gives_their_sigmoid(tmp_path) -> None:
    tiny_reward(tmp_path, "v_head", BYTES)
    steps = ["2*3=6.", "1+6\n= 8", "Answer\n\\boxed{8}"]
    text = (
        "Below is an instruction that describes a task.\nWrite a response that appropriately "
        f"completes the request.\n\n### Instruction:\n{PROBLEM}\n\n### Response: Let's think step "
        "by step\n" + "\n".join(f"Step {i}: {step} [PRM]" for i, step in enumerate(steps, 1))
    )
    tokens, weights = ids(BYTES, text), weights64(tmp_path)
    values = hidden64(tmp_path, tokens) @ weights["v_head.summary.weight"].T
    at_tags = torch.tensor(tokens) == BYTES.convert_tokens_to_ids("[PRM]")
    expected = torch.sigmoid(values + weights["v_head.summary.bias"])[at_tags, 0].tolist()
    found = step_scores(HeadEngine(tmp_path, dtype="float32"), spec_of("pqm"))
    assert found == pytest.approx(expected, abs=1e-5) and len(expected) == 3


@pytest.mark.parametrize("name", ["qwen2.5-math-rm", "skywork-reward"])
def test_format_when_one_value_is_read_behind_the_text_gives_its_sigmoid(tmp_path, name) -> None:
    from transformers import AutoModelForSequenceClassification

    family = "Llama" if name == "skywork-reward" else "Qwen2"
    tiny_reward(tmp_path, "SequenceClassification", BYTES, family=family, num_labels=1)
    spec = spec_of(name)
    text = spec.template.replace("{problem}", PROBLEM).replace("{solution}", "".join(LONG))
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype=torch.float64)
    with torch.no_grad():
        value = model(torch.tensor([ids(BYTES, text)])).logits.item()
    found = score(HeadEngine(tmp_path, dtype="float32"), spec)
    assert found == pytest.approx(1 / (1 + math.exp(-value)), abs=1e-5)


# --- the real vocabulary -----------------------------------------------------------------


def test_math_shepherd_when_tokenised_as_mistral_does_is_read_at_the_tag() -> None:
    """The one real vocabulary that comes with a package of ours."""
    data = pytest.importorskip("mistral_common.data", reason="comes with vLLM")
    sentencepiece = pytest.importorskip("sentencepiece")
    file = Path(data.__path__[0]) / "tokenizer.model.v1"
    if not file.is_file():
        pytest.skip("this mistral_common has no tokenizer.model.v1")
    core = sentencepiece.SentencePieceProcessor(model_file=str(file))

    class Mistral:
        def encode(self, text: str) -> list[int]:
            begins = text.startswith("<s>")
            return [core.bos_id()] * begins + core.encode(text.removeprefix("<s>"))

        def decode(self, tokens: list[int]) -> str:
            return str(core.decode(tokens))

    checks = explain(RewardSpec.load("math-shepherd"), Mistral())
    assert all(check.ok for check in checks)
    places = [check.detail for check in checks if check.name.startswith("place")]
    assert len(places) == 3 and all("[12902 " in detail for detail in places)


# --- all of them -------------------------------------------------------------------------


#: Formats whose scores are compared here.
SCORED = {"math-shepherd", "rlhflow-prm", "openr", "er-prm", "rlhflow-orm", "qwen2.5-math-prm"}
SCORED |= {"skywork-o1-prm", "pqm", "qwen2.5-math-rm", "skywork-reward"}


def test_formats_when_new_have_a_golden_test() -> None:
    written = {name for name in shipped_specs() if RewardSpec.load(name).writes}
    assert set(shipped_specs()) == SCORED | written | {"generative"}
