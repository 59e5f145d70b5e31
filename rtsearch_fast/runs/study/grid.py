"""What a study consists of: comparisons, and the cells that they need."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...errors import DataError

__all__ = ["BASE", "DESCRIPTION", "Cell", "Comparison", "Study"]

#: The variant without settings of its own.
BASE = "base"
#: The file of a study's folder that tells what is in it.
DESCRIPTION = "study.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One method with one budget, seed and variant of the settings on one set of problems."""

    problems: str
    variant: str
    method: str
    budget: int
    seed: int

    def journal(self, folder: Path) -> Path:
        """The file of its records."""
        name = f"{self.method}-{self.budget}-seed{self.seed}.jsonl"
        return folder / self.problems / self.variant / name


@dataclass(frozen=True, slots=True)
class Comparison:
    """A table and a plot of the report.

    Attributes
    ----------
    name : str
    methods : tuple of str
    budgets : tuple of int
        Tokens of policy and reward model, ascending.
    variants : tuple of str
        The first is what the others are compared with.
    differences : tuple of (str, str)
        Pairs of methods whose difference is reported.
    """

    name: str
    methods: tuple[str, ...]
    budgets: tuple[int, ...]
    variants: tuple[str, ...] = (BASE,)
    differences: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Study:
    """Comparisons over the same sets of problems and seeds.

    Attributes
    ----------
    name : str
    problems : tuple of str
        Names of the sets.
    seeds : tuple of int
    comparisons : tuple of Comparison
    """

    name: str
    problems: tuple[str, ...]
    seeds: tuple[int, ...]
    comparisons: tuple[Comparison, ...]

    def cells(self, problems: Iterable[str] | None = None) -> list[Cell]:
        """All cells that the comparisons need, each once; of some sets of problems only, if given.

        Examples
        --------
        >>> table = Comparison("all", ("cot", "mcts"), (100, 200))
        >>> study = Study("s", ("sums",), (0,), (table, Comparison("one", ("cot",), (200,))))
        >>> [(cell.method, cell.budget) for cell in study.cells()]
        [('cot', 100), ('mcts', 100), ('cot', 200), ('mcts', 200)]
        """
        wanted = self.problems if problems is None else tuple(problems)
        return list(
            dict.fromkeys(
                cell
                for name in wanted
                for seed in self.seeds
                for comparison in self.comparisons
                for cell in self.cells_of(comparison, name, seed)
            )
        )

    def cells_of(self, comparison: Comparison, problems: str, seed: int) -> list[Cell]:
        """The cells of one comparison, in the order of its table."""
        return [
            Cell(problems, variant, method, budget, seed)
            for budget in comparison.budgets
            for variant in comparison.variants
            for method in comparison.methods
        ]

    def check_names(self) -> None:
        """Refuse names that are no names of files: journals and plots are named by them.

        Raises
        ------
        DataError
        """
        names = [self.name, *self.problems, *(each.name for each in self.comparisons)]
        for each in self.comparisons:
            names += (*each.methods, *each.variants)
        numbers = [*self.seeds, *(budget for each in self.comparisons for budget in each.budgets)]
        if wrong := [name for name in names if not _NAME.fullmatch(name)]:
            raise DataError(f"the name {wrong[0]!r}: give letters, digits, dots, - and _ alone")
        if odd := [number for number in numbers if type(number) is not int]:
            raise DataError(f"the seed or budget {odd[0]!r} is no whole number")

    def save(self, folder: Path) -> None:
        """Describe the study in its folder, for the report."""
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        temporary = folder / f"{DESCRIPTION}.{os.getpid()}.tmp"  # each worker saves it
        temporary.write_text(text + "\n", "utf-8")
        temporary.replace(folder / DESCRIPTION)

    @classmethod
    def load(cls, folder: Path) -> Study:
        """Read the description back.

        Raises
        ------
        DataError
            The folder holds none.
        """
        path = folder / DESCRIPTION
        try:
            value: dict[str, Any] = json.loads(path.read_text("utf-8"))
            comparisons = tuple(
                Comparison(
                    entry["name"],
                    tuple(entry["methods"]),
                    tuple(entry["budgets"]),
                    tuple(entry["variants"]),
                    tuple((a, b) for a, b in entry["differences"]),
                )
                for entry in value["comparisons"]
            )
            found = cls(value["name"], tuple(value["problems"]), tuple(value["seeds"]), comparisons)
            found.check_names()
            return found
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(
                f"{path}: no description of a study ({error}): give the folder that `rtsearch "
                "study run` wrote to"
            ) from None
