"""What the reward model is trained on: chosen samples, their beginnings, and traps."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from ...answers import final_answer
from ...reward.calculated import with_corrections
from ...tasks import FAMILIES, Example, Family, examples
from ...tasks.adversarial import KINDS, corrupt
from ..samples import Sampled
from .settings import CotrainSettings

__all__ = ["adversarial_rows", "family_of", "reward_rows"]

Row = dict[str, Any]
T = TypeVar("T")

#: Share of the traps that a check is written of: it says more than the label.
_WRITTEN = 0.8

#: Which kinds the traps are of; several times what takes more of them to learn. What is cut off
#: gets no check, so that the label alone must tell it; of the others the answer or a step has one
#: other number, which a model that writes what should stand there does not see.
_KINDS = (
    *KINDS,
    *3 * ("cut off",),
    *2 * ("other answer",),
    "right answer by wrong steps",
)


def family_of(unique_id: str) -> Family | None:
    """The family of generated problems that a problem is of."""
    return FAMILIES.get(unique_id.partition("/")[0])


def reward_rows(
    chosen: Sequence[Sampled], unfinished: Sequence[Sampled], settings: CotrainSettings, seed: int
) -> tuple[list[Row], dict[str, int]]:
    """Rows for the reward trainer.

    Every text is shown as `CalculatedReward` will show it. Finished solutions are labelled by their
    outcome, and so are their beginnings: what a search asks about a prefix is where it leads. A
    right answer that the family's own check finds badly reached counts as wrong.

    Parameters
    ----------
    chosen : sequence of Sampled
    unfinished : sequence of Sampled
        Without an answer: what a search sees of them are their beginnings. At most half as many as
        `chosen` are taken.
    settings : CotrainSettings
    seed : int

    Returns
    -------
    (list of dict, dict)
        The rows, shuffled; how many of each sort.
    """
    rng = random.Random(f"reward/{seed}")
    finished: list[Row] = []
    prefixes: list[Row] = []
    written: list[Row] = []
    for sample in chosen:
        family = family_of(sample.unique_id)
        shown = with_corrections(sample.solution)
        label = sample.right
        if family is not None:
            check = family.check(sample.problem, sample.solution)
            label = label and check.first_error is None
            if settings.written and sample.answer is not None:
                written.append(_row(sample, shown, label) | {"check": check.text})
        finished.append(_row(sample, shown, label))
        for length in _some(range(1, len(shown)), settings.prefixes, rng):
            prefixes.append(_row(sample, shown[:length], label))
    for sample in _some(unfinished, len(chosen) // 2, rng):
        shown = with_corrections(sample.solution)
        for length in _some(range(1, len(shown) + 1), settings.prefixes, rng):
            prefixes.append(_row(sample, shown[:length], False))
    traps = _traps(chosen, settings, rng)
    rows = [*finished, *prefixes, *written, *traps]
    rng.shuffle(rows)
    counts = {
        "finished": len(finished),
        "prefixes": len(prefixes),
        "written": len(written),
        "adversarial": len(traps),
        "right": sum(row["label"] for row in rows),
    }
    return rows, counts


def adversarial_rows(
    items: Iterable[Example], kinds: Sequence[str], rng: random.Random
) -> list[tuple[str, Example, tuple[str, ...]]]:
    """Wrong solutions of each kind: (kind, what it was made of, steps)."""
    found = []
    for example in items:
        family = family_of(example.unique_id)
        assert family is not None
        for kind in kinds:
            steps = corrupt(kind, family, example, rng)
            if steps is not None:
                found.append((kind, example, steps))
    return found


def _traps(chosen: Sequence[Sampled], settings: CotrainSettings, rng: random.Random) -> list[Row]:
    """Wrong solutions made of known ones, and as many known ones, so that both look alike."""
    rows: list[Row] = []
    per_family = round(len(chosen) * settings.adversarial / max(1, len(settings.families)) / 2)
    for name in settings.families:
        known = examples(name, split="train", count=per_family, seed=rng.randrange(1 << 30))
        for example in known:
            family = FAMILIES[name]
            kind = rng.choice(_KINDS)
            wrong = corrupt(kind, family, example, rng)
            for steps, label in ((wrong, False), (example.steps, True)):
                if steps is None:
                    continue
                shown = with_corrections(steps)
                check = family.check(example.problem, shown)
                row = {"problem": example.problem, "solution": list(shown), "label": label}
                # a check is asked for where there is an answer
                is_whole = final_answer("".join(shown)) is not None
                if settings.written and is_whole and rng.random() < _WRITTEN:
                    row["check"] = check.text
                rows.append(row)
                # what a search asks about on its way there
                wrong_at = check.first_error if check.first_error is not None else len(shown)
                first = 1 if label else wrong_at + 1
                for length in _some(range(first, len(shown)), settings.prefixes, rng):
                    rows.append(row | {"solution": list(shown[:length])})
                    rows[-1].pop("check", None)
    return rows


def _row(sample: Sampled, steps: Sequence[str], label: bool) -> Row:
    return {"problem": sample.problem, "solution": list(steps), "label": label}


def _some(values: Iterable[T], count: int, rng: random.Random) -> list[T]:
    found = list(values)
    return rng.sample(found, min(count, len(found)))
