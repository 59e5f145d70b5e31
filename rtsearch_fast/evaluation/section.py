"""Reports that are part of a Markdown file: the text between two marks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import DataError

__all__ = ["markdown_table", "put_section"]


def markdown_table(lines: Sequence[Sequence[str]], sides: str) -> str:
    """Render rows of cells, the first of which is the head.

    Parameters
    ----------
    lines : sequence of sequence of str
    sides : str
        For each column "l" or "r", where its cells are aligned.
    """
    rule = ["---:" if side == "r" else "---" for side in sides]
    return "\n".join(f"| {' | '.join(row)} |" for row in (lines[0], rule, *lines[1:]))


def put_section(path: Path, mark: str, text: str) -> bool:
    """Put the text between ``<!-- mark -->`` and ``<!-- /mark -->``; returns whether it changed.

    Raises
    ------
    DataError
        The file cannot be read, or lacks the marks.
    """
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    try:
        old = path.read_text("utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    head, found, rest = old.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise DataError(
            f"{path}: has no place for this report: write the lines {begin} and {end} where it is "
            "to stand"
        )
    new = f"{head}{begin}\n\n{text}\n\n{end}{tail}"
    if new != old:
        path.write_text(new, "utf-8")
    return new != old
