"""The problems that a command line names: a file, "demo", or a family of generated problems."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from ..evaluation.data import Item, load_problems
from ..search.records import Problem
from ..tasks import FAMILIES, examples

__all__ = ["is_generated", "read_problems"]

#: Problems of a family where no limit is given.
_COUNT = 100


def is_generated(data: Path) -> bool:
    """Whether a name stands for problems that come with rtsearch."""
    return str(data) == "demo" or (str(data) in FAMILIES and not data.exists())


def read_problems(file: Path, *, limit: int | None = None, start: int = 0) -> list[Item]:
    """Read problems as `load_problems` does; "demo" names the shipped ones.

    The name of a family ("countdown", "chain") stands for its held-out problems, 100 where no limit
    is given.
    """
    if not is_generated(file):
        return load_problems(file, limit=limit, start=start)
    if str(file) != "demo":
        family = str(file)
        made = examples(family, split="heldout", count=start + (limit or _COUNT))[start:]
        return [Item(Problem(e.unique_id, e.problem), e.answer, family) for e in made]
    shipped = resources.files("rtsearch_fast").joinpath("problems/demo.jsonl")
    with resources.as_file(shipped) as path:
        return load_problems(path, limit=limit, start=start)
