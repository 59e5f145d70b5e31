"""Process reward models: a number at each tag, soft labels, steps left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from tiny_training import process_rows, tiny, write  # noqa: E402

from rtsearch_fast.errors import DataError  # noqa: E402
from rtsearch_fast.reward.stepwise import ProcessTemplate  # noqa: E402
from rtsearch_fast.training import process  # noqa: E402
from rtsearch_fast.training.models import train_tokenizer  # noqa: E402
from rtsearch_fast.training.process import train_process  # noqa: E402
from rtsearch_fast.training.settings import ProcessSettings  # noqa: E402
from rtsearch_fast.training.text import IGNORED  # noqa: E402


def test_process_when_tokenised_has_labels_at_the_tags_alone(tmp_path: Path) -> None:
    template = ProcessTemplate.load("plain")
    tokenizer = train_tokenizer(["a"], 300, ("<extra_0>",))
    settings = ProcessSettings(**tiny(tmp_path, tmp_path))
    tag = process._tag_token(tokenizer, settings)
    rows = [{"problem": "1", "steps": ("a", "b <extra_0>", "c"), "labels": [1.0, None, 0.25]}]
    examples, facts = process._examples(settings, tokenizer, template, tag, rows)
    (row,) = examples
    places = [i for i, token in enumerate(row["input_ids"]) if token == tag]
    assert len(places) == 3 and facts["steps_judged"] == 2
    expected = [float(IGNORED)] * len(row["labels"])
    expected[places[0]], expected[places[2]] = 1.0, 0.25
    assert row["labels"] == expected


def test_process_when_trained_tells_steps_apart_and_is_a_classifier(tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    data = write(tmp_path / "process.jsonl", process_rows())
    settings = ProcessSettings(
        **tiny(data, tmp_path / "out", max_steps=40, batch_size=8), eval_data=(data,)
    )
    result = train_process(settings, quiet=True)
    assert result.metrics["last_loss"] < 0.3 < result.metrics["first_loss"]
    assert result.metrics["eval_loss"] < 0.3
    config = json.loads((result.folder / "config.json").read_text())
    assert config["architectures"] == ["LlamaForSequenceClassification"]
    model = AutoModelForSequenceClassification.from_pretrained(result.folder)
    tokenizer = AutoTokenizer.from_pretrained(result.folder)
    template = ProcessTemplate.load("plain")
    with torch.no_grad():
        right, wrong = (
            torch.sigmoid(
                model(**tokenizer(template.render("Add 7.", (step,)), return_tensors="pt")).logits
            ).item()
            for step in ("## Step 1: Add\n3\n\n", "## Step 1: Add\n4\n\n")
        )
    assert right > 0.7 and wrong < 0.3


def test_process_loss_when_labels_are_soft_is_cross_entropy_with_them(tmp_path: Path) -> None:
    rows = process_rows(8)
    for row in rows:
        row["labels"] = [0.25 if row["labels"][0] else 0.75, None]
    data = write(tmp_path / "process.jsonl", rows)
    settings = ProcessSettings(**tiny(data, tmp_path / "out", max_steps=1, learning_rate=1e-9))
    result = train_process(settings, quiet=True)
    assert result.metrics["first_loss"] == pytest.approx(0.69, abs=0.1)  # of a fresh head


@pytest.mark.parametrize(
    ("labels", "words"),
    [([None, None], "none of the steps of 2 rows has a label"), ([1, None], "the same label")],
)
def test_process_when_labels_say_nothing_is_refused(
    tmp_path: Path, labels: list[float | None], words: str
) -> None:
    rows = [{"problem": "1", "steps": ["a", "b"], "labels": labels}] * 2
    data = write(tmp_path / "process.jsonl", rows)
    with pytest.raises(DataError, match=words):
        train_process(ProcessSettings(**tiny(data, tmp_path / "out")), quiet=True)
