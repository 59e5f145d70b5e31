"""Places in texts and their tokens; numbers of heads and their probabilities."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtsearch_fast.engine.marks import MarkedText, token_places
from rtsearch_fast.engine.squash import squash
from rtsearch_fast.errors import EngineError, InvalidArgumentError


def encode(text: str) -> list[int]:
    """Characters, but for a full stop and the line end behind it."""
    return [ord(c) for c in text.replace(".\n", "\u2026")]


def test_token_places_when_tokens_end_at_the_marks_gives_their_indices() -> None:
    tokens, places = token_places(MarkedText("ab.\nc", (1, 4, 5)), encode)
    assert tokens == [97, 98, 8230, 99] and places == [0, 2, 3]


def test_token_places_when_a_mark_is_within_a_token_shows_where() -> None:
    with pytest.raises(EngineError) as caught:
        token_places(MarkedText("ab.\nc", (1, 3)), encode)
    assert str(caught.value).startswith(r"mark 2 lies within a token, at 'ab.'|'\nc': ")


def test_token_places_when_the_text_is_cut_keeps_tokens_apart() -> None:
    tokens, places = token_places(MarkedText("ab.\nc", (4, 5), (3,)), encode)
    assert tokens == [97, 98, 46, 10, 99] and places == [3, 4]


def test_token_places_when_nothing_is_before_a_mark_raises() -> None:
    with pytest.raises(EngineError, match="mark 1 lies within"):
        token_places(MarkedText("a", (0,)), encode)


@pytest.mark.parametrize(
    ("row", "how", "expected"),
    [
        ((0.0,), "auto", (0.5,)),
        ((math.log(3), 0.0), "auto", (0.75, 0.25)),
        ((math.log(3), 0.0), "sigmoid", (0.75, 0.5)),
        ((5.0,), "softmax", (1.0,)),
        ((5.0, -5.0), "none", (5.0, -5.0)),
        ((), "auto", ()),
        ((1e308, -1e308), "softmax", (1.0, 0.0)),
        ((-1e308, 1e308), "sigmoid", (0.0, 1.0)),
    ],
)
def test_squash_when_given_numbers_makes_probabilities_of_them(row, how, expected) -> None:
    assert squash(row, how) == pytest.approx(expected, abs=1e-15)


def test_squash_when_a_number_is_missing_makes_up_none() -> None:
    assert all(map(math.isnan, squash((math.nan, 0.0), "softmax")))
    first, second = squash((math.nan, 0.0), "sigmoid")
    assert math.isnan(first) and second == 0.5


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=5))
def test_squash_when_several_are_given_sums_to_one(row) -> None:
    assert math.fsum(squash(row, "auto")) == pytest.approx(1.0)


def test_squash_when_the_name_is_unknown_lists_the_names() -> None:
    with pytest.raises(InvalidArgumentError, match="squash='tanh': choose one of auto, none, sig"):
        squash((0.0,), "tanh")
