"""Small tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["columns"]


def columns(rows: Sequence[Sequence[object]]) -> str:
    """Rows as aligned text: numbers to the right, all else to the left; the first row is the head.

    Examples
    --------
    >>> print(columns([("filter", "kept"), ("format", 12), ("duplicates", 9)]))
    filter      kept
    format        12
    duplicates     9
    """
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numeric = [all(isinstance(row[i], int | float) for row in rows[1:]) for i in range(len(widths))]
    return "\n".join(
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in cells
    )


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
