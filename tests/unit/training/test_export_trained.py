"""Exported files, loaded by datasets, are trained on for a step: by TRL's trainers and by ours."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
datasets = pytest.importorskip("datasets")
trl = pytest.importorskip("trl")

from tiny_training import RIGHT, WRONG, tiny  # noqa: E402

from rtsearch_fast.policy.prompt import PromptTemplate  # noqa: E402
from rtsearch_fast.search.records import Problem, SearchTree  # noqa: E402
from rtsearch_fast.steps import make_splitter  # noqa: E402
from rtsearch_fast.training import export  # noqa: E402
from rtsearch_fast.training.dpo import train_dpo  # noqa: E402
from rtsearch_fast.training.labels import label_steps, label_trees  # noqa: E402
from rtsearch_fast.training.models import train_tokenizer  # noqa: E402
from rtsearch_fast.training.pairs import make_pairs  # noqa: E402
from rtsearch_fast.training.process import train_process  # noqa: E402
from rtsearch_fast.training.samples import Sampled  # noqa: E402
from rtsearch_fast.training.settings import DpoSettings, ProcessSettings  # noqa: E402
from rtsearch_fast.training.step_pairs import make_step_pairs  # noqa: E402
from rtsearch_fast.training.tables import write_rows  # noqa: E402
from rtsearch_fast.training.trainer import isolated  # noqa: E402

PROMPT = PromptTemplate.load("labelled")
SPLIT = make_splitter("labelled").split
SAMPLES = [
    Sampled(f"{i}", f"Add {i}.", tuple(SPLIT(text)), text[-2], text is RIGHT, score)
    for i in range(4)
    for text, score in ((RIGHT, 0.75), (WRONG, 0.25))
]
#: A tree in which RIGHT and WRONG begin with the same step, as a search keeps it.
TREE = SearchTree(
    (-1, 0, 1, 1),
    ("", "## Step 1: Add\n1 + 2 = 3\n\n", "## Answer\n\\boxed{3}", "## Answer\n\\boxed{4}"),
    (4, 3, 2, 1),
    (0.6, 0.7, 0.9, 0.2),
    (1.0, 1.0, 0.5, 0.5),
    (False, False, True, True),
)
LABELS = [found for i in range(4) for found in label_trees(Problem(f"{i}", f"Add {i}."), [TREE])]
ROWS = {
    "prompt-completion": export.prompt_completion_rows(SAMPLES, PROMPT),
    "preference": export.preference_rows(make_pairs(SAMPLES)[0], PROMPT),
    "step-preference": export.step_preference_rows(make_step_pairs(LABELS), PROMPT),
}
ROWS = {name: list(rows) for name, rows in ROWS.items()}


@pytest.fixture
def alone() -> Iterator[None]:
    with isolated():
        yield


def tiny_model(method: str) -> tuple[Any, Any]:
    import transformers

    tokenizer = train_tokenizer([PROMPT.render("1", (RIGHT, WRONG))], 320)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=1024,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        num_labels=1,
    )
    task = "SequenceClassification" if method == "Reward" else "CausalLM"
    return getattr(transformers, f"LlamaFor{task}")(config), tokenizer


@pytest.mark.parametrize("end", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("prompt-completion", "SFT"),
        ("preference", "DPO"),
        ("step-preference", "DPO"),
        ("preference", "Reward"),
    ],
)
def test_rows_when_loaded_train_a_model_with_trl(
    name: str, method: str, end: str, tmp_path: Path, alone: None
) -> None:
    path = tmp_path / f"rows.{end}"
    write_rows(path, ROWS[name], export.COLUMNS[name])
    loaded = datasets.load_dataset(
        {"jsonl": "json"}.get(end, end), data_files=str(path), split="train",
        cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip
    model, tokenizer = tiny_model(method)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    arguments = getattr(trl, f"{method}Config")(
        output_dir=str(tmp_path / "out"),
        max_steps=1,
        per_device_train_batch_size=4,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        dataloader_pin_memory=False,
        disable_tqdm=True,
    )
    # by default TRL loads the reference from where the model came from: this one is from nowhere
    more = {"ref_model": copy.deepcopy(model)} if method == "DPO" else {}
    trainer = getattr(trl, f"{method}Trainer")(
        model=model, args=arguments, train_dataset=loaded, processing_class=tokenizer, **more
    )
    result = trainer.train()
    assert len(loaded) == 4 and result.global_step == 1
    assert math.isfinite(result.training_loss) and result.training_loss > 0
    changed = [not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
    assert all(changed)


@pytest.mark.parametrize("labels", [LABELS, label_steps(SAMPLES)], ids=["tree", "outcome"])
def test_process_rows_when_exported_train_our_process_reward_model(
    labels: list[Any], tmp_path: Path
) -> None:
    path = tmp_path / "process.jsonl"
    write_rows(path, export.process_rows(labels), export.COLUMNS["process"])
    result = train_process(ProcessSettings(**tiny(path, tmp_path / "out", max_steps=1)), quiet=True)
    assert math.isfinite(result.metrics["last_loss"]) and result.metrics["last_loss"] > 0
    assert result.metrics["steps_judged"] == sum(len(found.steps) for found in labels)


def test_step_pairs_when_exported_train_our_policy(tmp_path: Path) -> None:
    path = tmp_path / "dpo.jsonl"
    write_rows(path, export.step_dpo_rows(make_step_pairs(LABELS)), export.COLUMNS["step-dpo"])
    assert json.loads(path.read_text().splitlines()[0])["prefix"] == [TREE.step[1]]
    result = train_dpo(DpoSettings(**tiny(path, tmp_path / "out", max_steps=4)), quiet=True)
    assert result.metrics["rows"] == 4
    assert result.metrics["last_loss"] < result.metrics["first_loss"]
