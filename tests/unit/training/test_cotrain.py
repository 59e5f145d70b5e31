"""Co-training, on a small scale: the shipped policy goes on with its own solutions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from rtsearch_fast.engine.embedded import embedded_model
from rtsearch_fast.errors import (
    DataError,
    InvalidArgumentError,
    MissingExtraError,
    RunStoreError,
)
from rtsearch_fast.training.cotrain import CotrainSettings, Pair, cotrain, loop
from rtsearch_fast.training.cotrain.report import render_report
from rtsearch_fast.training.decontamination import assert_no_leak
from rtsearch_fast.training.settings import DpoSettings, RewardSettings, SftSettings

pytest.importorskip("trl")

POLICY = embedded_model("tiny-policy")
REWARD = RewardSettings(
    template="verdict",
    check_template="check",
    calculator=True,
    batch_size=8,
    max_steps=3,
    learning_rate=1e-3,
)
DPO = DpoSettings(template="bare", batch_size=4, max_steps=2, learning_rate=1e-4)
SFT = SftSettings(template="bare")


def small(output: Path, **changes: Any) -> CotrainSettings:
    settings = CotrainSettings(
        output=output,
        families=("countdown", "chain"),
        policy_start=str(POLICY),
        solutions=20,
        questions=10,
        samples=6,
        rounds=1,
        dev=4,
        max_solution_tokens=112,
        check_tokens=16,
        sequences=64,
    )
    return replace(settings, **changes)


def run(output: Path, **changes: Any) -> Pair:
    return cotrain(small(output, **changes), SFT, REWARD, DPO, quiet=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return run(tmp_path_factory.mktemp("cotrain") / "run", compare=True)


def test_cotrain_when_run_leaves_two_models_and_an_account_of_each_stage(finished: Pair) -> None:
    root = finished.policy.parent
    for folder in (finished.policy, finished.reward):
        assert (folder / "model.safetensors").is_file()
        assert (folder / "tokenizer.json").is_file()
    told = json.loads((root / "cotrain.json").read_text())
    assert list(told["stages"]) == [
        "data",
        "round0-measure",
        "round1-sample",
        "round1-reward-data",
        "round1-reward",
        "round1-score",
        "round1-pairs",
        "round1-dpo",
        "round1-measure",
    ]
    measured = told["stages"]["round1-measure"]
    assert {"policy", "bare label", "written check"} <= measured.keys()
    assert 0 <= measured["written check, adversarial"]["chain"]["fudged last step"] <= 1
    for name in ("rounds.png", "losses.png"):
        assert (root / name).read_bytes().startswith(b"\x89PNG")


def test_report_when_rendered_tells_of_each_round_form_and_kind_of_trap(finished: Pair) -> None:
    text = render_report(finished.policy.parent)
    for words in ("| 1 | chain |", "| written check |", "| fudged last step |", "| random data |"):
        assert words in text, words
    assert text.count("| head | chain |") == 1


def test_report_when_there_is_none_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cotrain.json: no account of a co-training"):
        render_report(tmp_path)


def test_cotrain_when_run_trains_on_no_held_out_problem(finished: Pair) -> None:
    root = finished.policy.parent
    held = root / "00-data" / "dev.jsonl"
    trained = [
        path
        for path in sorted(root.glob("*/*.jsonl"))
        if path.name in ("sft.jsonl", "reward.jsonl", "pairs.jsonl")
    ]
    assert len(trained) == 4  # the rows of the compared reward model, too
    assert assert_no_leak(trained, [held]) > 0


def test_cotrain_when_killed_goes_on_where_it_was_with_what_it_had(
    finished: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def watched(name: str) -> Callable[..., Any]:
        inner = getattr(loop, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            if name == "train_dpo" and calls.count(name) == 1:
                raise KeyboardInterrupt
            return inner(*args, **kwargs)

        return call

    for name in ("sample_solutions", "train_reward", "train_dpo"):
        monkeypatch.setattr(loop, name, watched(name))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run")
    before = list(calls)
    pair = run(tmp_path / "run")
    assert calls[len(before) :] == ["train_dpo", "sample_solutions", "sample_solutions"]
    # What is sampled repeats itself bit for bit. Trainings do not where several threads add up.
    for path in ("02-round1-sample/samples.jsonl", "03-round1-reward-data/reward.jsonl"):
        mine, other = (each.policy.parent / path for each in (pair, finished))
        assert mine.read_bytes() == other.read_bytes()
    mine, other = (load_file(each.reward / "model.safetensors") for each in (pair, finished))
    assert all(np.allclose(mine[name], other[name], atol=0.02) for name in other)


def test_cotrain_when_settings_changed_names_the_folder_to_remove(finished: Pair) -> None:
    with pytest.raises(RunStoreError, match=r"01-round0-measure: was made with.*remove"):
        run(finished.policy.parent, samples=8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"families": ()}, "give families of problems, or files"),
        ({"families": ("sudoku",)}, "no family of problems is called 'sudoku'"),
        ({"samples": 1}, "samples=1: a right and a wrong one make 2"),
        ({"rounds": 0}, "rounds=0: must be at least 1"),
        ({"temperature": 0.0}, "temperature=0.0: must be positive"),
        ({"adversarial": -1.0}, "adversarial=-1.0: must be 0 or more"),
        ({"output": None}, "output=None: give a folder"),
    ],
)
def test_cotrain_when_a_setting_is_bad_says_so(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        cotrain(replace(small(tmp_path / "run"), **changes), SFT, REWARD, DPO, quiet=True)


def test_cotrain_when_the_judge_ranks_says_what_to_choose(tmp_path: Path) -> None:
    ranking = replace(REWARD, kind="ranking")
    with pytest.raises(InvalidArgumentError, match="choose generative"):
        cotrain(small(tmp_path / "run"), SFT, ranking, DPO, quiet=True)


def test_cotrain_when_plots_cannot_be_drawn_says_so_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "rtsearch_fast.training.cotrain.plots.importlib.util.find_spec", lambda name: None
    )
    with pytest.raises(MissingExtraError, match="matplotlib"):
        run(tmp_path / "run")
    assert not (tmp_path / "run").exists()
