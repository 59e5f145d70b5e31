"""`rtsearch train sft | dpo | reward | process | cotrain`: train policies and reward models."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from ..search.tree_view import printable
from ..training.cotrain.settings import CotrainSettings
from ..training.settings import (
    DpoSettings,
    ProcessSettings,
    RewardSettings,
    SftSettings,
    TrainSettings,
)

__all__ = ["cotrain", "dpo", "process", "report", "reward", "sft", "train_app"]

train_app = App(name="train", help="Train policies and reward models.")

_DryRun = Annotated[bool, Parameter(negative=())]


@train_app.command
def sft(
    *,
    recipe: Path | None = None,
    dry_run: _DryRun = False,
    settings: Annotated[SftSettings | None, Parameter(name="*")] = None,
) -> int:
    """Instruction tuning: train a policy on solutions. Rows have problem and solution.

    Parameters
    ----------
    recipe
        YAML file; what its `sft` holds are the defaults of this command's options.
    dry_run
        Check settings and sizes and estimate the memory, without weights, and stop.
    """
    from ..training.sft import train_sft

    return _train("sft", train_sft, settings or SftSettings(), dry_run)


@train_app.command
def dpo(
    *,
    recipe: Path | None = None,
    dry_run: _DryRun = False,
    settings: Annotated[DpoSettings | None, Parameter(name="*")] = None,
) -> int:
    """Preference optimisation of a policy. Rows have problem, chosen and rejected.

    Parameters
    ----------
    recipe
        YAML file; what its `dpo` holds are the defaults of this command's options.
    dry_run
        Check settings and sizes and estimate the memory, without weights, and stop.
    """
    from ..training.dpo import train_dpo

    return _train("dpo", train_dpo, settings or DpoSettings(), dry_run)


@train_app.command
def reward(
    *,
    recipe: Path | None = None,
    dry_run: _DryRun = False,
    settings: Annotated[RewardSettings | None, Parameter(name="*")] = None,
) -> int:
    """Train a reward model on finished solutions. Rows have problem, solution and label.

    Parameters
    ----------
    recipe
        YAML file; what its `reward` holds are the defaults of this command's options.
    dry_run
        Check settings and sizes and estimate the memory, without weights, and stop.
    """
    from ..training.reward import train_reward

    return _train("reward", train_reward, settings or RewardSettings(), dry_run)


@train_app.command
def process(
    *,
    recipe: Path | None = None,
    dry_run: _DryRun = False,
    settings: Annotated[ProcessSettings | None, Parameter(name="*")] = None,
) -> int:
    """Train a process reward model. Rows have problem, steps and a label for each step.

    Parameters
    ----------
    recipe
        YAML file; what its `process` holds are the defaults of this command's options.
    dry_run
        Check settings and sizes and estimate the memory, without weights, and stop.
    """
    from ..training.process import train_process

    return _train("process", train_process, settings or ProcessSettings(), dry_run)


@train_app.command
def cotrain(
    *,
    recipe: Path,
    settings: Annotated[CotrainSettings | None, Parameter(name="*")] = None,
) -> int:
    """Train a policy and its reward model together, from nothing or from a model.

    Parameters
    ----------
    recipe
        YAML file; what its `cotrain` holds are the defaults of this command's options, its `sft`,
        `reward` and `dpo` are the settings of the trainers.
    """
    from ..training.cotrain import cotrain as train
    from .train_recipe import load_settings

    sft, reward, dpo = (
        load_settings(SftSettings, recipe, "sft"),
        load_settings(RewardSettings, recipe, "reward"),
        load_settings(DpoSettings, recipe, "dpo"),
    )
    try:
        pair = train(settings or CotrainSettings(), sft, reward, dpo)
    except KeyboardInterrupt:
        print("rtsearch: interrupted; the same command goes on", file=sys.stderr)
        return 130
    print(f"{pair.policy}\n{pair.reward}\n{pair.seconds / 60:.1f} minutes, {pair.tokens:,} tokens")
    return 0


@train_app.command
def report(
    folder: Path,
    /,
    *,
    into: Path | None = None,
    name: str | None = None,
    expect: Path | None = None,
) -> int:
    """Print what a co-training measured, or put it into a Markdown file.

    Parameters
    ----------
    folder
        What `rtsearch train cotrain` wrote to.
    into
        Markdown file with the lines <!-- cotrain:NAME --> and <!-- /cotrain:NAME -->: what is
        between them is replaced.
    name
        NAME of these lines. Default: the folder's name.
    expect
        The stage.json of another run's last measurement: print both side by side, and end with 1
        if they differ by more than the tolerance.
    """
    from ..evaluation.section import put_section
    from ..training.cotrain.agreement import agreement
    from ..training.cotrain.report import render_report

    if expect is not None:
        compared = agreement(folder, expect)
        print(printable(compared.render(), keep="\n"))
        return 0 if compared.holds else 1
    text = render_report(folder)
    if into is None:
        print(printable(text, keep="\n"))
    else:
        changed = put_section(into, f"cotrain:{name or folder.resolve().name}", text)
        print(f"{into}: {'rewritten' if changed else 'is up to date'}")
    return 0


def _train(name: str, train: Callable[[Any], Any], settings: TrainSettings, dry_run: bool) -> int:
    tells = os.environ.get("RANK", "0") == "0"  # of several processes one
    if dry_run:
        from ..training.memory import plan

        told = plan(name, settings).render()
        if tells:
            print(told)
        return 0
    try:
        result = train(settings)
    except KeyboardInterrupt:
        kept = "; --resume goes on from the last checkpoint" if settings.save_steps else ""
        print(f"rtsearch: interrupted{kept}", file=sys.stderr)
        return 130
    if tells:
        metrics = result.metrics
        print(f"{result.folder}: {metrics['steps']} steps, loss {metrics['last_loss']:.4f}")
    return 0
