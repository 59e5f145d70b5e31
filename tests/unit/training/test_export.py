"""Rows of training data: the fields that TRL knows, with the types that it wants."""

from __future__ import annotations

import itertools
import json
import math

import pytest
from sampled import made_up

from rtsearch_fast.errors import InvalidArgumentError
from rtsearch_fast.policy.prompt import PromptTemplate
from rtsearch_fast.training import export
from rtsearch_fast.training.labels import label_steps
from rtsearch_fast.training.pairs import make_pairs
from rtsearch_fast.training.samples import Sampled
from rtsearch_fast.training.step_pairs import StepPair, make_step_pairs
from rtsearch_fast.training.tables import schema, write_rows

PROMPT = PromptTemplate.load("labelled")
SAMPLES = [*made_up(0, questions=5), Sampled("q9", "Q 9", ("half \ud800",), "2", True)]
PAIRS = make_pairs(SAMPLES)[0]
STEPPED = [
    Sampled(f"q{i % 3}", f"Q {i % 3}", tuple(f"{j}\n\n" for j in numbers), "2", sum(numbers) > 2)
    for i, numbers in enumerate(itertools.product(range(3), repeat=3))
]
LABELS = label_steps([*SAMPLES, *STEPPED])
STEP_PAIRS = list(make_step_pairs(LABELS))

#: Per data set its rows, and the types of its columns.
SETS = {
    "prompt-completion": (
        export.prompt_completion_rows(SAMPLES, PROMPT),
        {"prompt": "string", "completion": "string"},
    ),
    "preference": (
        export.preference_rows(PAIRS, PROMPT),
        {"prompt": "string", "chosen": "string", "rejected": "string", "margin": "float64"},
    ),
    "step-preference": (
        export.step_preference_rows(STEP_PAIRS, PROMPT),
        {"prompt": "string", "chosen": "string", "rejected": "string", "margin": "float64"},
    ),
    "unpaired": (
        export.unpaired_rows(SAMPLES, PROMPT),
        {"prompt": "string", "completion": "string", "label": "bool"},
    ),
    "stepwise": (
        export.stepwise_rows(LABELS, PROMPT),
        {
            "prompt": "string",
            "completions": ["string"],
            "labels": ["bool"],
            "values": ["float64"],
        },
    ),
    "sft": (export.sft_rows(SAMPLES), {"problem": "string", "solution": ["string"]}),
    "reward": (
        export.reward_rows(SAMPLES),
        {"problem": "string", "solution": ["string"], "label": "bool", "score": "float64"},
    ),
    "dpo": (
        export.dpo_rows(PAIRS),
        {
            "problem": "string",
            "chosen": "string",
            "rejected": "string",
            "chosen_score": "float64",
            "rejected_score": "float64",
            "margin": "float64",
        },
    ),
    "step-dpo": (
        export.step_dpo_rows(STEP_PAIRS),
        {
            "problem": "string",
            "prefix": ["string"],
            "chosen": "string",
            "rejected": "string",
            "chosen_score": "float64",
            "rejected_score": "float64",
            "margin": "float64",
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
    "math-shepherd": (
        export.math_shepherd_rows(LABELS),
        {"input": "string", "label": "string", "task": "string", "values": ["float64"]},
    ),
    "math-aps": (
        export.math_aps_rows(LABELS),
        {
            "question_id": "string",
            "question": "string",
            "final_answer": "string",
            "reasoning_steps": [{"solution_prefix": "string", "mc_value": "float64"}],
        },
    ),
}
ROWS = {name: list(rows) for name, (rows, _) in SETS.items()}


@pytest.mark.parametrize("end", ["jsonl", "parquet"])
@pytest.mark.parametrize("name", SETS)
def test_rows_when_loaded_by_datasets_are_equal_and_have_the_declared_columns(name, end, tmp_path):
    datasets = pytest.importorskip("datasets")
    assert export.COLUMNS[name] == SETS[name][1]
    path = tmp_path / f"rows.{end}"
    count = write_rows(path, ROWS[name], export.COLUMNS[name])
    loaded = datasets.load_dataset(
        {"jsonl": "json"}.get(end, end),
        data_files=str(path),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    assert len(loaded) == count == len(ROWS[name]) > 0
    assert loaded.features == datasets.Features.from_arrow_schema(schema(export.COLUMNS[name]))
    # no tokenizer takes half of a surrogate pair
    assert list(loaded) == json.loads(json.dumps(ROWS[name]).replace("\\ud800", "\ufffd"))


def test_columns_when_declared_are_of_all_rows():
    assert set(export.COLUMNS) == set(SETS)
    for name, rows in ROWS.items():
        assert all(list(row) == list(export.COLUMNS[name]) for row in rows)


def test_rows_when_given_to_trl_are_of_the_formats_that_it_converts():
    """TRL's own conversions from one documented format to another take and give these columns."""
    datasets = pytest.importorskip("datasets")
    trl = pytest.importorskip("trl")
    preference = datasets.Dataset.from_list(ROWS["preference"])
    unpaired = trl.unpair_preference_dataset(preference)
    assert set(unpaired.column_names) == {*ROWS["unpaired"][0], "margin"}
    assert not trl.is_conversational(ROWS["prompt-completion"][0])
    row = ROWS["preference"][0]
    whole = {key: row["prompt"] + row[key] for key in ("chosen", "rejected")}
    assert {*trl.extract_prompt(whole), "margin"} == set(row)


def test_samples_when_for_sft_are_the_right_ones():
    right = [sample for sample in SAMPLES if sample.right]
    assert [row["completion"] for row in ROWS["prompt-completion"]] == [s.text for s in right]
    assert [row["solution"] for row in ROWS["sft"]] == [list(s.solution) for s in right]
    assert len(ROWS["unpaired"]) == len(ROWS["reward"]) == len(SAMPLES)


def test_prompt_when_exported_is_the_one_that_the_policy_gets():
    for row in ROWS["unpaired"]:
        assert any(row["prompt"] == PROMPT.render(sample.problem) for sample in SAMPLES)


def test_texts_when_they_hold_control_tokens_cannot_end_their_turn():
    sample = Sampled("1", "1 <|im_end|>", ("2 <|im_end|>",), "2 <|im_end|>", True, 0.5)
    wrong = Sampled("1", "1 <|im_end|>", ("3 <|im_end|>",), "3", False, 0.5)
    pairs, _ = make_pairs([sample, wrong])
    step = StepPair("1", "1 <|im_end|>", ("a <|im_end|>",), "<|im_end|>", "</s>", 1.0, 0.0)
    rows = [
        *export.prompt_completion_rows([sample], PROMPT),
        *export.unpaired_rows([sample], PROMPT),
        *export.preference_rows(pairs, PROMPT),
        *export.step_preference_rows([step], PROMPT),
        *export.stepwise_rows(label_steps([sample]), PROMPT),
        *export.math_shepherd_rows(label_steps([sample])),
        *export.math_aps_rows(label_steps([sample])),
    ]
    assert len(rows) == 7
    assert "<|im_end|>" not in json.dumps(rows) and "</s>" not in json.dumps(rows)


def test_margins_when_exported_are_differences_of_scores_and_values():
    for row, pair in zip(ROWS["preference"], PAIRS, strict=True):
        assert row["margin"] == pair.chosen_score - pair.rejected_score
    for row, pair in zip(ROWS["step-preference"], STEP_PAIRS, strict=True):
        assert 0 < row["margin"] == pair.chosen_value - pair.rejected_value
        assert row["prompt"] == PROMPT.render(pair.problem, pair.prefix)


def test_math_shepherd_when_exported_is_what_its_model_is_shown():
    spec = pytest.importorskip("rtsearch_fast.reward.spec").RewardSpec.load("math-shepherd")
    sample = Sampled("1", "1 + 1 ки", ("## Step 1: Add\n1 ки + 1\n\n", "## Answer\n3"), "3", False)
    right = Sampled("1", "1 + 1 ки", (sample.solution[0], "2"), "2", True)
    labels = label_steps([sample, right])
    rows = list(export.math_shepherd_rows(labels, task="GSM8K"))
    for row, found in zip(rows, labels, strict=True):
        assert "<s>" + row["input"] == spec.process.render(found.problem, found.steps)
        assert row["input"].count("ки") == 2 and "ки" not in row["label"]
        assert row["task"] == "GSM8K"
    assert [row["label"].splitlines() for row in rows] == [
        ["1 + 1  Step 1: Add 1  + 1 +", "Answer 3 -"],
        ["1 + 1  Step 1: Add 1  + 1 +", "2 +"],
    ]
    assert [row["values"] for row in rows] == [[0.5, 0.0], [0.5, 1.0]]
    (row,) = export.math_shepherd_rows(labels[:1], threshold=0.5)
    assert row["label"].count("+") == 2  # those of the texts


def test_math_aps_when_exported_has_each_beginning_once():
    texts = [("a\n\n", "1"), ("a\n\n", "2"), ("b\n\n", "3")]
    samples = [Sampled("1", "?", text, text[1], text[1] == "1") for text in texts]
    (row, other) = export.math_aps_rows(
        label_steps([*samples, Sampled("2", "!", ("x",), "x", False)])
    )
    assert (row["question_id"], row["question"], row["final_answer"]) == ("1", "?", "1")
    assert [(step["solution_prefix"], step["mc_value"]) for step in row["reasoning_steps"]] == [
        ("a", 0.5), ("a\n\n1", 1.0), ("a\n\n2", 0.0), ("b", 0.0), ("b\n\n3", 0.0)
    ]  # fmt: skip
    assert other["final_answer"] is None


def test_best_when_taken_are_right_and_of_the_highest_scores():
    scores = [(True, 0.2), (False, 1.0), (True, math.nan), (True, 0.9), (True, 0.2)]
    group = [Sampled("1", "?", (str(i),), "2", *s) for i, s in enumerate(scores)]
    for count, wanted in ((1, "3"), (2, "30"), (9, "3042")):
        (found,) = export.best_of_each([group], count)
        assert "".join(sample.text for sample in found) == wanted
    with pytest.raises(InvalidArgumentError, match="per_question=0"):
        list(export.best_of_each([group], 0))


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
        "step-dpo": data.DPO,
        "process": data.PROCESS,
    }
    for name, wanted in columns.items():
        path = tmp_path / f"{name}.jsonl"
        write_rows(path, ROWS[name], export.COLUMNS[name])
        assert len(data.read_rows([path], wanted)) == len(ROWS[name])
