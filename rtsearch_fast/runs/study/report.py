"""The report of a study, out of its journals: tables in Markdown, and what to plot."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...evaluation.paired import Difference, Share, paired_difference, share_of
from ...evaluation.plots import Curve, Point, save_plot
from ...evaluation.section import markdown_table
from .grid import Cell, Comparison, Study

__all__ = ["render_report"]

_Records = dict[str, dict[str, Any]]  # unique_id -> record


@dataclass(frozen=True, slots=True)
class _Table:
    """The records of one comparison on one set: what all its cells have in common."""

    study: Study
    comparison: Comparison
    problems: str
    seeds: tuple[int, ...]
    ids: tuple[str, ...]
    records: dict[Cell, _Records]

    def column(self, variant: str, method: str, budget: int, field: str) -> list[list[bool]]:
        """One field of all searches: problems, and in each the seeds."""
        cells = [Cell(self.problems, variant, method, budget, seed) for seed in self.seeds]
        return [[bool(self.records[cell][i][field]) for cell in cells] for i in self.ids]

    def point(self, variant: str, method: str, budget: int) -> Point:
        cells = [Cell(self.problems, variant, method, budget, seed) for seed in self.seeds]
        usages = [self.records[cell][i]["usage"] for cell in cells for i in self.ids]
        tokens = sum(usage["policy_tokens"] + usage["reward_tokens"] for usage in usages)
        chosen, found = (share_of(self.column(variant, method, budget, f)) for f in _FIELDS)
        return Point(tokens / len(usages), chosen, found)

    def difference(
        self, first: tuple[str, str], second: tuple[str, str], budget: int, field: str
    ) -> Difference:
        """Of two (variant, method) at one budget."""
        return paired_difference(
            self.column(*first, budget, field), self.column(*second, budget, field)
        )


_FIELDS = ("correct", "found")
_LEGEND = (
    "*Budget*: most generated tokens a problem, policy and reward model together. *Chosen*: the "
    "answer is right; *found*: some finished candidate is. Intervals are Wilson's, with seeds of "
    "one problem counted as far as they differ; those of differences are of a paired bootstrap "
    "over problems, and **bold** where they leave out 0. *Only first : second*: searches that one "
    "of both got right alone."
)


def render_report(study: Study, folder: Path, plots: Path, link: str) -> str:
    """Render the tables of a study and draw its plots.

    Parameters
    ----------
    study : Study
    folder : Path
        Of the journals.
    plots : Path
        Where the plots go.
    link : str
        How the text names that folder.

    Raises
    ------
    DataError
        A comparison has no search that is finished in all its cells.
    """
    parts = [_LEGEND]
    for comparison in study.comparisons:
        for problems in study.problems:
            table = _gather(study, comparison, problems, folder)
            parts.append(_heading(table))
            if len(comparison.budgets) > 1:
                name = f"study-{study.name}-{comparison.name}-{problems}.png"
                save_plot(plots / name, f"{comparison.name}: {problems}", _curves(table))
                parts.append(f"![{comparison.name}, {problems}]({link}/{name})")
            parts.append(_rows(table))
            if differences := _differences(table):
                parts.append(differences)
    return "\n\n".join(parts)


def _gather(study: Study, comparison: Comparison, problems: str, folder: Path) -> _Table:
    records: dict[Cell, _Records] = {}
    seeds = []
    for seed in study.seeds:
        cells = study.cells_of(comparison, problems, seed)
        found = {cell: _read(cell.journal(folder)) for cell in cells}
        if all(found.values()):
            seeds.append(seed)
            records |= found
    common = set.intersection(*(set(r) for r in records.values())) if records else set()
    if not common:
        raise DataError(
            f"{folder}: no problem of {problems} is finished in all cells of the comparison "
            f"{comparison.name}: go on with rtsearch study run"
        )
    first = next(iter(records.values()))
    ids = tuple(unique_id for unique_id in sorted(first) if unique_id in common)
    return _Table(study, comparison, problems, tuple(seeds), ids, records)


def _read(path: Path) -> _Records:
    """The records of a journal, which may be missing, or be written at this moment."""
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return {}
    records = {}
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"\n"):
            break
        try:
            record = json.loads(line)
            records[record["unique_id"]] = record
        except (ValueError, KeyError, TypeError, RecursionError):
            raise DataError(f"{path}, line {number}: no record of a study; delete it") from None
    return records


def _heading(table: _Table) -> str:
    searches = f"{len(table.ids)} problems, {len(table.seeds)} seeds"
    return f"### {table.comparison.name}: {table.problems} ({searches})"


def _label(table: _Table, variant: str, method: str) -> str:
    several = len(table.comparison.variants) > 1
    return f"{method}, {variant}" if several else method


def _curves(table: _Table) -> list[Curve]:
    comparison = table.comparison
    return [
        Curve(
            _label(table, variant, method),
            tuple(table.point(variant, method, budget) for budget in comparison.budgets),
        )
        for method in comparison.methods
        for variant in comparison.variants
    ]


def _rows(table: _Table) -> str:
    comparison = table.comparison
    shares = ["chosen, %", "95 % interval", "found, %", "its interval"]
    lines = [["budget", "method", "tokens used", *shares]]
    for budget in comparison.budgets:
        for method in comparison.methods:
            for variant in comparison.variants:
                point = table.point(variant, method, budget)
                lines.append(
                    [
                        f"{budget:,}",
                        _label(table, variant, method),
                        f"{point.tokens:,.0f} ({point.tokens / budget:.0%})",
                        *_cells(point.chosen),
                        *_cells(point.found),
                    ]
                )
    return markdown_table(lines, "rlrrrrr")


def _differences(table: _Table) -> str:
    """Pairs of methods, and each further variant against the first."""
    comparison = table.comparison
    base, *others = comparison.variants
    pairs = [
        ((variant, a), (variant, b)) for variant in comparison.variants
        for a, b in comparison.differences
    ]  # fmt: skip
    pairs += [((variant, m), (base, m)) for m in comparison.methods for variant in others]
    lines = [
        ["budget", "difference", "chosen, points", "95 % interval", "only first : second",
         "McNemar p", "found, points", "its interval"]
    ]  # fmt: skip
    for budget in comparison.budgets:
        for first, second in pairs:
            chosen, found = (table.difference(first, second, budget, field) for field in _FIELDS)
            lines.append(
                [
                    f"{budget:,}",
                    f"{_label(table, *first)} - {_label(table, *second)}",
                    *_points(chosen),
                    f"{chosen.better} : {chosen.worse}",
                    f"{chosen.p:.3f}" if chosen.p >= 0.001 else "< 0.001",
                    *_points(found),
                ]
            )
    return markdown_table(lines, "rlrrrrrr") if len(lines) > 1 else ""


def _cells(share: Share) -> list[str]:
    return [f"{100 * share.value:.1f}", f"{100 * share.low:.1f} - {100 * share.high:.1f}"]


def _points(difference: Difference) -> list[str]:
    sure = difference.low > 0 or difference.high < 0
    value = f"{100 * difference.value:+.1f}"
    return [
        f"**{value}**" if sure else value,
        f"{100 * difference.low:+.1f} to {100 * difference.high:+.1f}",
    ]
