"""Golden scores: what a reward model gave when it was known to work, to be met again.

A reward model that is read at a wrong place, through a wrong template or with labels swapped gives
numbers all the same, and a search that follows them finds nothing. Only known scores tell.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ..aio import together
from ..errors import DataError, RewardGoldenError
from .protocol import Reward

__all__ = ["TOLERANCE", "Golden", "GoldenCase", "check_golden", "write_golden"]

#: Scores that may lie apart without being wrong. With 16-bit numbers, logits between 16 and 32 are
#: multiples of 1/8, and near one half a score moves by 1/32 with each. Measured for the embedded
#: model, 18 cases: bfloat16 in this process is up to 0.059 off float32, vLLM's classifier (bfloat16
#: with a float32 head) up to 0.022.
TOLERANCE = 0.08


@dataclass(frozen=True, slots=True)
class GoldenCase:
    """A solution and its score.

    Attributes
    ----------
    problem : str
    steps : tuple of str
    score : float
        In [0, 1].
    """

    problem: str
    steps: tuple[str, ...]
    score: float


@dataclass(frozen=True, slots=True)
class Golden:
    """Scores recorded of one reward model.

    Attributes
    ----------
    reward : str
        Its name: model, template and read-out.
    tolerance : float
        Largest difference that is not taken for a fault.
    cases : tuple of GoldenCase
    source : str
        The file, for messages.
    """

    reward: str
    tolerance: float
    cases: tuple[GoldenCase, ...]
    source: str

    @classmethod
    def load(cls, path: str | Path) -> Golden:
        """Read a file that `write_golden` made.

        Raises
        ------
        DataError
            It cannot be read, or a field is missing or wrong.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from None
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: no UTF-8 text: {error.reason}") from None
        return _parse(text, str(path))

    @classmethod
    def shipped(cls, model: str = "smollm2-135m") -> Golden:
        """The scores that come with this package of an embedded judge, computed in float32."""
        name = f"reward/golden_scores/{model}.json"
        text = resources.files("rtsearch_fast").joinpath(name).read_text(encoding="utf-8")
        return _parse(text, Path(name).name)

    @classmethod
    def known(cls, reward: str) -> Golden | None:
        """The shipped scores of the reward model of this name, which tells its question, too."""
        folder = resources.files("rtsearch_fast").joinpath("reward/golden_scores")
        names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".json"))
        found = (cls.shipped(name.removesuffix(".json")) for name in names)
        return next((golden for golden in found if golden.reward == reward), None)


async def check_golden(reward: Reward, golden: Golden) -> float:
    """Let a reward model judge the recorded cases.

    Returns
    -------
    float
        The largest difference that was found.

    Raises
    ------
    RewardGoldenError
        A score differs by more than the tolerance, or is missing.
    EngineError
        The engine does not answer.
    """
    found = await _scores(reward, golden.cases)
    gaps = [
        math.inf if math.isnan(score) else abs(score - case.score)
        for score, case in zip(found, golden.cases, strict=True)
    ]
    largest = max(gaps)
    if largest <= golden.tolerance:
        return largest
    worst = gaps.index(largest)
    case, wrong = golden.cases[worst], sum(gap > golden.tolerance for gap in gaps)
    cause = (
        "the name is the same, so check the weights, their number format and the engine's flags"
        if reward.name == golden.reward
        else f"recorded of {golden.reward}, this is {reward.name}: check the model, its template "
        "and how the score is read"
    )
    raise RewardGoldenError(
        f"{golden.source}: {wrong} of {len(gaps)} golden scores are missed by more than "
        f"{golden.tolerance:g}; case {worst + 1} ({_short(case.problem)}): expected "
        f"{case.score:.4f}, found {found[worst]:.4f}: {cause}"
    )


async def write_golden(
    path: str | Path,
    reward: Reward,
    cases: Iterable[GoldenCase],
    *,
    tolerance: float = TOLERANCE,
) -> Golden:
    """Record the scores of a reward model that can be trusted.

    Parameters
    ----------
    path : str or path
        Of the file to write.
    reward : Reward
    cases : iterable of GoldenCase
        Their scores are replaced; ``Golden.shipped().cases`` will do for any model.
    tolerance : float

    Raises
    ------
    RewardGoldenError
        The reward model gives a case no score.
    DataError
        The file cannot be written.
    """
    cases = tuple(cases)
    scores = await _scores(reward, cases)
    for number, (case, score) in enumerate(zip(cases, scores, strict=True), 1):
        if math.isnan(score):
            raise RewardGoldenError(
                f"{reward.name} gives case {number} ({_short(case.problem)}) no score: it cannot "
                "be trusted yet; look at `rtsearch doctor`"
            )
    kept = tuple(
        GoldenCase(case.problem, case.steps, round(score, 6))
        for case, score in zip(cases, scores, strict=True)
    )
    golden = Golden(reward.name, tolerance, kept, str(path))
    data = asdict(golden)
    del data["source"]
    text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    return golden


async def _scores(reward: Reward, cases: Iterable[GoldenCase]) -> list[float]:
    found = await together(reward.score(case.problem, [case.steps]) for case in cases)
    return [judgement.score for (judgement,) in found]


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def _parse(text: str, source: str) -> Golden:
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source}: no JSON: {error}") from None
    fields = data if isinstance(data, dict) else {}
    reward, cases = fields.get("reward"), fields.get("cases")
    if not isinstance(reward, str):
        raise DataError(f"{source}: field `reward` must name the reward model, is {reward!r}")
    if not isinstance(cases, list) or not cases:
        raise DataError(f"{source}: field `cases` must be a list with at least one case")
    return Golden(
        reward,
        _share(fields.get("tolerance"), f"{source}: field `tolerance`"),
        tuple(_case(case, f"{source}: case {number}") for number, case in enumerate(cases, 1)),
        source,
    )


def _case(data: Any, where: str) -> GoldenCase:
    fields = data if isinstance(data, dict) else {}
    problem, steps = fields.get("problem"), fields.get("steps")
    if not isinstance(problem, str):
        raise DataError(f"{where}: field `problem` must be a text, is {problem!r}")
    if not isinstance(steps, list) or not all(isinstance(step, str) for step in steps):
        raise DataError(f"{where}: field `steps` must be a list of texts, is {steps!r}")
    return GoldenCase(problem, tuple(steps), _share(fields.get("score"), f"{where}: field `score`"))


def _share(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise DataError(f"{what} must be a number in [0, 1], is {value!r}")
    return float(value)
