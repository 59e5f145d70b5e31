from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtsearch_fast.errors import AnswerFormatError, InvalidArgumentError
from rtsearch_fast.search.ledger import Claim, Ledger
from rtsearch_fast.search.options import Budget
from rtsearch_fast.search.records import Usage


def test_grants_the_worst_case_while_it_fits():
    ledger = Ledger(Budget(tokens=100))
    assert ledger.claim(60, 1, others_in_flight=False).left == 60
    assert ledger.claim(40, 1, others_in_flight=True).left == 40
    assert ledger.claim(1, 1, others_in_flight=True) is None


def test_a_last_claim_takes_what_is_left():
    ledger = Ledger(Budget(tokens=100))
    assert ledger.claim(101, 50, others_in_flight=True) is None
    assert ledger.claim(101, 50, others_in_flight=False).left == 100


def test_not_less_than_the_minimum():
    ledger = Ledger(Budget(tokens=100))
    assert ledger.claim(200, 101, others_in_flight=False) is None
    assert ledger.claim(200, 100, others_in_flight=False).left == 100
    assert ledger.claim(200, 0, others_in_flight=False) is None  # nothing is never granted


def test_settling_returns_the_rest():
    ledger = Ledger(Budget(tokens=100))
    claim = ledger.claim(80, 1, others_in_flight=False)
    claim.spend(30)
    assert ledger.claim(80, 1, others_in_flight=True) is None
    ledger.settle(claim)
    assert (ledger.committed, ledger.claimed) == (30, 0)
    assert ledger.claim(70, 1, others_in_flight=False).left == 70
    with pytest.raises(InvalidArgumentError):
        ledger.settle(claim)


def test_no_token_limit():
    ledger = Ledger(Budget(nodes=1))
    for _ in range(3):
        assert ledger.claim(10**9, 1, others_in_flight=True).left == 10**9
    assert ledger.seconds_left() == math.inf


@pytest.mark.parametrize("worst_case", [0, -1])
def test_bad_claims(worst_case):
    with pytest.raises(InvalidArgumentError):
        Ledger(Budget(tokens=10)).claim(worst_case, 1, others_in_flight=False)


def test_overdrawing_raises_and_is_counted():
    ledger = Ledger(Budget(tokens=100))
    claim = ledger.claim(50, 1, others_in_flight=False)
    claim.spend(50)
    assert claim.left == 0
    with pytest.raises(AnswerFormatError, match="51 tokens where 50"):
        claim.spend(1)
    ledger.settle(claim)
    assert ledger.committed == 51


@pytest.mark.parametrize(
    ("budget", "usage", "reason"),
    [
        (Budget(tokens=10), Usage(policy_tokens=6, reward_tokens=3), None),
        (Budget(tokens=10), Usage(policy_tokens=6, reward_tokens=4), "tokens"),
        (Budget(simulations=3), Usage(simulations=2), None),
        (Budget(simulations=3), Usage(simulations=3), "simulations"),
        (Budget(nodes=3), Usage(nodes=3), "nodes"),
        (Budget(tokens=1, nodes=1), Usage(policy_tokens=1, nodes=1), "tokens"),
        (Budget(seconds=60), Usage(policy_tokens=10**9), None),
    ],
)
def test_exhausted(budget, usage, reason):
    assert Ledger(budget).exhausted(usage) == reason


def test_seconds():
    now = 1000.0
    ledger = Ledger(Budget(seconds=5), clock=lambda: now)
    assert ledger.seconds_left() == 5
    now = 1004.5
    assert (ledger.seconds_left(), ledger.exhausted(Usage())) == (0.5, None)
    now = 1005.0
    assert ledger.exhausted(Usage()) == "seconds"


@given(
    st.integers(1, 200),
    st.lists(st.tuples(st.integers(1, 80), st.integers(1, 80), st.floats(0, 1)), max_size=30),
    st.integers(1, 4),
)
def test_the_budget_is_never_exceeded(limit, work, window):
    ledger = Ledger(Budget(tokens=limit))
    open_claims: list[Claim] = []
    for worst_case, minimum, share in work:
        claim = ledger.claim(worst_case, minimum, bool(open_claims))
        if claim is not None:
            claim.spend(int(claim.left * share))
            open_claims.append(claim)
        if open_claims and (claim is None or len(open_claims) == window):
            ledger.settle(open_claims.pop(0))
        assert ledger.committed + ledger.claimed <= limit
        assert ledger.claimed == sum(claim.granted for claim in open_claims)
