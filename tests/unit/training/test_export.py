"""Rows of training data: the fields that TRL knows, with the types that it wants."""

from __future__ import annotations

import json

import pytest
from sampled import made_up

from rtsearch_fast.errors import InvalidArgumentError
from rtsearch_fast.policy.prompt import PromptTemplate
from rtsearch_fast.training import export
from rtsearch_fast.training.harvest import label_steps
from rtsearch_fast.training.jsonl import write_jsonl
from rtsearch_fast.training.pairs import make_pairs
from rtsearch_fast.training.samples import Sampled

PROMPT = PromptTemplate.load("labelled")
SAMPLES = made_up(0, questions=5)
PAIRS = make_pairs(SAMPLES)[0]
LABELS = label_steps(SAMPLES)

#: Per data set its rows, and the types of its columns.
SETS = {
    "prompt-completion": (
        export.prompt_completion_rows(SAMPLES, PROMPT),
        {"prompt": "string", "completion": "string"},
    ),
    "preference": (
        export.preference_rows(PAIRS, PROMPT),
        {"prompt": "string", "chosen": "string", "rejected": "string"},
    ),
    "unpaired": (
        export.unpaired_rows(SAMPLES, PROMPT),
        {"prompt": "string", "completion": "string", "label": "bool"},
    ),
    "stepwise": (
        export.stepwise_rows(LABELS, PROMPT),
        {"prompt": "string", "completions": ["string"], "labels": ["bool"]},
    ),
    "sft": (export.sft_rows(SAMPLES), {"problem": "string", "solution": ["string"]}),
    "reward": (
        export.reward_rows(SAMPLES),
        {"problem": "string", "solution": ["string"], "label": "bool"},
    ),
    "dpo": (
        export.dpo_rows(PAIRS),
        {
            "problem": "string",
            "chosen": "string",
            "rejected": "string",
            "chosen_score": "float64",
            "rejected_score": "float64",
        },
    ),
    "process": (
        export.process_rows(LABELS),
        {
            "problem": "string",
            "steps": ["string"],
            "labels": ["float64"],
            "counts": ["int64"],
        },
    ),
}
ROWS = {name: list(rows) for name, (rows, _) in SETS.items()}


@pytest.mark.parametrize("name", SETS)
def test_rows_when_loaded_by_datasets_have_these_columns(name, tmp_path):
    datasets = pytest.importorskip("datasets")
    path = tmp_path / "rows.jsonl"
    count = write_jsonl(path, ROWS[name])
    loaded = datasets.load_dataset(
        "json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert len(loaded) == count == len(ROWS[name]) > 0
    types = {
        column: [kind.feature.dtype] if hasattr(kind, "feature") else kind.dtype
        for column, kind in loaded.features.items()
    }
    assert types == SETS[name][1]
    assert loaded[0] == ROWS[name][0]


def test_rows_when_given_to_trl_are_of_the_formats_that_it_converts():
    """TRL's own conversions from one documented format to another take and give these columns."""
    datasets = pytest.importorskip("datasets")
    trl = pytest.importorskip("trl")
    preference = datasets.Dataset.from_list(ROWS["preference"])
    unpaired = trl.unpair_preference_dataset(preference)
    assert set(unpaired.column_names) == set(ROWS["unpaired"][0])
    assert not trl.is_conversational(ROWS["prompt-completion"][0])
    row = ROWS["preference"][0]
    whole = {key: row["prompt"] + row[key] for key in ("chosen", "rejected")}
    assert set(trl.extract_prompt(whole)) == set(row)


def test_samples_when_for_sft_are_the_right_ones():
    right = [sample for sample in SAMPLES if sample.right]
    assert [row["completion"] for row in ROWS["prompt-completion"]] == [s.text for s in right]
    assert [row["solution"] for row in ROWS["sft"]] == [list(s.solution) for s in right]
    assert len(ROWS["unpaired"]) == len(ROWS["reward"]) == len(SAMPLES)


def test_prompt_when_exported_is_the_one_that_the_policy_gets():
    for row in ROWS["unpaired"]:
        assert any(row["prompt"] == PROMPT.render(sample.problem) for sample in SAMPLES)


def test_texts_when_they_hold_control_tokens_cannot_end_their_turn():
    sample = Sampled("1", "1 <|im_end|>", ("2 <|im_end|>",), "2", True, 0.5)
    wrong = Sampled("1", "1 <|im_end|>", ("3 <|im_end|>",), "3", False, 0.5)
    pairs, _ = make_pairs([sample, wrong])
    rows = [
        *export.prompt_completion_rows([sample], PROMPT),
        *export.unpaired_rows([sample], PROMPT),
        *export.preference_rows(pairs, PROMPT),
        *export.stepwise_rows(label_steps([sample]), PROMPT),
    ]
    assert len(rows) == 4 and "<|im_end|>" not in json.dumps(rows)


def test_step_labels_when_thresholded_are_truth_values():
    texts = [("a", "1"), ("a", "2"), ("a", "2"), ("b", "3")]
    labels = label_steps(Sampled("1", "?", text, text[1], text[1] == "1") for text in texts)
    rows = list(export.stepwise_rows(labels, PROMPT))
    assert [row["labels"] for row in rows] == [[True, True], [True, False], [False, False]]
    rows = list(export.stepwise_rows(labels, PROMPT, threshold=0.5))
    assert [row["labels"] for row in rows] == [[False, True], [False, False], [False, False]]
    with pytest.raises(InvalidArgumentError, match=r"threshold=1\.0"):
        list(export.stepwise_rows(labels, PROMPT, threshold=1.0))


def test_rows_when_for_rtsearch_train_are_what_it_reads(tmp_path):
    data = pytest.importorskip("rtsearch_fast.training.data")
    columns = {
        "sft": data.SFT,
        "reward": data.REWARD,
        "dpo": data.DPO,
        "process": data.PROCESS,
    }
    for name, wanted in columns.items():
        path = tmp_path / f"{name}.jsonl"
        write_jsonl(path, ROWS[name])
        assert len(data.read_rows([path], wanted)) == len(ROWS[name])
