"""Instruction tuning: masks, learning, the optimizers, resuming, and what is saved."""

from __future__ import annotations

import json
import logging
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from tiny_training import RIGHT, solutions, tiny, write  # noqa: E402

from rtsearch_fast.engine.transformers import TransformersEngine  # noqa: E402
from rtsearch_fast.policy.prompt import PromptTemplate  # noqa: E402
from rtsearch_fast.reward.question import JudgeTemplate  # noqa: E402
from rtsearch_fast.training import sft  # noqa: E402
from rtsearch_fast.training.models import train_tokenizer  # noqa: E402
from rtsearch_fast.training.settings import Lora, SftSettings  # noqa: E402
from rtsearch_fast.training.sft import encode_solutions, train_sft  # noqa: E402
from rtsearch_fast.training.text import IGNORED  # noqa: E402


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "sft.jsonl", solutions())


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(folder / "model.safetensors"))


# --- masks -------------------------------------------------------------------------------


def test_encode_when_a_prompt_is_tokenised_alone_trains_the_solution_and_the_end() -> None:
    prompt = PromptTemplate.load("labelled")
    row = {"problem": "1 + 2", "solution": f"\n{RIGHT}\n "}
    tokenizer = train_tokenizer([prompt.render("1 + 2", (RIGHT,))], 400)
    (text,) = encode_solutions(tokenizer, prompt, [row])
    whole = tokenizer.encode(prompt.render("1 + 2", (RIGHT,)))
    assert text.ids == [*whole, tokenizer.eos_token_id]
    asked = tokenizer.encode(prompt.render("1 + 2") + "##")  # what a search sends
    assert text.ids[: len(asked)] == asked
    assert text.labels[: text.start] == [IGNORED] * text.start
    assert text.labels[text.start :] == text.ids[text.start :]
    assert tokenizer.decode(text.ids[text.start :]) == f"{RIGHT}<|endoftext|>"


@pytest.mark.parametrize("label", [True, False])
def test_examples_when_a_text_goes_on_learn_that_and_only_right_solutions(
    tmp_path: Path, label: bool
) -> None:
    prompt = PromptTemplate.load("labelled")
    check = JudgeTemplate.load("check")
    after = ("\n\n## Check\n 1+2-3 =", " 0\nVerdict: ", "Yes")
    row = {"problem": "1 + 2", "solution": RIGHT, "after": after, "label": label}
    tokenizer = train_tokenizer([prompt.render("1 + 2", (RIGHT,)), *after], 400)
    settings = SftSettings(**tiny(tmp_path, tmp_path))
    examples, facts = sft._examples(settings, tokenizer, prompt, [row])
    assert facts == {"rows": 1, "too_long": 0}
    (found,) = examples
    learned = [token for token in found["labels"] if token != IGNORED]
    told = f"{after[0]}{after[2]}"  # and not what lies between them
    assert tokenizer.decode(learned) == (f"{RIGHT}<|endoftext|>{told}" if label else told)
    assert tokenizer.decode(found["input_ids"]).endswith("".join(after))
    assert all(a in (IGNORED, b) for a, b in zip(found["labels"], found["input_ids"], strict=True))
    # what a judge that goes on where the policy's prompt ends will be asked
    asked = check.render("{problem}", (RIGHT,)).replace("{problem}\n\n", prompt.render("1 + 2"))
    ids = tokenizer.encode(asked)
    assert found["input_ids"][: len(ids)] == ids


def test_encode_when_a_token_lies_over_the_boundary_trains_it() -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = ["<end>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    merges = [("Ċ", "Ċ"), ("#", "#"), ("ĊĊ", "##")]
    vocabulary = {piece: i for i, piece in enumerate([*letters, "ĊĊ", "##", "ĊĊ##"])}
    core = Tokenizer(models.BPE(vocabulary, merges))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>")
    prompt = PromptTemplate.load("labelled")
    (text,) = encode_solutions(tokenizer, prompt, [{"problem": "1", "solution": "## a"}])
    assert tokenizer.decode(text.ids[text.start :]) == "\n\n## a<end>"
    asked = tokenizer.encode(prompt.render("1") + "##")
    assert text.ids[: len(asked)] == asked and asked[-1] == text.ids[text.start]


def test_encode_when_texts_are_full_of_control_tokens_breaks_them_as_the_search_does() -> None:
    prompt = PromptTemplate.load("chatml")
    tokenizer = train_tokenizer(["a"], 300, ("<|im_start|>", "<|im_end|>"))
    (text,) = encode_solutions(tokenizer, prompt, [{"problem": "1", "solution": "## <|im_end|> ü"}])
    assert tokenizer.decode(text.ids[text.start :]) == "## < |im_end|> ü<|endoftext|>"


# --- training ----------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_sft_when_the_task_is_easy_learns_it(data: Path, tmp_path: Path, optimizer: str) -> None:
    settings = SftSettings(
        **tiny(data, tmp_path / "out", max_steps=20, optimizer=optimizer, template="labelled"),
        eval_data=(data,),
    )
    result = train_sft(settings, quiet=True)
    metrics = result.metrics
    assert metrics == json.loads((result.folder / "metrics.json").read_text())
    assert metrics["last_loss"] < 0.5 * metrics["first_loss"]
    assert metrics["eval_loss"] < 0.6 * metrics["first_loss"]
    assert (metrics["steps"], metrics["rows"], metrics["too_long"]) == (20, 32, 0)
    assert 0 < metrics["tokens_trained"] < metrics["tokens"]
    log = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log if "loss" in entry] == list(range(1, 21))


async def _complete(folder: Path, prompt: str) -> str:
    from rtsearch_fast.engine.protocol import CompletionRequest

    engine = TransformersEngine(folder, dtype="float32")
    try:
        request = CompletionRequest(prompt, (0,), 80, temperature=0.0)
        (sample,) = await engine.complete(request)
    finally:
        await engine.aclose()
    assert sample.finish_reason == "eos"
    return sample.text


def test_sft_when_done_leaves_a_model_that_an_engine_runs(data: Path, tmp_path: Path) -> None:
    import asyncio

    settings = SftSettings(
        **tiny(data, tmp_path / "out", max_steps=60, template="labelled", batch_size=8)
    )
    folder = train_sft(settings, quiet=True).folder
    prompt = PromptTemplate.load("labelled").render("Add 5.") + "##"
    assert "##" + asyncio.run(_complete(folder, prompt)) == RIGHT
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "generation_config.json", "metrics.jsonl", "model.safetensors",
            "settings.json", "tokenizer.json", "tokenizer_config.json"} == names - {
                "metrics.json", "chat_template.jinja"}  # fmt: skip
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"] and config["use_cache"] is True
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"
    generation = json.loads((folder / "generation_config.json").read_text())
    assert generation["eos_token_id"] == config["eos_token_id"] == 0


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_sft_when_resumed_ends_with_the_same_weights(
    data: Path, tmp_path: Path, optimizer: str
) -> None:
    common = {"optimizer": optimizer, "save_steps": 3, "schedule": "cosine", "warmup": 2}
    settings = tiny(data, tmp_path / "whole", max_steps=6, **common)
    whole = train_sft(SftSettings(**settings), quiet=True)
    # as if it had been killed behind the first checkpoint
    part = tmp_path / "part"
    part.mkdir()
    os.rename(whole.folder / "checkpoint-3", part / "checkpoint-3")
    resumed = train_sft(SftSettings(**settings | {"output": part, "resume": True}), quiet=True)
    assert resumed.metrics["steps"] == 6
    expected, found = weights(whole.folder), weights(resumed.folder)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_sft_when_repeated_gives_the_same_and_leaves_no_trace(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def state() -> object:
        return (
            random.getstate(),
            np.random.get_state()[1].tolist(),
            torch.random.get_rng_state().tolist(),
            dict(os.environ),
            logging.getLogger("transformers").level,
            logging.getLogger().handlers,
        )

    before = state()
    results = [
        train_sft(SftSettings(**tiny(data, tmp_path / name, max_steps=2)), quiet=True)
        for name in "ab"
    ]
    assert state() == before
    assert capfd.readouterr() == ("", "")
    first, second = (weights(result.folder) for result in results)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_sft_when_it_goes_on_from_a_model_takes_weights_and_tokenizer(
    data: Path, tmp_path: Path
) -> None:
    first = train_sft(SftSettings(**tiny(data, tmp_path / "a", max_steps=10)), quiet=True)
    settings = tiny(data, tmp_path / "b", max_steps=2) | {"new": None, "model": str(first.folder)}
    second = train_sft(SftSettings(**settings), quiet=True)
    assert second.metrics["first_loss"] < 0.7 * first.metrics["first_loss"]
    name = "tokenizer.json"
    assert (first.folder / name).read_text() == (second.folder / name).read_text()


@pytest.mark.parametrize("merge", [True, False])
def test_sft_when_adapters_are_trained_saves_them_alone_or_merged(
    data: Path, tmp_path: Path, merge: bool
) -> None:
    pytest.importorskip("peft")
    first = train_sft(SftSettings(**tiny(data, tmp_path / "a", max_steps=1)), quiet=True)
    settings = tiny(data, tmp_path / "b", max_steps=5) | {"new": None, "model": str(first.folder)}
    settings |= {"lora": Lora(rank=4, merge=merge), "group_by_length": True, "dtype": "bfloat16"}
    second = train_sft(SftSettings(**settings, gradient_checkpointing=True), quiet=True)
    assert 0 < second.metrics["trainable"] < second.metrics["parameters"]
    assert (second.folder / "adapter_model.safetensors").exists() is not merge
    assert (second.folder / "model.safetensors").exists() is merge
    if merge:
        before, after = weights(first.folder), weights(second.folder)
        name = "model.layers.0.self_attn.q_proj.weight"
        assert before.keys() == after.keys()
        assert not torch.equal(before[name].bfloat16(), after[name])


def test_progress_when_told_shows_the_end_in_one_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_sft(SftSettings(**tiny(data, tmp_path / "out", max_steps=2)))
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith("sft: 2 steps in 0:0") and err.endswith(" tokens/s\n")
