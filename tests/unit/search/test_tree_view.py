"""Trees as text: their shape, and that nothing in a model's text reaches the terminal raw."""

from __future__ import annotations

import doctest
import math

import pytest
from toy_models import ToyPolicy, ToyReward

from rtsearch_fast import Searcher
from rtsearch_fast.search import tree_view
from rtsearch_fast.search.records import SearchTree
from rtsearch_fast.search.tree_view import printable, render_tree


def tree_of(steps: list[str], parents: list[int]) -> SearchTree:
    n = len(steps)
    return SearchTree(
        parent=tuple(parents),
        step=tuple(steps),
        visit_count=tuple(range(n, 0, -1)),
        mean_value=(0.5,) * n,
        prior=(1.0,) * n,
        terminal=(False,) * (n - 1) + (True,),
    )


def test_tree_when_rendered_shows_who_is_below_whom():
    tree = tree_of(["", "a", "b", "c", "d", "e"], [-1, 0, 0, 1, 1, 3])
    assert render_tree(tree).splitlines() == [
        "root  N=6 V=0.500",
        "|- N=5 V=0.500  a",
        "|  |- N=3 V=0.500  c",
        "|  |  `- N=1 V=0.500  e [end]",
        "|  `- N=2 V=0.500  d",
        "`- N=4 V=0.500  b",
    ]
    assert render_tree(tree, max_depth=1).splitlines() == [
        "root  N=6 V=0.500",
        "|- N=5 V=0.500  a",
        "`- N=4 V=0.500  b",
    ]


def test_tree_when_it_is_a_root_alone_is_one_line():
    tree = SearchTree((-1,), ("",), (0,), (math.nan,), (1.0,), (False,))
    assert render_tree(tree) == "root  N=0 V=nan"


def test_tree_when_steps_are_long_keeps_to_the_width():
    tree = tree_of(["", "word " * 100, "x" * 500], [-1, 0, 1])
    for width in (20, 60, 100):
        lines = render_tree(tree, width=width).splitlines()
        assert all(len(line) <= max(width, 40) for line in lines)
        assert lines[1].endswith("...") and lines[2].endswith("... [end]")


def test_tree_when_it_is_deep_is_rendered_without_recursion():
    depth = 3000
    tree = tree_of([""] + ["s"] * depth, [-1, *range(depth)])
    assert len(render_tree(tree).splitlines()) == depth + 1


def test_tree_when_searched_has_a_line_for_each_node():
    result = Searcher(ToyPolicy(), ToyReward()).solve("3 5 9 4")
    assert result.tree is not None
    lines = render_tree(result.tree).splitlines()
    assert len(lines) == result.usage.nodes
    assert sum(line.endswith(" [end]") for line in lines) == sum(result.tree.terminal)


DANGEROUS = [
    ("\x1b[2J\x1b[31mred", "\\x1b[2J\\x1b[31mred"),
    ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
    ("\x9b31m", "\\x9b31m"),  # the one-character form
    ("a\rb\bc\x00", "a\\rb\\x08c\\x00"),
    ("\u202eevil", "\\u202eevil"),  # turns the direction of writing
    ("\u2028", "\\u2028"),
    ("zero\u200bwidth", "zero\\u200bwidth"),
    ("half \ud800", "half \\ud800"),
    ("\U000e0041", "\\U000e0041"),
]
HARMLESS = ["", "2 + 2 = 4", r"\frac{1}{2}", "π ≈ 3.14…", "中文　空", "no\u00a0break", "👍"]


@pytest.mark.parametrize(("text", "shown"), DANGEROUS)
def test_printable_when_a_terminal_would_obey_escapes_it(text, shown):
    assert printable(text) == shown
    assert printable(text, keep="\n") == shown
    printable(text).encode()


@pytest.mark.parametrize("text", HARMLESS)
def test_printable_when_text_is_harmless_leaves_it(text):
    assert printable(text) == text


def test_printable_when_told_to_keep_line_ends_keeps_them():
    assert printable("a\nb\tc", keep="\n\t") == "a\nb\tc"
    assert printable("a\nb\tc") == "a\\nb\\tc"


@pytest.mark.parametrize("text", [text for text, _ in DANGEROUS])
def test_tree_when_a_step_holds_control_characters_shows_none(text):
    rendered = render_tree(tree_of(["", f"step {text} end"], [-1, 0]))
    assert len(rendered.split("\n")) == 2
    assert all(char.isprintable() for char in rendered.replace("\n", ""))


def test_examples_when_run_are_right():
    failed, tried = doctest.testmod(tree_view)
    assert (failed, tried > 0) == (0, True)
