"""Settings, recipes of trainings, and what a dry run works out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cyclopts")
pytest.importorskip("yaml")

from rtsearch_fast.cli.train_recipe import load_settings
from rtsearch_fast.errors import DataError, InvalidArgumentError
from rtsearch_fast.training.settings import (
    Architecture,
    DpoSettings,
    Lora,
    RewardSettings,
    SftSettings,
    TrainSettings,
)

RECIPE = """
sft:
  new: {hidden-size: 32, num_hidden_layers: 2}
  data: [a.jsonl, b.jsonl]
  output: out
  optimizer: muon
  lora: {rank: 4, targets: [q_proj, v_proj], merge: false}
  max-steps: 7
  learning_rate: 3e-3
  gradient-checkpointing: true
reward:
  model: policy
  labels: [Yes, No]
  verdict: "\\nSo: "
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path


def test_recipe_when_loaded_gives_the_settings_of_its_section(recipe: Path) -> None:
    assert load_settings(SftSettings, recipe, "sft", seed=3) == SftSettings(
        new=Architecture(hidden_size=32, num_hidden_layers=2),
        data=(Path("a.jsonl"), Path("b.jsonl")),
        output=Path("out"),
        optimizer="muon",
        lora=Lora(rank=4, targets=("q_proj", "v_proj"), merge=False),
        max_steps=7,
        learning_rate=3e-3,
        gradient_checkpointing=True,
        seed=3,
    )
    reward = load_settings(RewardSettings, recipe, "reward")
    assert reward == RewardSettings(model="policy", labels=("Yes", "No"), verdict="\nSo: ")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("rank: 4", "rnk: 4", "line 7: unknown key 'lora.rnk': did you mean 'lora.rank'?"),
        ("rank: 4", "rank: 0", "line 7: lora.rank=0: must be at least 1"),
        ("max-steps", "max-step", "line 8: unknown key 'max-step': did you mean 'max-steps'?"),
        ("max-steps: 7", "max-steps: many", "recipe.yaml, line 8.*many.*int"),
        ("muon", "moun", "recipe.yaml, line 6"),
        ("sft:", "stf:", "line 2: unknown key 'stf': did you mean 'sft'?"),
        ("hidden-size: 32", "hidden-size: 33", "line 3: hidden_size=33: must be a multiple"),
        ("sft:", "dpo:", "no section `sft:`"),
    ],
)
def test_recipe_when_bad_is_answered_by_one_line(
    recipe: Path, old: str, new: str, words: str
) -> None:
    recipe.write_text(RECIPE.replace(old, new, 1))
    with pytest.raises(DataError, match=words) as caught:
        load_settings(SftSettings, recipe, "sft")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"batch_size": 0}, "batch_size=0: must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate=0.0: must be positive"),
        ({"learning_rate": float("nan")}, "learning_rate=nan: must be positive"),
        ({"warmup": -1.0}, "warmup=-1.0: must be 0 or more"),
        ({"max_steps": 0}, "max_steps=0: must be at least 1"),
        ({"adam_beta2": 1.0}, r"adam_beta2=1.0: must be in \(0, 1\)"),
        ({"model": "a", "new": Architecture()}, "model='a' and new sizes"),
        ({"config": Architecture()}, "config tells the sizes of `model`"),
        ({"fsdp": 2, "lora": Lora()}, "fsdp=2 with lora"),
        ({"fsdp": 2, "optimizer": "muon"}, "fsdp=2 with optimizer='muon'"),
        ({"eval_steps": 5}, "eval_steps=5: give eval_data"),
    ],
)
def test_settings_when_out_of_range_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        TrainSettings(**settings)


def test_settings_of_others_when_out_of_range_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"lora.dropout=1: must be in \[0, 1\)"):
        Lora(dropout=1)
    with pytest.raises(InvalidArgumentError, match="num_key_value_heads=3: must divide"):
        Architecture(num_key_value_heads=3)
    with pytest.raises(InvalidArgumentError, match="vocab_size=100: must be at least 258"):
        Architecture(vocab_size=100)
    with pytest.raises(InvalidArgumentError, match=r"labels=\('a', 'a'\)"):
        RewardSettings(labels=("a", "a"))
    with pytest.raises(InvalidArgumentError, match="beta=0: must be positive"):
        DpoSettings(beta=0)
