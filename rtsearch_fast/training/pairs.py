"""Preference pairs for DPO: per question the best right solution and the hardest wrong one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

from ..errors import DataError, InvalidArgumentError
from .samples import Sampled, by_question
from .wording import normal, shuffle_key

__all__ = ["Pair", "PairStats", "check_margin", "each_pair", "make_pairs"]


@dataclass(frozen=True, slots=True)
class Pair:
    """A preference.

    Attributes
    ----------
    unique_id : str
        Of the question.
    problem : str
    chosen, rejected : str
        The right and the wrong solution.
    chosen_score, rejected_score : float
        What the reward model says of them.
    """

    unique_id: str
    problem: str
    chosen: str
    rejected: str
    chosen_score: float
    rejected_score: float


@dataclass(slots=True)
class PairStats:
    """Of the questions: how many gave a pair, and why the others did not.

    Attributes
    ----------
    questions, pairs : int
    all_right, all_wrong : int
        Questions without a scored sample of the other class.
    duplicates : int
        Pairs that another question had given already.
    hard : int
        Pairs whose wrong solution has the higher score.
    close : int
        Questions whose wrong samples all have too high a score.
    """

    questions: int = 0
    pairs: int = 0
    all_right: int = 0
    all_wrong: int = 0
    duplicates: int = 0
    hard: int = 0
    close: int = 0

    def render(self) -> str:
        """The figures in one line."""
        return ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in asdict(self).items())


def make_pairs(
    samples: Sequence[Sampled], *, seed: int = 0, min_margin: float | None = None
) -> tuple[list[Pair], PairStats]:
    """Make one pair a question: its highest-scored right and its highest-scored wrong sample.

    Samples without a score do not take part. Among equal scores `seed` decides.

    Parameters
    ----------
    samples : sequence of Sampled
    seed : int
    min_margin : float, optional
        How much lower the score of the wrong sample must be, in [0, 1]. Default: it may be higher.

    Raises
    ------
    DataError
        No question gives a pair.

    Examples
    --------
    >>> scores = [(True, 0.9), (True, 0.4), (False, 0.8), (False, 0.1)]
    >>> samples = [Sampled("1", "?", (str(s),), None, right, s) for right, s in scores]
    >>> pairs, stats = make_pairs(samples)
    >>> pairs[0].chosen, pairs[0].rejected
    ('0.9', '0.8')
    >>> stats.render()
    'questions 1, pairs 1, all right 0, all wrong 0, duplicates 0, hard 0, close 0'
    >>> make_pairs(samples, min_margin=0.5)[0][0].rejected
    '0.1'
    """
    stats = PairStats()
    questions = by_question(samples).values()
    return list(each_pair(questions, stats, seed=seed, min_margin=min_margin)), stats


def each_pair(
    questions: Iterable[Sequence[Sampled]],
    stats: PairStats,
    *,
    seed: int = 0,
    min_margin: float | None = None,
) -> Iterator[Pair]:
    """The pairs of `make_pairs`, with the samples of one question at a time.

    Parameters
    ----------
    questions : iterable of sequence of Sampled
    stats : PairStats
        Is counted up.
    seed, min_margin
        As `make_pairs`.
    """
    check_margin(min_margin)
    seen: set[int] = set()
    samples = 0
    for group in questions:
        samples += len(group)
        scored = [sample for sample in group if sample.scored]
        stats.questions += bool(scored)
        wrong = [sample for sample in scored if not sample.right]
        best = _best([sample for sample in scored if sample.right], seed)
        if best is None or not wrong:
            stats.all_wrong += best is None and bool(scored)
            stats.all_right += best is not None
            continue
        if min_margin is not None:
            wrong = [sample for sample in wrong if best.score - sample.score >= min_margin]
        hardest = _best(wrong, seed)
        if hardest is None:
            stats.close += 1
            continue
        key = shuffle_key(0, normal(best.problem), normal(best.text), normal(hardest.text))
        if key in seen:
            stats.duplicates += 1
            continue
        seen.add(key)
        stats.pairs += 1
        stats.hard += hardest.score > best.score
        yield Pair(best.unique_id, best.problem, best.text, hardest.text, best.score, hardest.score)
    if not stats.questions:
        raise DataError(
            f"none of {samples} samples has a score: let the reward model score them first"
        )
    if not stats.pairs:
        close = "" if min_margin is None else f", {stats.close} closer than min_margin={min_margin}"
        raise DataError(
            f"none of {stats.questions} questions has a right and a wrong sample with a score "
            f"({stats.all_right} all right, {stats.all_wrong} all wrong{close}): sample more "
            "solutions of each"
        )


def check_margin(min_margin: float | None) -> None:
    """Refuse a margin that no two values in [0, 1] can have."""
    if min_margin is not None and not 0 <= min_margin <= 1:
        raise InvalidArgumentError(f"min_margin={min_margin}: give a difference in [0, 1]")


def _best(samples: list[Sampled], seed: int) -> Sampled | None:
    return max(
        samples,
        key=lambda sample: (sample.score, shuffle_key(seed, sample.unique_id, sample.text)),
        default=None,
    )
