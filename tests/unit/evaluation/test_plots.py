"""Plots: the same numbers give the same bytes, and matplotlib is asked for by name."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from rtsearch_fast.errors import MissingExtraError
from rtsearch_fast.evaluation.paired import Share
from rtsearch_fast.evaluation.plots import Curve, Point, save_plot

CURVES = [
    Curve(
        name,
        tuple(
            Point(tokens, Share(at, at - 0.05, at + 0.05), Share(at + 0.1, at, at + 0.2))
            for tokens, at in ((90.0, 0.2), (180.0, 0.3 + shift), (410.0, 0.4 + shift))
        ),
    )
    for name, shift in (("best_of_n", 0.0), ("mcts_g", 0.1))
]


def test_plot_when_drawn_again_has_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    first, second = tmp_path / "a" / "first.png", tmp_path / "second.png"
    for path in (first, second):
        save_plot(path, "methods: sums", CURVES)
    data = first.read_bytes()
    assert data == second.read_bytes()
    assert data.startswith(b"\x89PNG") and b"matplotlib" not in data
    save_plot(second, "methods: sums", CURVES[:1])
    assert second.read_bytes() != data


def test_plot_without_matplotlib_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "rtsearch-fast\[study\]"'):
        save_plot(tmp_path / "a.png", "t", CURVES)
