"""Preference pairs for DPO: per question the best right solution and the hardest wrong one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from ..errors import DataError
from .samples import Sampled, by_question
from .wording import normal, shuffle_key

__all__ = ["Pair", "PairStats", "make_pairs"]


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


@dataclass(frozen=True, slots=True)
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
    """

    questions: int
    pairs: int
    all_right: int
    all_wrong: int
    duplicates: int
    hard: int

    def render(self) -> str:
        """The figures in one line."""
        return ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in asdict(self).items())


def make_pairs(samples: Sequence[Sampled], *, seed: int = 0) -> tuple[list[Pair], PairStats]:
    """Make one pair a question: its highest-scored right and its highest-scored wrong sample.

    Samples without a score do not take part. Among equal scores `seed` decides.

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
    'questions 1, pairs 1, all right 0, all wrong 0, duplicates 0, hard 0'
    """
    scored = [sample for sample in samples if sample.scored]
    if not scored:
        raise DataError(
            f"none of {len(samples)} samples has a score: let the reward model score them first"
        )
    questions = by_question(scored)
    pairs: dict[tuple[str, ...], Pair] = {}
    all_right = all_wrong = duplicates = 0
    for unique_id, group in questions.items():
        best = _best([sample for sample in group if sample.right], seed)
        hardest = _best([sample for sample in group if not sample.right], seed)
        if best is None or hardest is None:
            all_right += hardest is None
            all_wrong += best is None
            continue
        key = normal(best.problem), normal(best.text), normal(hardest.text)
        duplicates += key in pairs
        pairs.setdefault(
            key,
            Pair(unique_id, best.problem, best.text, hardest.text, best.score, hardest.score),
        )
    if not pairs:
        raise DataError(
            f"none of {len(questions)} questions has a right and a wrong sample with a score "
            f"({all_right} all right, {all_wrong} all wrong): sample more solutions of each"
        )
    hard = sum(pair.rejected_score > pair.chosen_score for pair in pairs.values())
    stats = PairStats(len(questions), len(pairs), all_right, all_wrong, duplicates, hard)
    return list(pairs.values()), stats


def _best(samples: list[Sampled], seed: int) -> Sampled | None:
    return max(
        samples,
        key=lambda sample: (sample.score, shuffle_key(seed, sample.unique_id, sample.text)),
        default=None,
    )
