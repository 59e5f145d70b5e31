"""Preference optimisation: what is chosen becomes likelier."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("trl")

from tiny_training import RIGHT, WRONG, preferences, solutions, tiny, write

from rtsearch_fast.policy.prompt import PromptTemplate
from rtsearch_fast.training import dpo
from rtsearch_fast.training.dpo import train_dpo
from rtsearch_fast.training.models import train_tokenizer
from rtsearch_fast.training.settings import DpoSettings, Lora, SftSettings
from rtsearch_fast.training.sft import train_sft


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "dpo.jsonl", preferences())


def test_dpo_when_tokenised_has_one_prompt_and_two_ends(data: Path, tmp_path: Path) -> None:
    prompt = PromptTemplate.load("labelled")
    tokenizer = train_tokenizer([prompt.render("1", (RIGHT, WRONG))], 400)
    settings = DpoSettings(**tiny(data, tmp_path))
    rows = [{"problem": "1", "chosen": RIGHT, "rejected": WRONG}]
    examples, _ = dpo._examples(settings, tokenizer, prompt, rows)
    (row,) = examples
    assert tokenizer.decode(row["prompt_ids"]) == prompt.render("1")
    assert tokenizer.decode(row["chosen_ids"]) == f"{RIGHT}<|endoftext|>"
    assert tokenizer.decode(row["rejected_ids"]) == f"{WRONG}<|endoftext|>"
    assert row["prompt_ids"] + row["chosen_ids"] == [
        *tokenizer.encode(prompt.render("1", (RIGHT,))), tokenizer.eos_token_id
    ]  # fmt: skip


@pytest.mark.parametrize("lora", [None, Lora(rank=4)])
def test_dpo_when_trained_prefers_what_was_chosen(
    data: Path, tmp_path: Path, lora: Lora | None
) -> None:
    if lora is not None:
        pytest.importorskip("peft")
    start = write(tmp_path / "sft.jsonl", solutions())
    policy = train_sft(SftSettings(**tiny(start, tmp_path / "sft", max_steps=4)), quiet=True)
    settings = tiny(data, tmp_path / "dpo") | {"new": None, "model": str(policy.folder)}
    result = train_dpo(DpoSettings(**settings, lora=lora, eval_data=(data,)), quiet=True)
    assert result.metrics["first_loss"] == pytest.approx(0.6931, abs=1e-3)  # still its own start
    assert result.metrics["last_loss"] < 0.6
    assert result.metrics["eval_rewards/accuracies"] == 1.0
    assert (result.folder / "model.safetensors").exists()
