"""The problems that a command line names: a file, "demo", or a family of generated problems."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from ..evaluation.data import Item, load_problems
from ..search.records import Problem
from ..tasks import FAMILIES, examples

__all__ = ["read_problems"]

#: Problems of a family where no limit is given.
_COUNT = 100


def read_problems(file: Path, *, limit: int | None = None, start: int = 0) -> list[Item]:
    """Read problems as `load_problems` does; "demo" names the shipped ones.

    The name of a family ("countdown", "chain") stands for its held-out problems, 100 where no limit
    is given.
    """
    if str(file) in FAMILIES and not file.exists():
        family = str(file)
        made = examples(family, split="heldout", count=start + (limit or _COUNT))[start:]
        return [Item(Problem(e.unique_id, e.problem), e.answer, family) for e in made]
    if str(file) != "demo":
        return load_problems(file, limit=limit, start=start)
    shipped = resources.files("rtsearch_fast").joinpath("problems/demo.jsonl")
    with resources.as_file(shipped) as path:
        return load_problems(path, limit=limit, start=start)
