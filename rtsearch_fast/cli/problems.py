"""The problem file that a command line names; "demo" is the one that comes with rtsearch."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from ..evaluation.data import Item, load_problems

__all__ = ["read_problems"]


def read_problems(file: Path, *, limit: int | None = None, start: int = 0) -> list[Item]:
    """Read problems as `load_problems` does, or the shipped ones for the name "demo"."""
    if str(file) != "demo":
        return load_problems(file, limit=limit, start=start)
    shipped = resources.files("rtsearch_fast").joinpath("problems/demo.jsonl")
    with resources.as_file(shipped) as path:
        return load_problems(path, limit=limit, start=start)
