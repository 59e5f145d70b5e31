"""Other ways to train the last reward model, to compare with the loop's."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...reward.question import JudgeTemplate
from ..reward import train_reward
from ..samples import read_samples
from .heads import HeadReward
from .rounds import train_judge
from .workbench import Workbench

__all__ = ["compare"]


def compare(bench: Workbench, sampled: Path, before: Path, start: Path) -> None:
    """Train the last reward model in other ways, and measure all on the last policy's samples.

    What is measured goes into ``compare.json``. A head is trained from what the first reward model
    started from (`before`), another choice of data from what the last one did (`start`).
    """
    last = bench.settings.rounds
    rows = bench.stages.folders[f"round{last}-reward-data"] / "reward.jsonl"
    judged = bench.stages.folders[f"round{last}-measure"] / "samples.jsonl"
    random = train_judge(bench, last, sampled, start, "compare-random", "random")
    told = replace(
        bench.reward, kind="discriminative", model=str(before), new=None, data=(rows,),
        seed=bench.settings.seed,
    )  # fmt: skip
    head = bench.train("compare-head", train_reward, told, rows.parent, before)

    def work(folder: Path) -> dict[str, Any]:
        samples = read_samples(judged)
        scored = HeadReward(head, JudgeTemplate.load(bench.reward.template))
        return {
            "random data": bench.with_engine(random, lambda e: bench.ask(e, samples)),
            "discriminative": asyncio.run(bench.ask_judge(scored, samples, "head")),
        }

    folder = bench.stages.run("compare-measure", work, bench.told(("dev",), random, head))
    shutil.copy(folder / "stage.json", bench.output / "compare.json")
