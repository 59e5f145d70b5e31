"""How candidates elect the final answer. Pure functions; candidates are named by their index.

A candidate votes if it is finished and has an answer. Of the winning answer's candidates the one
with the highest score is chosen, the earliest among equals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..answers import answer_key
from ..errors import InvalidArgumentError
from .records import Candidate

__all__ = [
    "answer_frequencies",
    "best",
    "choose",
    "confidence",
    "majority",
    "mixed_scores",
    "weighted",
]


@dataclass(slots=True)
class _Party:
    """The candidates that vote for one answer."""

    members: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    @property
    def votes(self) -> int:
        return len(self.members)

    @property
    def total(self) -> float:
        return math.fsum(self.weights)  # exact, so it does not depend on the order

    @property
    def top(self) -> int:
        return self.members[self.weights.index(max(self.weights))]


def _key(candidate: Candidate) -> str | None:
    """What it votes for, None if it has no vote."""
    return answer_key(candidate.answer) if candidate.finished and candidate.answer else None


def _parties(candidates: Sequence[Candidate]) -> dict[str, _Party]:
    """Voters by answer, in the order of first appearance (so `max` breaks ties by it)."""
    parties: dict[str, _Party] = {}
    for index, candidate in enumerate(candidates):
        key = _key(candidate)
        if key is not None:
            party = parties.setdefault(key, _Party())
            party.members.append(index)
            party.weights.append(0.0 if math.isnan(candidate.score) else candidate.score)
    return parties


def majority(candidates: Sequence[Candidate]) -> int | None:
    """Choose the answer with the most votes; of equals, that with the higher total score.

    Examples
    --------
    >>> voters = [Candidate((), answer, 0.5, 1, True) for answer in ("1", "2", "2")]
    >>> majority(voters)
    1
    """
    parties = _parties(candidates).values()
    return max(parties, key=lambda p: (p.votes, p.total)).top if parties else None


def weighted(candidates: Sequence[Candidate]) -> int | None:
    """Choose the answer with the highest total score; of equals, that with more votes.

    A score of NaN weighs nothing. Where all weigh nothing, this is the majority vote.

    Examples
    --------
    >>> voters = [Candidate((), a, s, 1, True) for a, s in (("1", 0.9), ("2", 0.3), ("2", 0.4))]
    >>> weighted(voters)
    0
    """
    parties = _parties(candidates).values()
    return max(parties, key=lambda p: (p.total, p.votes)).top if parties else None


def best(candidates: Sequence[Candidate]) -> int | None:
    """Choose the candidate with the highest score; of equals, by total and votes of its answer.

    Examples
    --------
    >>> voters = [Candidate((), a, s, 1, True) for a, s in (("1", 0.2), ("2", 0.8))]
    >>> best(voters)
    1
    """
    parties = _parties(candidates).values()
    chosen = max(parties, key=lambda p: (max(p.weights), p.total, p.votes), default=None)
    return chosen.top if chosen else None


def answer_frequencies(candidates: Sequence[Candidate]) -> dict[str, float]:
    """Share of the voters that have each answer, by `answer_key`.

    Examples
    --------
    >>> voters = [Candidate((), answer, 0.5, 1, True) for answer in ("1/2", "0.5", "2", None)]
    >>> answer_frequencies(voters)["1/2"] == 2 / 3
    True
    """
    parties = _parties(candidates)
    voters = sum(party.votes for party in parties.values())
    return {key: party.votes / voters for key, party in parties.items()}


def mixed_scores(candidates: Sequence[Candidate], a: float) -> list[float]:
    """Mix scores with self-consistency: ``(1 - a) * score + a * frequency of the answer``.

    The frequency is 0 for candidates without a vote; a score of NaN stays NaN.

    Examples
    --------
    >>> voters = [Candidate((), answer, 0.5, 1, True) for answer in ("1", "1", "1", "2")]
    >>> mixed_scores(voters, 0.5)
    [0.625, 0.625, 0.625, 0.375]
    """
    if not 0 <= a <= 1:
        raise InvalidArgumentError(f"a={a}: must be in [0, 1]")
    frequencies = answer_frequencies(candidates)
    keys = [_key(candidate) for candidate in candidates]
    return [
        (1 - a) * candidate.score + a * (0.0 if key is None else frequencies[key])
        for candidate, key in zip(candidates, keys, strict=True)
    ]


def confidence(candidates: Sequence[Candidate]) -> float:
    """The leading answer's share of the score-weighted vote; 0 if nothing was weighed.

    Examples
    --------
    >>> voters = [Candidate((), a, s, 1, True) for a, s in (("1", 0.75), ("2", 0.25))]
    >>> confidence(voters)
    0.75
    """
    totals = [party.total for party in _parties(candidates).values()]
    everything = math.fsum(totals)
    return max(totals) / everything if everything > 0 else 0.0


def choose(candidates: Sequence[Candidate], vote: str, a: float = 0.0) -> int | None:
    """Choose by a named rule, on scores mixed with self-consistency.

    Parameters
    ----------
    candidates : sequence of Candidate
    vote : {"weighted", "majority", "best"}
    a : float
        Share of self-consistency in [0, 1], see `mixed_scores`.

    Returns
    -------
    int or None
        Index of the chosen candidate; None if no candidate has a vote.

    Examples
    --------
    >>> voters = [Candidate((), a, s, 1, True) for a, s in (("1", 0.6), ("2", 0.5), ("2", 0.5))]
    >>> choose(voters, "best"), choose(voters, "best", a=0.5)
    (0, 1)
    """
    rules = {"weighted": weighted, "majority": majority, "best": best}
    if vote not in rules:
        raise InvalidArgumentError(f"vote={vote!r}: choose {', '.join(rules)}")
    if a:
        scores = mixed_scores(candidates, a)
        candidates = [
            replace(candidate, score=score)
            for candidate, score in zip(candidates, scores, strict=True)
        ]
    return rules[vote](candidates)
