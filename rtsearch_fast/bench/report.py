"""A profile as text, as plots and as one page of HTML; and two profiles side by side."""

from __future__ import annotations

import base64
import html
import importlib.util
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError, MissingExtraError
from .measurement import Measurement, Profile

__all__ = ["compared", "draw", "render_html", "require_plots", "table", "write_bytes"]

_Row = tuple[str, ...]
_LEAVES = "selection among all leaves"  # the panel of MCTS_G
_HEAD: _Row = (
    "what", "K", "simulations", "B", "trees", "ns", "low - high", "ratio", "bytes/node",
    "instructions",
)  # fmt: skip


def _cells(m: Measurement, ours: float | None) -> _Row:
    """One line; `ours` is what this package takes from Python for the same work."""
    size = "" if m.bytes_per_node is None else f"{m.bytes_per_node:.1f}"
    instructions = "" if m.instructions is None else f"{m.instructions:,.0f}"
    ratio = "" if ours is None else f"{m.ns / ours:.2f}"
    return (
        m.what,
        str(m.children),
        f"{m.simulations:,}",
        str(m.batch),
        str(m.trees),
        f"{m.ns:,.0f}",
        f"{m.low:,.0f} - {m.high:,.0f}",
        ratio,
        size,
        instructions,
    )


def _rows(measurements: Sequence[Measurement]) -> Iterable[_Row]:
    ours = {m.key[1:]: m.ns for m in measurements if m.what == "python"}
    columns = len(_HEAD) - all(m.instructions is None for m in measurements)
    yield _HEAD[:columns]
    for m in measurements:
        yield _cells(m, ours.get(m.key[1:]))[:columns]


def table(measurements: Sequence[Measurement]) -> str:
    """Render as aligned text. *ratio* is to this package, driven from Python, on the same work."""
    return _aligned(list(_rows(measurements)))


def compared(old: Profile, new: Profile) -> str:
    """Render what both profiles measured: times, or instructions, before and now, and their ratio.

    Raises
    ------
    DataError
        They have nothing in common.
    """
    before = {m.key: m for m in old.measurements}
    rows: list[_Row] = [("what", "K", "simulations", "B", "trees", "before", "now", "now/before")]
    for m in new.measurements:
        if (was := before.get(m.key)) is not None:
            work = _cells(m, None)[1:5]
            rows.append((m.what, *work, *_change(was.ns, m.ns)))
            if was.instructions and m.instructions:
                change = _change(was.instructions, m.instructions)
                rows.append((f"{m.what}, instructions", *work, *change))
    if len(rows) == 1:
        raise DataError("the two profiles have no measurement in common: give both the same sizes")
    text = _aligned(rows)
    for name, value in new.machine.items():
        if old.machine.get(name) != value:
            text += f"\n{name}: {old.machine.get(name)} before, {value} now"
    return text


def _change(before: float, now: float) -> _Row:
    return (f"{before:,.0f}", f"{now:,.0f}", f"{now / before:.2f}")


def _aligned(rows: Sequence[_Row]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def require_plots() -> None:
    """Raise MissingExtraError unless matplotlib is there."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError('plots need matplotlib: pip install "rtsearch-fast[study]"')


def draw(profile: Profile) -> bytes:
    """Draw latency against the size of the tree as PNG, a panel for each number of children.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    require_plots()
    # without pyplot, which keeps figures in a global and may open windows
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels: dict[str, dict[tuple[str, int, int], list[Measurement]]] = {}
    for m in profile.measurements:
        title = _LEAVES if m.what == "global leaf" else f"K = {m.children}"
        panels.setdefault(title, {}).setdefault((m.what, m.batch, m.trees), []).append(m)
    names = list(dict.fromkeys(m.what for m in profile.measurements))
    figure = Figure(figsize=(3 + 4 * len(panels), 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    shown: dict[str, Any] = {}
    for number, (title, lines) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), number + 1)
        for (what, batch, trees), points in lines.items():
            x = [m.simulations for m in points]
            color = f"C{names.index(what) % 10}"
            style = "-" if batch > 1 else "--" if trees == 1 else ":"
            (line,) = axes.plot(
                x, [m.ns for m in points], color=color, linestyle=style, marker="o", markersize=4
            )
            label = f"{what}, B = {batch}" + (f", {trees} trees" if trees > 1 else "")
            shown.setdefault(label, line)
            axes.fill_between(
                x,
                [m.low for m in points],
                [m.high for m in points],
                color=color,
                alpha=0.15,
                linewidth=0,
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(bottom=10)
        if title == _LEAVES:
            axes.set_ylim(top=10_000)
        axes.set_xlabel("leaves" if title == _LEAVES else "simulations")
        axes.set_ylabel("ns a simulation" if number == 0 else "")
        axes.set_title(title)
        axes.grid(alpha=0.3)
    figure.legend(list(shown.values()), list(shown), loc="outside right upper", fontsize="small")
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120, metadata={"Software": None})
    return image.getvalue()


def render_html(profile: Profile) -> str:
    """Render one page with everything in it; no script, nothing loaded from elsewhere."""
    rows = list(_rows(profile.measurements))
    cells = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows[1:]]
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in rows[0])
    told = ", ".join(f"{name}: {value}" for name, value in profile.machine.items())
    image = base64.b64encode(draw(profile)).decode("ascii")
    body = "\n".join(f"<tr>{row}</tr>" for row in cells)
    return f"""<!doctype html>
<meta charset="utf-8">
<title>rtsearch bench</title>
<style>
body {{ font: 14px sans-serif; margin: 2em }}
td, th {{ padding: 2px 10px; text-align: right }}
td:first-child, th:first-child {{ text-align: left }}
img {{ max-width: 100% }}
</style>
<h1>Latency of the tree core</h1>
<p>{html.escape(told)}</p>
<p><img src="data:image/png;base64,{image}" alt="latency against tree size"></p>
<p>Nanoseconds a simulation, median of rounds; <em>ratio</em>: to this package, driven from Python,
on the same work.</p>
<table>
<tr>{head}</tr>
{body}
</table>
"""


def write_bytes(path: Path, content: bytes) -> None:
    """Write a plot or a page.

    Raises
    ------
    DataError
        The file cannot be written.
    """
    try:
        path.write_bytes(content)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from None
