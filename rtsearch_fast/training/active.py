"""Active learning: train the reward model on what it is confidently wrong about.

Of each question the highest-scored wrong and the lowest-scored right solutions are chosen, as many
of one class as of the other. The baseline to compare with chooses at random, within the same caps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import DataError, InvalidArgumentError
from .balance import length_auc
from .report import columns
from .samples import Sampled, by_question
from .wording import shuffle_key

__all__ = ["Selection", "SelectionStats", "Strategy", "select"]

Strategy = Literal["active", "random"]

#: A right and a wrong solution of one question.
_Pair = tuple[Sampled, Sampled]


@dataclass(frozen=True, slots=True)
class SelectionStats:
    """What was chosen, beside what there was to choose from.

    Attributes
    ----------
    questions : int
        With samples of both classes.
    one_sided : int
        Questions without, which give nothing.
    unscored : int
        Samples that were passed over because the reward model gave them no score.
    pool, chosen : int
        Samples there were, and were chosen (half of them right).
    right_score, wrong_score : (float, float)
        Mean score in the pool and among the chosen; NaN where nothing has a score.
    misjudged : (float, float)
        Share with the score on the wrong side of 1/2, in the pool and among the chosen.
    length_auc : (float, float)
        How well length tells the classes apart (`balance.length_auc`), likewise.
    """

    questions: int
    one_sided: int
    unscored: int
    pool: int
    chosen: int
    right_score: tuple[float, float]
    wrong_score: tuple[float, float]
    misjudged: tuple[float, float]
    length_auc: tuple[float, float]

    def render(self) -> str:
        """The figures as a table."""
        rows: list[tuple[object, ...]] = [
            ("", "pool", "chosen"),
            ("samples", str(self.pool), str(self.chosen)),
            ("mean score of right ones", *self.right_score),
            ("mean score of wrong ones", *self.wrong_score),
            ("share misjudged", *self.misjudged),
            ("AUC of length", *self.length_auc),
        ]
        return (
            f"{columns(rows)}\n{self.questions} questions with both classes, {self.one_sided} "
            f"with one, {self.unscored} samples without a score"
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """The chosen samples, right and wrong in turn, and figures about them."""

    samples: list[Sampled]
    stats: SelectionStats


def select(
    samples: Sequence[Sampled],
    *,
    strategy: Strategy = "active",
    per_question: int = 8,
    total: int | None = None,
    seed: int = 0,
) -> Selection:
    """Choose the samples to train the reward model on.

    Parameters
    ----------
    samples : sequence of Sampled
        Those without a score are passed over, unless none has one.
    strategy : {"active", "random"}
        "active" takes the highest-scored wrong and the lowest-scored right ones, and where `total`
        is short, the questions where these two are the furthest apart. "random" takes as many, by
        lot.
    per_question : int
        Most samples of a question, both classes together, at least 2.
    total : int, optional
        Most samples of all questions together.
    seed : int
        Of the lots, and of ties. The choice depends on it and on the samples, not on their order.

    Raises
    ------
    DataError
        No question has both classes, or nothing has a score.

    Examples
    --------
    >>> scores = [(True, 0.9), (True, 0.4), (False, 0.8), (False, 0.1)]
    >>> samples = [Sampled("1", "?", (str(s),), None, right, s) for right, s in scores]
    >>> chosen = select(samples, per_question=2).samples
    >>> [(sample.right, sample.score) for sample in chosen]
    [(True, 0.4), (False, 0.8)]
    """
    if strategy not in ("active", "random"):
        raise InvalidArgumentError(f"strategy={strategy!r}: choose active or random")
    if per_question < 2:
        raise InvalidArgumentError(f"per_question={per_question}: one of each class makes 2")
    if total is not None and total < 2:
        raise InvalidArgumentError(f"total={total}: one of each class makes 2")
    pool = [sample for sample in samples if sample.scored]
    if strategy == "random" and not pool:
        pool = list(samples)
    if not pool:
        raise DataError(
            f"none of {len(samples)} samples has a score to choose by: let the reward model score "
            "them, or take the strategy random"
        )
    questions = by_question(pool)
    pairs = [
        (place, pair)
        for group in questions.values()
        for place, pair in enumerate(_pairs(group, strategy, seed)[: per_question // 2])
    ]
    if not pairs:
        raise DataError(
            f"none of {len(questions)} questions has right and wrong samples: sample more of each, "
            "or other questions"
        )
    if total is not None:
        pairs = sorted(pairs, key=lambda entry: _rank(entry, strategy, seed))[: total // 2]
    kept = {unique_id: list[Sampled]() for unique_id in questions}
    for _, pair in sorted(pairs, key=lambda entry: entry[0]):
        kept[pair[0].unique_id] += pair
    chosen = [sample for group in kept.values() for sample in group]
    return Selection(chosen, _stats(questions, len(samples), pool, chosen))


def _pairs(group: list[Sampled], strategy: Strategy, seed: int) -> list[_Pair]:
    """The pairs of a question, in the order in which they are taken."""

    def order(sample: Sampled) -> tuple[float, int]:
        by_lot = shuffle_key(seed, sample.unique_id, sample.text)
        if strategy == "random":
            return 0.0, by_lot
        return (sample.score if sample.right else -sample.score), by_lot

    right = sorted((sample for sample in group if sample.right), key=order)
    wrong = sorted((sample for sample in group if not sample.right), key=order)
    return list(zip(right, wrong, strict=False))


def _rank(entry: tuple[int, _Pair], strategy: Strategy, seed: int) -> tuple[float, int, int]:
    """The order in which pairs are taken over all questions; keeps that within each question."""
    place, (right, wrong) = entry
    hardness = right.score - wrong.score if strategy == "active" else 0.0
    by_lot = shuffle_key(seed, right.unique_id, right.text, wrong.text)
    return hardness, by_lot, place


def _stats(
    questions: dict[str, list[Sampled]], total: int, pool: list[Sampled], chosen: list[Sampled]
) -> SelectionStats:
    sided = sum(len({sample.right for sample in group}) == 1 for group in questions.values())
    return SelectionStats(
        questions=len(questions) - sided,
        one_sided=sided,
        unscored=total - len([sample for sample in pool if sample.scored]),
        pool=len(pool),
        chosen=len(chosen),
        right_score=(_mean_score(pool, True), _mean_score(chosen, True)),
        wrong_score=(_mean_score(pool, False), _mean_score(chosen, False)),
        misjudged=(_misjudged(pool), _misjudged(chosen)),
        length_auc=(length_auc(pool), length_auc(chosen)),
    )


def _mean_score(samples: list[Sampled], right: bool) -> float:
    return _mean(sample.score for sample in samples if sample.right is right)


def _misjudged(samples: list[Sampled]) -> float:
    return _mean((sample.score > 0.5) != sample.right for sample in samples if sample.scored)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return math.fsum(found) / len(found) if found else math.nan
