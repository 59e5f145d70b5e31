"""Whatever is wrong with data, model or output: one line that names it and says what to do."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("trl")

from tiny_training import preferences, process_rows, rewards, solutions, tiny, write

from rtsearch_fast.errors import MissingExtraError, RunStoreError, SearchError
from rtsearch_fast.training import trainer
from rtsearch_fast.training.dpo import train_dpo
from rtsearch_fast.training.process import train_process
from rtsearch_fast.training.reward import train_reward
from rtsearch_fast.training.settings import (
    Architecture,
    DpoSettings,
    Lora,
    ProcessSettings,
    RewardSettings,
    SftSettings,
)
from rtsearch_fast.training.sft import train_sft

TRAINERS: dict[str, tuple[Callable[..., Any], type[Any], list[dict[str, Any]]]] = {
    "sft": (train_sft, SftSettings, solutions(2)),
    "dpo": (train_dpo, DpoSettings, preferences(2)),
    "reward": (train_reward, RewardSettings, rewards(2)),
    "process": (train_process, ProcessSettings, process_rows(2)),
}


@dataclass(frozen=True)
class Case:
    """Contents of the data, settings, and words of the one line; None takes good rows."""

    trainer: str
    words: tuple[str, ...]
    data: bytes | None = None
    settings: dict[str, Any] = field(default_factory=dict)


def line(**row: Any) -> bytes:
    return json.dumps(row).encode() + b"\n"


GOOD = line(problem="1", solution="## a")
BAD = {
    "no such file": Case("sft", ("none.jsonl", "No such file", "give a JSONL file"), None,
                         {"data": (Path("none.jsonl"),)}),
    "no data": Case("sft", ("data=()", "at least one JSONL file"), None, {"data": ()}),
    "empty file": Case("sft", ("{data}: holds no row",), b"\n \n"),
    "not JSON": Case("sft", ("{data}, line 2: not JSON",), GOOD + b"{problem\n"),
    "cut off": Case("sft", ("{data}, line 2: not JSON",), GOOD + GOOD[:20]),
    "no object": Case("sft", ("{data}, line 1", "not an object"), b"[1]\n"),
    "not UTF-8": Case("sft", ("{data}, line 2: byte 14 is not UTF-8", "save the file"),
                      GOOD + b'{"problem": "\xff"}\n'),
    "column missing": Case(
        "sft", ("line 1: no field `solution`", "found problem, answer", "wanted problem, solution"),
        line(problem="1", answer="2"),
    ),
    "column of another name": Case("sft", ("no field `problem`: found question"),
                                   line(question="1", solution="2")),
    "solution a number": Case("sft", ("`solution` is 7: write a text",),
                              line(problem="1", solution=7)),
    "solution blank": Case("sft", ("`solution` is empty: leave the row out",),
                           line(problem="1", solution=" ")),
    "step no text": Case("sft", ("`solution` is 1: write a text",),
                         line(problem="1", solution=["a", 1])),
    "problem null": Case("sft", ("no field `problem`",), line(problem=None, solution="a")),
    "pair the same": Case("dpo", ("`chosen` and `rejected` are the same",),
                          line(problem="1", chosen="a", rejected="a")),
    "label a text": Case("reward", ("line 1: `label` is 'yes': write true or false",),
                         line(problem="1", solution="a", label="yes")),
    "label a number": Case("reward", ("`label` is 1: write true or false",),
                           line(problem="1", solution="a", label=1)),
    "labels all right": Case("reward", ("all 2 rows are right", "add wrong solutions"),
                             2 * line(problem="1", solution="a", label=True)),
    "labels all wrong": Case("reward", ("all 1 rows are wrong", "add right solutions"),
                             line(problem="1", solution="a", label=False)),
    "label of two tokens": Case("reward", ("label 'Yes indeed' is", "one token each"), None,
                                {"labels": ("Yes indeed", "No"), "tokenizer": "bytes"}),
    "labels too few": Case("process", ("line 1: 2 steps and 1 labels", "null where it has none"),
                           line(problem="1", steps=["a", "b"], labels=[1])),
    "score too high": Case("process", ("`labels` holds 2: write numbers in [0, 1] or null",),
                           line(problem="1", steps=["a"], labels=[2])),
    "steps a text": Case("process", ("`steps` is 'a': write a list",),
                         line(problem="1", steps="a", labels=[1])),
    "template unknown": Case("sft", ("template 'none.txt'", "neither a preset"), None,
                             {"template": "none.txt"}),
    "all too long": Case("sft", ("max_length=3: none of the 2 rows fits", "raise max_length"), None,
                         {"max_length": 3}),
    "model missing": Case("sft", ("tokenizer of /none cannot be loaded",), None,
                          {"model": "/none", "new": None}),
    "no model": Case("sft", ("model=None: give a model to start from",), None, {"new": None}),
    "vocabulary too small": Case("sft", ("vocab_size=258", "leave it out"), None,
                                 {"new": Architecture(vocab_size=258), "tokenizer": "wide",
                                  "max_length": 1024}),
    "no output": Case("sft", ("output=None: give a folder",), None, {"output": None}),
    "FSDP with one process": Case("sft", ("fsdp=2: 1 processes run", "accelerate launch"), None,
                                  {"fsdp": 2}),
    "tracker not installed": Case("sft", ("report_to='wandb' needs wandb: pip install wandb",),
                                  None, {"report_to": "wandb"}),
    "adapters for nothing": Case("sft", ("lora.targets=('nope',)", "no such matrix as nope"), None,
                                 {"lora": Lora(targets=("nope",))}),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from rtsearch_fast.training.models import train_tokenizer

    monkeypatch.chdir(tmp_path)
    train_tokenizer(["a"], 258).save_pretrained(tmp_path / "bytes")
    train_tokenizer(["a b c " * 9], 300, ("<|x|>",)).save_pretrained(tmp_path / "wide")
    return tmp_path


def test_bad_input_is_of_at_least_fifteen_kinds() -> None:
    assert len(BAD) >= 15


@pytest.mark.parametrize("name", BAD)
def test_training_when_input_is_bad_is_refused_by_one_line(folder: Path, name: str) -> None:
    case = BAD[name]
    train, kind, rows = TRAINERS[case.trainer]
    data = write(folder / "data.jsonl", rows)
    if case.data is not None:
        data.write_bytes(case.data)
    with pytest.raises(SearchError) as caught:
        train(kind(**tiny(data, folder / "out") | {"max_steps": 1} | case.settings), quiet=True)
    text = str(caught.value)
    assert "\n" not in text
    missing = [words for words in case.words if words.replace("{data}", str(data)) not in text]
    assert not missing, text
    assert not (folder / "out" / "config.json").exists()


# --- the output --------------------------------------------------------------------------


def sft(folder: Path, **more: Any) -> trainer.TrainResult:
    data = write(folder / "data.jsonl", solutions(4))
    return train_sft(SftSettings(**tiny(data, folder / "out", max_steps=1) | more), quiet=True)


def test_output_when_it_holds_a_model_is_left_alone(folder: Path) -> None:
    result = sft(folder)
    before = (result.folder / "model.safetensors").stat().st_mtime_ns
    for resume in (False, True):
        with pytest.raises(RunStoreError, match="holds a trained model already: choose another"):
            sft(folder, resume=resume)
    assert (result.folder / "model.safetensors").stat().st_mtime_ns == before


def test_output_when_it_holds_checkpoints_wants_to_be_told(folder: Path) -> None:
    result = sft(folder, max_steps=2, save_steps=1)
    (result.folder / "config.json").unlink()
    with pytest.raises(RunStoreError, match="give --resume to go on from its last checkpoint"):
        sft(folder)
    assert sft(folder, max_steps=3, save_steps=1, resume=True).metrics["steps"] == 3


def test_output_when_it_is_a_file_is_refused(folder: Path) -> None:
    (folder / "out").write_text("")
    with pytest.raises(RunStoreError, match=r"out: cannot be written .*choose another output"):
        sft(folder)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail] . PytorchStreamWriter failed writing file data/0"),
    ],
)
def test_output_when_the_disk_is_full_says_so_and_leaves_no_half_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    from transformers import PreTrainedModel

    def save(model: Any, path: str, **_: Any) -> None:
        Path(path).mkdir(exist_ok=True)
        (Path(path) / "config.json").write_text("{}")
        raise error

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", save)
    with pytest.raises(RunStoreError, match=r"\(No space left on device\): make room"):
        sft(folder)
    assert {path.name for path in (folder / "out").iterdir()} == {"metrics.jsonl"}


def test_training_when_a_package_is_missing_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = trainer.importlib.util.find_spec
    monkeypatch.setattr(
        trainer.importlib.util, "find_spec", lambda name: None if name == "trl" else find(name)
    )
    with pytest.raises(MissingExtraError, match=r'needs trl: pip install "rtsearch-fast\[train\]"'):
        sft(folder)


def test_training_when_a_bug_raises_does_not_call_it_the_disk(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError), trainer.writing(folder):
        raise ZeroDivisionError
