"""Whether a co-training came to what another one came to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...evaluation.section import markdown_table
from .report import last_measured, read_account

__all__ = ["TOLERANCES", "Agreement", "agreement"]

#: Largest differences, as shares, that two trainings by one recipe may show. A policy's share of
#: some hundred solved problems is known to within 0.04 only; the judge's figures are close to 1,
#: and known better.
TOLERANCES = {"policy": 0.10, "written check": 0.05, "written check, adversarial": 0.05}


@dataclass(frozen=True)
class Agreement:
    """Figures of two trainings side by side.

    Attributes
    ----------
    rows : tuple of (str, str, float, float, float)
        What was measured, of which problems, expected and found shares, and the tolerance.
    """

    rows: tuple[tuple[str, str, float, float, float], ...]

    @property
    def holds(self) -> bool:
        """Whether no figure lies further from the expected one than its tolerance."""
        return all(abs(found - wanted) <= most for *_, wanted, found, most in self.rows)

    def render(self) -> str:
        """A Markdown table, in %."""
        lines = [["", "problems", "expected, %", "found, %", "tolerance", ""]]
        for what, problems, wanted, found, most in self.rows:
            verdict = "" if abs(found - wanted) <= most else "differs"
            shares = (f"{100 * value:.1f}" for value in (wanted, found, most))
            lines.append([what, problems, *shares, verdict])
        return markdown_table(lines, "llrrrl")


def agreement(folder: Path, expected: Path) -> Agreement:
    """Compare the last measurement of a co-training with an expected one.

    Parameters
    ----------
    folder : Path
        What a co-training wrote to.
    expected : Path
        The ``stage.json`` of the last measurement of another run.

    Raises
    ------
    DataError
        One of them holds no measurement, or they measured different things.
    """
    found = dict(_shares(last_measured(folder)))
    wanted = dict(_shares(read_account(expected)["metrics"]))
    if found.keys() != wanted.keys() or not wanted:
        other = sorted(found.keys() ^ wanted.keys())
        raise DataError(
            f"{expected}: measures other things than {folder}: "
            f"{' '.join(other[0]) if other else 'nothing'}"
        )
    return Agreement(
        tuple(
            (f"{form}: {what}", problems, wanted[form, problems, what], value, TOLERANCES[form])
            for (form, problems, what), value in found.items()
        )
    )


def _shares(measured: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str, str], float]]:
    for form in TOLERANCES:
        for problems, figures in measured.get(form, {}).items():
            for what, value in figures.items():
                if isinstance(value, int | float) and 0 <= value <= 1:
                    yield (form, problems, what), value
