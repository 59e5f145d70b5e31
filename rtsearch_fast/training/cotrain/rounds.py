"""The stages of one round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ...evaluation.data import Item
from ..active import select
from ..dpo import train_dpo
from ..filters import run_filters, standard_filters
from ..jsonl import write_jsonl
from ..pairs import make_pairs
from ..reward import train_reward
from ..samples import Sampled, read_samples, write_samples
from .judging import reward_rows
from .measure import measure_policy
from .questions import known_solutions, questions
from .workbench import Workbench

__all__ = ["measure", "prefer", "sample", "score", "train_judge"]

#: The settings that decide what a stage does.
_SAMPLE = (
    "families",
    "data",
    "questions",
    "samples",
    "temperature",
    "max_solution_tokens",
    "check_tokens",
    "written",
    "engine",
)
_CHOOSE = ("families", "per_question", "prefixes", "adversarial", "written")

#: What is thrown away before samples are chosen from: the classes stay as they are, since active
#: learning takes as many of one as of the other.
_FILTERS = ("format", "duplicates", "one-sided")


def sample(bench: Workbench, number: int, policy: Path, judge: Path | None) -> Path:
    """Sample solutions of the questions of a round, and mark them right or wrong."""

    items = questions(bench.settings, number)

    def work(folder: Path) -> dict[str, Any]:
        samples = bench.draw(items, policy, judge, bench.settings.samples)
        write_samples(folder / "samples.jsonl", samples)
        _write_known(bench, folder, number, items, samples, judge)
        right = sum(sample.right for sample in samples) / len(samples)
        tokens = sum(sample.num_tokens for sample in samples)
        return {
            "questions": len(items),
            "samples": len(samples),
            "right": right,
            "policy_tokens": tokens,
        }

    return bench.stages.run(f"round{number}-sample", work, bench.told(_SAMPLE, policy, judge))


def _write_known(
    bench: Workbench,
    folder: Path,
    number: int,
    items: Sequence[Item],
    samples: Sequence[Sampled],
    judge: Path | None,
) -> None:
    """Keep the known solutions of questions that no sample solved, for the reward model.

    Without them it would never see the policy's mistakes on what is too hard for the policy.
    """
    solved = {sample.unique_id for sample in samples if sample.right}
    steps = known_solutions(bench.settings, number, items)
    known = [
        Sampled(
            item.problem.unique_id,
            item.problem.problem,
            steps[item.problem.unique_id],
            item.gold,
            True,
        )
        for item in items
        if item.problem.unique_id in steps and item.problem.unique_id not in solved
    ]
    if judge is not None and known:
        known = bench.with_scores(known, judge)[0]
    write_samples(folder / "known.jsonl", known)


def train_judge(
    bench: Workbench,
    number: int,
    sampled: Path,
    start: Path,
    name: str | None = None,
    strategy: Literal["active", "random"] | None = None,
) -> Path:
    """Choose what the reward model learns from, and train it."""

    name = name or f"round{number}"
    strategy = strategy or bench.settings.strategy

    def choose(folder: Path) -> dict[str, Any]:
        samples = read_samples(sampled / "samples.jsonl")
        unfinished = [s for s in samples if s.answer is None and s.solution]
        if (sampled / "known.jsonl").stat().st_size:
            samples += read_samples(sampled / "known.jsonl")
        kept, report = run_filters(samples, standard_filters(_FILTERS, seed=bench.settings.seed))
        scored = any(sample.scored for sample in kept)
        selection = select(
            kept,
            strategy=strategy if scored else "random",
            per_question=bench.settings.per_question,
            seed=bench.settings.seed,
        )
        rows, counts = reward_rows(selection.samples, unfinished, bench.settings, number)
        write_jsonl(folder / "reward.jsonl", rows)
        told = f"{report.render()}\n\n{selection.stats.render()}\n"
        (folder / "selection.txt").write_text(told, encoding="utf-8")
        return {
            "kept": len(kept),
            "chosen": len(selection.samples),
            "rows": len(rows),
            "by kind": counts,
        }

    facts = bench.told(_CHOOSE, sampled) | {"strategy": strategy}
    data = bench.stages.run(f"{name}-reward-data", choose, facts)
    told = replace(
        bench.reward,
        model=str(start),
        new=None,
        data=(data / "reward.jsonl",),
        seed=bench.settings.seed + number,
    )
    return bench.train(f"{name}-reward", train_reward, told, data, start)


def score(bench: Workbench, number: int, sampled: Path, judge: Path) -> Path:
    """Score the samples with the updated reward model."""

    def work(folder: Path) -> dict[str, Any]:
        samples = read_samples(sampled / "samples.jsonl")
        scored, tokens = bench.with_scores(samples, judge)
        write_samples(folder / "samples.jsonl", scored)
        return {"scored": sum(s.scored for s in scored), "reward_tokens": tokens}

    return bench.stages.run(f"round{number}-score", work, bench.told(_SAMPLE, sampled, judge))


def prefer(bench: Workbench, number: int, scored: Path, policy: Path) -> Path:
    """Train the policy on pairs of right and wrong samples."""

    def work(folder: Path) -> dict[str, Any]:
        pairs, stats = make_pairs(read_samples(scored / "samples.jsonl"), seed=bench.settings.seed)
        write_jsonl(
            folder / "pairs.jsonl",
            ({"problem": p.problem, "chosen": p.chosen, "rejected": p.rejected} for p in pairs),
        )
        return {
            "pairs": stats.pairs,
            "hard": stats.hard,
            "all wrong": stats.all_wrong,
            "all right": stats.all_right,
        }

    data = bench.stages.run(f"round{number}-pairs", work, bench.told((), scored))
    told = replace(
        bench.dpo,
        model=str(policy),
        new=None,
        data=(data / "pairs.jsonl",),
        seed=bench.settings.seed + number,
    )
    return bench.train(f"round{number}-dpo", train_dpo, told, data, policy)


def measure(
    bench: Workbench, number: int, policy: Path, judge: Path | None, dev: Sequence[Item]
) -> None:
    """Measure both models on held-out problems."""

    def work(folder: Path) -> dict[str, Any]:
        greedy = bench.draw(dev, policy, None, 1, greedy=True)
        sampled = bench.draw(dev, policy, None, bench.settings.samples)
        write_samples(folder / "samples.jsonl", sampled)
        found: dict[str, Any] = {"policy": measure_policy(greedy, sampled)}
        if judge is not None:
            found |= bench.with_engine(judge, lambda engine: bench.ask(engine, sampled))
        return found

    bench.stages.run(f"round{number}-measure", work, bench.told((*_SAMPLE, "dev"), policy, judge))
