"""What a reward model learns before the loop: to copy, then to check.

A judge that copies badly cannot be taught to judge, and copying is what writing a check takes. So
it is learned before anything else, from solutions full of random numbers. A model that meets right
solutions first finds other ways to what a check says of them (the answer tells each step), and
goes on to write what should stand there where something else stands.

The first policy is another model: as one, so small a model learned either to solve or to copy.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ...answers import final_answer
from ...errors import InvalidArgumentError
from ...policy.prompt import PromptTemplate
from ...reward.calculated import with_corrections
from ...reward.question import JudgeTemplate
from ...reward.worked import RESULTS, work_out
from ...splitters import unescape
from ...tasks import FAMILIES, Example, Family, examples
from ...tasks.adversarial import KINDS, corrupt, garbled, nudged
from ..settings import RewardSettings, SftSettings
from .settings import CotrainSettings

__all__ = ["check_rows", "copy_rows"]

Row = dict[str, Any]
#: Problems of their own for what is copied, and for what is checked.
_COPIED, _CHECKED = 500, 501


def copy_rows(
    settings: CotrainSettings, sft: SftSettings, reward: RewardSettings, end: str
) -> list[Row]:
    """Checks of solutions full of random numbers: there is nothing to learn but to copy.

    Parameters
    ----------
    settings : CotrainSettings
    sft, reward : SftSettings, RewardSettings
        Their templates: a check must follow the end of a solution.
    end : str
        The token that ends a solution.
    """
    rng = random.Random(f"copies/{settings.seed}")
    after = _checks(settings, sft, reward, end, with_verdicts=False)
    rows = [
        _row(example, garbled(example, rng), family, after)
        for family, example in _examples(settings, settings.copied, _COPIED)
    ]
    rng.shuffle(rows)
    return rows


def check_rows(
    settings: CotrainSettings, sft: SftSettings, reward: RewardSettings, end: str
) -> list[Row]:
    """Checks and verdicts of right solutions, and of wrong ones that were made of them.

    A quarter of the wrong ones hold random numbers, in a quarter a single number is a little off:
    of all that a calculator finds, one small result tells these from right ones.

    Parameters
    ----------
    settings, sft, reward, end
        As for `copy_rows`.
    """
    rng = random.Random(f"checks/{settings.seed}")
    after = _checks(settings, sft, reward, end)
    rows: list[Row] = []
    for family, example in _examples(settings, settings.checked, _CHECKED):
        wrong = None
        if rng.random() < 0.5:
            wrong = corrupt(rng.choice(list(KINDS)), family, example, rng)
        if wrong is None or final_answer("".join(wrong)) is None:
            # unfinished ones are judged without a check
            wrong = rng.choice((garbled, nudged))(example, rng)
        rows += [_row(example, steps, family, after) for steps in (example.steps, wrong)]
    rng.shuffle(rows)
    return rows


_Checks = Callable[[Family, str, Sequence[str]], list[str]]


def _checks(
    settings: CotrainSettings,
    sft: SftSettings,
    reward: RewardSettings,
    end: str,
    *,
    with_verdicts: bool = True,
) -> _Checks:
    """What writes a check as it follows a solution and its end, and its verdict."""
    prompt = PromptTemplate.load(sft.template)
    judge = JudgeTemplate.load(reward.check_template or reward.template)
    verdict = unescape(reward.verdict)
    stop = RESULTS.rstrip() if reward.calculator else verdict

    def after(family: Family, problem: str, steps: Sequence[str]) -> list[str]:
        solved = prompt.render(problem, ("".join(steps).strip(),)) + end
        asked = judge.render(problem, tuple(steps))
        if not asked.startswith(solved):
            raise InvalidArgumentError(
                f"copied={settings.copied}, checked={settings.checked}: the check template "
                f"{judge.name} does not go on where solutions under {prompt.template.name} end: "
                "leave them out, or use the templates bare and check"
            )
        check = family.check(problem, steps)
        sums = check.text
        found = [asked[len(solved) :] + sums + stop]
        if with_verdicts:
            results = work_out(sums)[len(sums + stop) :] + verdict if reward.calculator else ""
            word = reward.labels[0 if check.first_error is None else 1]
            # results are the calculator's, and nothing to learn
            found = [*found, results, word] if results else [found[0] + word]
        return found

    return after


def _row(example: Example, steps: Sequence[str], family: Family, after: _Checks) -> Row:
    shown = with_corrections(steps)
    return {
        "unique_id": example.unique_id,
        "problem": example.problem,
        "solution": "".join(shown),
        "after": after(family, example.problem, shown),
        "label": False,
    }


def _examples(
    settings: CotrainSettings, count: int, place: int
) -> Iterator[tuple[Family, Example]]:
    for name in settings.families:
        seed = settings.seed + place
        for example in examples(name, split="train", count=count, seed=seed):
            yield FAMILIES[name], example
