"""How good policy and reward model are, on held-out problems."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from ...aio import together
from ...evaluation.auc import auc
from ...reward.protocol import Reward
from ...tasks import Example, examples
from ...tasks.adversarial import KINDS
from ..samples import Sampled, by_question
from .judging import adversarial_rows, family_of
from .settings import CotrainSettings

__all__ = ["measure_adversarial", "measure_policy", "measure_reward", "score_steps"]

_Solution = tuple[str, ...]


def measure_policy(greedy: Sequence[Sampled], sampled: Sequence[Sampled]) -> dict[str, Any]:
    """Accuracy of the greedy solution and of one sample, and how often any sample is right."""
    found: dict[str, Any] = {}
    for name in _families(sampled):
        ones = [sample for sample in greedy if _family(sample) == name]
        many = [sample for sample in sampled if _family(sample) == name]
        groups = by_question(many).values()
        size = max(map(len, groups))
        found[name] = {
            "greedy": _share([sample.right for sample in ones]),
            "sample": _share([sample.right for sample in many]),
            f"any of {size}": _share([any(s.right for s in group) for group in groups]),
            "tokens": sum(sample.num_tokens for sample in many) / len(many),
        }
    return found


async def score_steps(
    reward: Reward, asked: Sequence[tuple[str, _Solution]]
) -> tuple[list[float], int]:
    """Score solutions of many problems; returns the scores and the tokens that they cost."""
    by_problem: dict[str, list[int]] = defaultdict(list)
    for index, (problem, _) in enumerate(asked):
        by_problem[problem].append(index)
    scores = [math.nan] * len(asked)
    tokens = 0

    async def judge(problem: str, places: list[int]) -> None:
        nonlocal tokens
        judgements = await reward.score(problem, [asked[i][1] for i in places])
        for place, judgement in zip(places, judgements, strict=True):
            scores[place] = judgement.score
            tokens += judgement.num_tokens

    await together(judge(problem, places) for problem, places in by_problem.items())
    return scores, tokens


async def measure_reward(
    reward: Reward, sampled: Sequence[Sampled], *, steps: bool = True
) -> dict[str, Any]:
    """AUC on finished solutions, and on their beginnings after each step.

    Two questions about a beginning: does it lead to a right answer ("outcome"), and is each of its
    steps right ("step", which the model was never told; families with a check only)? "first error"
    is how often the first step whose score falls below 1/2 is the first wrong one, or there is
    none (as in ProcessBench).
    """
    found: dict[str, Any] = {}
    for name in _families(sampled):
        ones = [s for s in sampled if _family(s) == name and s.answer is not None]
        labels = [_is_right(sample) for sample in ones]
        asked = [(sample.problem, sample.solution) for sample in ones]
        scores, tokens = await score_steps(reward, asked)
        found[name] = {
            "solutions": len(ones),
            "right": _share(labels),
            "auc": auc(scores, labels),
            "accuracy": _share([(s >= 0.5) == y for s, y in zip(scores, labels, strict=True)]),
            "tokens": tokens / max(1, len(ones)),
        }
        if steps:
            found[name] |= await _by_step(reward, ones, labels)
    return found


async def _by_step(
    reward: Reward, ones: Sequence[Sampled], labels: Sequence[bool]
) -> dict[str, Any]:
    asked: list[tuple[str, _Solution]] = []
    places: list[tuple[int, int]] = []
    for index, sample in enumerate(ones):
        for length in range(1, len(sample.solution)):
            asked.append((sample.problem, sample.solution[:length]))
            places.append((index, length))
    scores, _ = await score_steps(reward, asked)
    first_errors = [_first_error(sample) for sample in ones]
    outcome: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    sound: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    below: dict[int, int] = {}
    for (index, length), score in zip(places, scores, strict=True):
        outcome[length].append((score, labels[index]))
        error = first_errors[index]
        if error is not _UNKNOWN:
            sound[length].append((score, error is None or error >= length))
        if score < 0.5:
            below.setdefault(index, length - 1)
    hits = [
        below.get(i) == error
        or (below.get(i) is None and (error or 0) >= len(ones[i].solution) - 1)
        for i, error in enumerate(first_errors)
        if error is not _UNKNOWN
    ]
    found: dict[str, Any] = {
        "auc outcome by step": [auc(*zip(*outcome[n], strict=True)) for n in sorted(outcome)],
    }
    if sound:
        pairs = [pair for n in sound for pair in sound[n]]
        found["auc step by step"] = [auc(*zip(*sound[n], strict=True)) for n in sorted(sound)]
        found["auc step"] = auc(*zip(*pairs, strict=True))
        found["first error"] = _share(hits)
    return found


async def measure_adversarial(
    reward: Reward, settings: CotrainSettings
) -> dict[str, dict[str, float]]:
    """Share of wrong solutions of each kind, made of held-out problems, that are called wrong."""
    found: dict[str, dict[str, float]] = {}
    for name in settings.families:
        made: list[Example] = examples(
            name, split="heldout", count=settings.dev, seed=settings.seed + 78
        )
        rows = adversarial_rows(made, list(KINDS), random.Random(settings.seed))
        asked = [(example.problem, steps) for _, example, steps in rows]
        asked += [(example.problem, example.steps) for example in made]
        scores, _ = await score_steps(reward, asked)
        by_kind: dict[str, list[bool]] = defaultdict(list)
        for (kind, _, _), score in zip(rows, scores, strict=False):
            by_kind[kind].append(score < 0.5)
        found[name] = {kind: _share(hits) for kind, hits in by_kind.items()}
        found[name]["right solutions"] = _share([score >= 0.5 for score in scores[len(rows) :]])
    return found


_UNKNOWN = -1


def _first_error(sample: Sampled) -> int | None:
    family = family_of(sample.unique_id)
    return _UNKNOWN if family is None else family.check(sample.problem, sample.solution).first_error


def _is_right(sample: Sampled) -> bool:
    return sample.right and _first_error(sample) in (None, _UNKNOWN)


def _family(sample: Sampled) -> str:
    family = family_of(sample.unique_id)
    return "data" if family is None else family.name


def _families(samples: Sequence[Sampled]) -> list[str]:
    return list(dict.fromkeys(map(_family, samples)))


def _share(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else math.nan
