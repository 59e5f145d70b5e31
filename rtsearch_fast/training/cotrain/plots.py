"""Curves of a co-training: what each round measured, and the losses of its trainings."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import MissingExtraError
from ..jsonl import read_jsonl

__all__ = ["plot_losses", "plot_rounds", "require_plots"]

_Line = tuple[str, Sequence[float], Sequence[float]]  # label, x, y


def require_plots() -> None:
    """Raise `MissingExtraError` now rather than after hours, if matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError('plots need matplotlib: pip install "rtsearch-fast[train]"')


def plot_rounds(metrics: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw accuracy of the policy and AUC of the reward model over the rounds, as PNG."""
    measured: list[Mapping[str, Any]] = []
    while (name := f"round{len(measured)}-measure") in metrics:
        measured.append(metrics[name])
    policy: dict[str, list[tuple[int, float]]] = {}
    judge: dict[str, list[tuple[int, float]]] = {}
    for number, found in enumerate(measured):
        for family, figures in found["policy"].items():
            for what, value in figures.items():
                if what != "tokens":
                    policy.setdefault(f"{family}, {what}", []).append((number, value))
        for form in ("bare label", "written check"):
            for family, figures in found.get(form, {}).items():
                judge.setdefault(f"{family}, {form}", []).append((number, figures["auc"]))
    _draw(
        path,
        [
            ("policy, share right", "round", _lines(policy)),
            ("reward model, AUC on finished solutions", "round", _lines(judge)),
        ],
    )


def plot_losses(folders: Mapping[str, Path], path: Path) -> None:
    """Draw the losses that the trainers logged, as PNG."""
    lines: list[_Line] = []
    for name, folder in folders.items():
        log = folder / "metrics.jsonl"  # a short training logs nothing
        rows = [row for _, row in read_jsonl(log) if "loss" in row] if log.exists() else []
        lines.append((name, [row["step"] for row in rows], [row["loss"] for row in rows]))
    _draw(path, [("loss", "step", lines)], log=True)


def _lines(curves: Mapping[str, Sequence[tuple[int, float]]]) -> list[_Line]:
    return [
        (name, [x for x, _ in points], [y for _, y in points]) for name, points in curves.items()
    ]


def _draw(path: Path, panels: Sequence[tuple[str, str, list[_Line]]], log: bool = False) -> None:
    require_plots()
    # without pyplot, which keeps figures in a global and may open windows
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6 * len(panels), 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    for number, (title, xlabel, lines) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), number)
        for label, xs, ys in lines:
            axes.plot(xs, ys, marker=None if log else "o", markersize=4, label=label)
        if log:
            axes.set_yscale("log")
        else:
            axes.set_xticks(sorted({int(x) for _, xs, _ in lines for x in xs}))
        axes.set_title(title)
        axes.set_xlabel(xlabel)
        axes.grid(alpha=0.3)
        if lines:
            axes.legend(fontsize="small")
    figure.savefig(path, format="png", dpi=110, metadata={"Software": None})
