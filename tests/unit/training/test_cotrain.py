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
from rtsearch_fast.policy.prompt import PromptTemplate
from rtsearch_fast.reward.calculated import with_corrections
from rtsearch_fast.reward.question import JudgeTemplate
from rtsearch_fast.reward.worked import work_out
from rtsearch_fast.reward.written import VERDICT
from rtsearch_fast.steps import make_splitter
from rtsearch_fast.tasks import FAMILIES
from rtsearch_fast.training.cotrain import CotrainSettings, Pair, cotrain, loop, rounds, workbench
from rtsearch_fast.training.cotrain.agreement import agreement
from rtsearch_fast.training.cotrain.copying import check_rows
from rtsearch_fast.training.cotrain.questions import dev_questions
from rtsearch_fast.training.cotrain.report import render_report
from rtsearch_fast.training.decontamination import assert_no_leak
from rtsearch_fast.training.settings import (
    Architecture,
    DpoSettings,
    RewardSettings,
    SftSettings,
)

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


def test_agreement_when_figures_differ_by_more_than_the_tolerance_does_not_hold(
    finished: Pair, tmp_path: Path
) -> None:
    root = finished.policy.parent
    measured = next(root.glob("*-round1-measure/stage.json"))
    same = agreement(root, measured)
    assert same.holds and "differs" not in same.render()
    told = json.loads(measured.read_text())
    figures = told["metrics"]["written check"]["chain"]
    figures["accuracy"] += 0.06 if figures["accuracy"] < 0.5 else -0.06
    other = tmp_path / "stage.json"
    other.write_text(json.dumps(told))
    assert not agreement(root, other).holds
    assert agreement(root, other).render().count("differs") == 1


def test_agreement_when_something_else_was_measured_says_so(finished: Pair, tmp_path: Path) -> None:
    root = finished.policy.parent
    told = json.loads(next(root.glob("*-round1-measure/stage.json")).read_text())
    del told["metrics"]["written check"]["chain"]
    other = tmp_path / "stage.json"
    other.write_text(json.dumps(told))
    with pytest.raises(DataError, match="measures other things"):
        agreement(root, other)


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

    def watched(module: Any, name: str) -> Callable[..., Any]:
        inner = getattr(module, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            if name == "train_dpo" and calls.count(name) == 1:
                raise KeyboardInterrupt
            return inner(*args, **kwargs)

        return call

    places = ((workbench, "sample_solutions"), (rounds, "train_reward"), (rounds, "train_dpo"))
    for module, name in places:
        monkeypatch.setattr(module, name, watched(module, name))
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
        ({"checked": -1}, "checked=-1: must be 0 or more"),
        ({"families": (), "data": ("a",), "dev_data": ("b",), "checked": 1}, "without checks"),
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


def test_cotrain_when_several_processes_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InvalidArgumentError, match=r"2 processes: .* without accelerate launch"):
        cotrain(small(tmp_path / "run"), SFT, REWARD, DPO, quiet=True)
    assert not (tmp_path / "run").exists()


def test_cotrain_when_plots_cannot_be_drawn_says_so_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "rtsearch_fast.training.cotrain.plots.importlib.util.find_spec", lambda name: None
    )
    with pytest.raises(MissingExtraError, match="matplotlib"):
        run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


# --- what the first judge learns -------------------------------------------------------------


def test_check_rows_when_made_ask_what_the_judge_will_be_asked() -> None:
    settings = small(Path("run"), checked=30)
    found = check_rows(settings, SFT, REWARD, "<|endoftext|>")
    assert len(found) == 2 * 2 * 30
    # a solution in which no number was replaced stays right
    assert 60 <= [row["after"][-1] for row in found].count("Yes") <= 75
    prompt, judge = PromptTemplate.load("bare"), JudgeTemplate.load("check")
    split = make_splitter("labelled").split
    for row in found:
        assert row["label"] is False
        steps = tuple(split(row["solution"]))
        solved = prompt.render(row["problem"], (row["solution"],)) + "<|endoftext|>"
        check = FAMILIES[row["unique_id"].partition("/")[0]].check(row["problem"], steps)
        learned, given, label = row["after"]
        assert solved + learned == f"{judge.render(row['problem'], steps)}{check.text} ="
        assert learned.endswith(f"{check.text} =")
        assert work_out(check.text) == f"{check.text} ={given.removesuffix(VERDICT)}"
        assert label == ("Yes" if check.first_error is None else "No")
        assert steps == with_corrections(steps)  # as it will be shown
    held = [item.problem.unique_id for item in dev_questions(settings)]
    assert not {row["unique_id"] for row in found} & set(held)


def test_check_rows_when_templates_do_not_fit_say_which() -> None:
    told = replace(SFT, template="plain")
    with pytest.raises(InvalidArgumentError, match=r"checked=1: the check template check-.* plain"):
        check_rows(small(Path("run"), checked=1), told, REWARD, "<|endoftext|>")


@pytest.mark.parametrize("copied", [0, 8])
def test_first_judge_when_checks_are_learned_is_a_model_of_its_own(
    tmp_path: Path, copied: int
) -> None:
    sizes = Architecture(hidden_size=32, intermediate_size=64, num_hidden_layers=1)
    told = replace(SFT, new=sizes, batch_size=4, max_steps=2)
    settings = small(tmp_path / "run", policy_start=None, copied=copied, checked=8)
    bench = workbench.Workbench(settings, told, REWARD, DPO, quiet=True)
    dev = dev_questions(settings)
    data = bench.stages.run("data", lambda folder: loop._write_data(bench, folder, dev), {})
    policy, judge = loop._first_policy(bench, data), loop._first_judge(bench, data)
    assert judge is not None

    def started(folder: Path) -> str:
        return str(json.loads((folder / "settings.json").read_text())["model"])

    assert list(bench.trained) == ["sft", *["copy"][:copied], "check"]
    assert judge == bench.trained["check"] and "sft" not in started(judge)
    if copied:
        assert Path(started(judge)) == bench.trained["copy"]
        rows = [json.loads(line) for line in (data / "copy.jsonl").read_text().splitlines()]
        assert len(rows) == 16 and all(len(row["after"]) == 1 for row in rows)
    assert len((data / "sft.jsonl").read_text().splitlines()) == 2 * 20
    assert len((data / "check.jsonl").read_text().splitlines()) == 2 * 2 * 8
    assert policy != judge
