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


def test_dpo_when_single_steps_are_paired_gives_their_prefix_and_no_end(tmp_path: Path) -> None:
    prompt = PromptTemplate.load("labelled")
    tokenizer = train_tokenizer([prompt.render("1", (RIGHT, WRONG))], 400)
    first, good, bad = "## Step 1: Add\n1 + 2\n\n", "## Step 2: Is\n3\n\n", "## Step 2: Is\n4\n\n"
    rows = [
        {"problem": "1", "chosen": RIGHT, "rejected": WRONG},
        {"problem": "1", "prefix": first, "chosen": good, "rejected": bad},
        {"problem": "1", "prefix": "", "chosen": first, "rejected": bad},
    ]
    examples, _ = dpo._examples(DpoSettings(**tiny(tmp_path, tmp_path)), tokenizer, prompt, rows)
    whole, second, start = examples
    assert whole["chosen_ids"][-1] == tokenizer.eos_token_id
    for row, given, chosen in ((second, (first,), good), (start, (), first)):
        assert row["prompt_ids"] + row["chosen_ids"] == tokenizer.encode(
            prompt.render("1", (*given, chosen))
        )
        texts = [tokenizer.decode(row[f"{name}_ids"]) for name in ("prompt", "chosen", "rejected")]
        assert texts[0] + texts[1] == prompt.render("1", (*given, chosen))
        assert texts[0] + texts[2] == prompt.render("1", (*given, bad))
        # of the step itself nothing is given away but what both begin with
        assert len(texts[0]) <= len(prompt.render("1", given))


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
