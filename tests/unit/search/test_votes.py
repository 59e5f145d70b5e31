from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtsearch_fast.errors import InvalidArgumentError
from rtsearch_fast.search import votes
from rtsearch_fast.search.records import Candidate

NAN = math.nan


def candidate(answer: str | None, score: float = 0.5, finished: bool = True) -> Candidate:
    return Candidate(("text",), answer, score, 1, finished)


def field(*rows: tuple) -> list[Candidate]:
    return [candidate(*row) for row in rows]


# candidates, then what majority, weighted and best choose
CASES = [
    ([], None, None, None),
    (field((None, 0.9)), None, None, None),
    (field(("1", 0.9, False)), None, None, None),
    (field(("", 0.9)), None, None, None),
    (field(("1", 0.2)), 0, 0, 0),
    (field(("1", 0.9), ("2", 0.3), ("2", 0.4)), 2, 0, 0),
    (field(("1", 0.6), ("2", 0.3), ("2", 0.4)), 2, 2, 0),
    # spellings of one answer vote together
    (field(("1/2", 0.3), ("3", 0.5), (r"\frac{1}{2}", 0.1), ("0.5", 0.2)), 0, 0, 1),
    # unfinished and unanswered candidates have no vote
    (field(("1", 0.1), ("2", 0.9, False), (None, 0.9)), 0, 0, 0),
    # NaN weighs nothing, in sums and in the choice within an answer
    (field(("1", NAN), ("1", NAN), ("2", 0.1)), 0, 2, 2),
    (field(("1", NAN), ("1", 0.3)), 1, 1, 1),
    # all weights zero: the majority
    (field(("1", NAN), ("2", 0.0), ("2", NAN)), 1, 1, 1),
    # ties: total, votes, then the earliest
    (field(("1", 0.4), ("2", 0.6), ("2", 0.0), ("1", 0.3)), 0, 0, 1),
    (field(("1", 0.5), ("2", 0.25), ("2", 0.25)), 1, 1, 0),
    (field(("1", 0.5), ("2", 0.5)), 0, 0, 0),
    (field(("1", 0.5), ("2", 0.5), ("2", 0.25)), 1, 1, 1),
    (field(("1", 0.5), ("2", 0.5), ("2", 0.0)), 1, 1, 1),
]


@pytest.mark.parametrize(("candidates", "majority", "weighted", "best"), CASES)
def test_rules(candidates, majority, weighted, best):
    assert votes.majority(candidates) == majority
    assert votes.weighted(candidates) == weighted
    assert votes.best(candidates) == best
    assert votes.choose(candidates, "majority", 0.0) == majority
    assert votes.choose(candidates, "weighted", 0.0) == weighted
    assert votes.choose(candidates, "best", 0.0) == best


def test_sums_do_not_depend_on_order():
    # added from left to right, 0.1 ten times is less than 1
    tenths = field(*[("1", 0.1)] * 10)
    assert votes.weighted([candidate("2", 1.0), *tenths]) == 1  # equal totals, more votes
    assert votes.weighted([*tenths, candidate("2", 1.0)]) == 0


def test_answer_frequencies():
    candidates = field(("1/2",), ("0.5",), ("2",), ("7", 0.5, False), (None,), ("x",))
    assert votes.answer_frequencies(candidates) == {"1/2": 0.5, "2": 0.25, "x": 0.25}
    assert votes.answer_frequencies([]) == {}


def test_mixed_scores():
    candidates = field(("1", 0.8), ("1", 0.4), ("2", NAN), ("2", 0.0), (None, 0.6))
    candidates.append(candidate("1", 1.0, finished=False))
    mixed = votes.mixed_scores(candidates, 0.5)
    assert mixed[:2] == [0.65, 0.45]
    assert math.isnan(mixed[2])
    assert mixed[3:] == [0.25, 0.3, 0.5]
    assert votes.mixed_scores(candidates[:2], 0) == [0.8, 0.4]


def test_choose_mixes_before_it_chooses():
    candidates = field(("1", 0.6), ("2", 0.5), ("2", 0.5))
    assert votes.choose(candidates, "best", 0.0) == 0
    assert votes.choose(candidates, "best", 0.5) == 1


def test_confidence():
    assert votes.confidence([]) == 0.0
    assert votes.confidence(field(("1", NAN), ("1", 0.0))) == 0.0
    assert votes.confidence(field(("1", 0.75), ("2", 0.25), ("3", 0.9, False))) == 0.75
    assert votes.confidence(field(("1", 0.1), ("1.0", 0.2))) == 1.0


@pytest.mark.parametrize(("vote", "a"), [("path", 0.0), ("", 0.0), ("best", -0.1), ("best", 1.1)])
def test_bad_arguments(vote, a):
    with pytest.raises(InvalidArgumentError):
        votes.choose(field(("1",)), vote, a)


candidates = st.lists(
    st.builds(
        candidate,
        st.sampled_from([None, "1", "2", "3", "0.5", "1/2"]),
        st.one_of(st.just(NAN), st.integers(0, 4).map(lambda n: n / 4)),
        st.booleans(),
    ),
    max_size=12,
)


@given(candidates, st.sampled_from(["weighted", "majority", "best"]), st.floats(0, 1))
def test_the_chosen_has_a_vote_and_leads_its_answer(candidates, vote, a):
    voters = [i for i, c in enumerate(candidates) if c.finished and c.answer]
    chosen = votes.choose(candidates, vote, a)
    assert (chosen in voters) if voters else (chosen is None)
    if voters:
        scores = votes.mixed_scores(candidates, a)
        assert 0.0 <= votes.confidence(candidates) <= 1.0
        assert math.isclose(sum(votes.answer_frequencies(candidates).values()), 1.0)
        rivals = [scores[i] for i in voters if candidates[i].answer == candidates[chosen].answer]
        known = [score for score in rivals if not math.isnan(score)]
        assert not known or max(known) == (0.0 if math.isnan(scores[chosen]) else scores[chosen])
