"""Plots of accuracy against tokens. Needs matplotlib; the same numbers give the same bytes."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import MissingExtraError
from .paired import Share

__all__ = ["Curve", "Point", "save_plot"]


@dataclass(frozen=True, slots=True)
class Point:
    """What a method did with one budget: tokens that it used, right answers chosen and found."""

    tokens: float
    chosen: Share
    found: Share


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a plot; its points in the order of their budgets."""

    label: str
    points: tuple[Point, ...]


def save_plot(path: Path, title: str, curves: Sequence[Curve]) -> None:
    """Draw accuracy against tokens as PNG: chosen with its interval, found dashed.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError('plots need matplotlib: pip install "rtsearch-fast[study]"')
    # without pyplot, which keeps figures in a global and may open windows
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, curve in enumerate(curves):
        color = f"C{number % 10}"
        tokens = [point.tokens for point in curve.points]
        chosen = [100 * point.chosen.value for point in curve.points]
        axes.plot(tokens, chosen, color=color, marker="o", markersize=4, label=curve.label)
        axes.fill_between(
            tokens,
            [100 * point.chosen.low for point in curve.points],
            [100 * point.chosen.high for point in curve.points],
            color=color,
            alpha=0.15,
            linewidth=0,
        )
        found = [100 * point.found.value for point in curve.points]
        axes.plot(tokens, found, color=color, linestyle="--", linewidth=1)
    axes.set_xscale("log")
    ticks = sorted({round(point.tokens) for curve in curves for point in curve.points})
    axes.set_xticks(_apart(ticks))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("generated tokens a problem, policy and reward model (mean)")
    axes.set_ylabel("right, % (dashed: found)")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=120, metadata={"Software": None})


def _apart(ticks: Sequence[int]) -> list[int]:
    """Those that leave room for each other's numbers on a logarithmic axis."""
    kept: list[int] = []
    for tick in ticks:
        if not kept or tick > 1.3 * kept[-1]:
            kept.append(tick)
    return kept
