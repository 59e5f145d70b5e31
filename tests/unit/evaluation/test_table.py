"""The comparison table: the interval against its definition, the text against its layout."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtsearch_fast.errors import InvalidArgumentError
from rtsearch_fast.evaluation.table import Row, render_table, wilson_interval


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # Newcombe (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 0.8389, 1.0),
        (0, 0, 0.0, 1.0),
    ],
)
def test_published_intervals(successes: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_interval_solves_its_equation(case: tuple[int, int]) -> None:
    """Each end p is where the score statistic (share - p) / sqrt(p (1 - p) / n) is z."""
    successes, n = case
    low, high = wilson_interval(successes, n)
    share = successes / n
    assert 0 <= low <= share <= high <= 1
    for end in (low, high):
        if 0 < end < 1:
            z = abs(share - end) / math.sqrt(end * (1 - end) / n)
            assert z == pytest.approx(1.959964, rel=1e-6)


@given(st.integers(0, 50))
def test_interval_is_symmetric(successes: int) -> None:
    low, high = wilson_interval(successes, 50)
    mirrored = wilson_interval(50 - successes, 50)
    assert (1 - high, 1 - low) == pytest.approx(mirrored)


@pytest.mark.parametrize(
    ("successes", "n", "z"), [(-1, 5, 1), (6, 5, 1), (1, 5, 0), (1, 5, math.nan)]
)
def test_interval_refuses_nonsense(successes: int, n: int, z: float) -> None:
    with pytest.raises(InvalidArgumentError):
        wilson_interval(successes, n, z)


def test_table_shows_costs_per_problem() -> None:
    rows = [
        Row("cot", 200, 50, 50, 60, 60_000, 0, 3.25),
        Row("mcts_global", 200, 90, 90, 120, 1_000_000, 500, math.nan),
    ]
    assert render_table(rows).splitlines() == [
        "method       n    chosen  95 % interval  found   its interval   "
        "policy tok  reward tok  seconds",
        "cot          200  25.0 %  19.5 - 31.4 %  30.0 %  24.1 - 36.7 %  "
        "     300.0         0.0      3.2",
        "mcts_global  200  45.0 %  38.3 - 51.9 %  60.0 %  53.1 - 66.5 %  "
        "   5,000.0         2.5        -",
    ]


def test_relative_accuracy_is_shown_only_where_it_differs() -> None:
    same = Row("a", 10, 5, 5, 5, 0, 0)
    other = Row("b", 10, 5, 6, 5, 0, 0)
    assert "rel. 1e-4" not in render_table([same, same])
    text = render_table([same, other])
    assert "rel. 1e-4" in text
    assert "60.0 %" in text.splitlines()[2]


def test_no_rows_and_no_problems() -> None:
    assert render_table([]).startswith("method")
    header, line = render_table([Row("cot", 0, 0, 0, 0, 0, 0)]).splitlines()
    assert line.split() == ["cot", "0", *2 * ["-", "0.0", "-", "100.0", "%"], "-", "-", "-"]
    assert len(header) == len(line)
