"""Training rows: JSONL in, checked line by line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError, InvalidArgumentError
from .jsonl import read_jsonl

__all__ = ["DPO", "PROCESS", "RANKING", "REWARD", "SFT", "Columns", "check_labels", "read_rows"]

Row = dict[str, Any]
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Columns:
    """The fields that rows need, each with what it holds.

    "text" is a text that is not blank; "parts" one, or a list of them; "solution" one, or a list of
    steps; "bool" true or false; "steps" a list of texts, "prefix" one that may be empty; "scores" a
    list of numbers in [0, 1], true, false or null.
    """

    needed: Mapping[str, str]
    optional: Mapping[str, str]

    def check(self, row: Row, where: str) -> Row:
        """Return the fields of a row; DataError if one is missing or holds something else."""
        missing = [name for name in self.needed if row.get(name) is None]
        if missing:
            raise DataError(
                f"{where}: no field `{missing[0]}`: found {', '.join(row) or 'none'}; wanted "
                f"{', '.join(self.needed)}"
            )
        found = {name: _value(row[name], kind, name, where) for name, kind in self.needed.items()}
        for name, kind in self.optional.items():
            if row.get(name) is not None:
                found[name] = _value(row[name], kind, name, where)
        if found.get("chosen", 0) == found.get("rejected", 1):
            raise DataError(f"{where}: `chosen` and `rejected` are the same: leave the row out")
        if "steps" in found and len(found["steps"]) != len(found["labels"]):
            raise DataError(
                f"{where}: {len(found['steps'])} steps and {len(found['labels'])} labels: give "
                "each step one, null where it has none"
            )
        return found


SFT = Columns({"problem": "text", "solution": "solution"}, {"after": "parts", "label": "bool"})
RANKING = Columns({"problem": "text", "chosen": "solution", "rejected": "solution"}, {})
DPO = Columns(RANKING.needed, {"prefix": "prefix"})
REWARD = Columns({"problem": "text", "solution": "solution", "label": "bool"}, {"check": "text"})
PROCESS = Columns({"problem": "text", "steps": "steps", "labels": "scores"}, {})


def read_rows(paths: Sequence[Path], columns: Columns) -> list[Row]:
    """Read the rows of files, in their order; blank lines are skipped.

    Raises
    ------
    DataError
        A file cannot be read, a line is no such row, or there is none. Names file and line.
    """
    if not paths:
        raise InvalidArgumentError("data=(): give at least one JSONL file to train on")
    rows = []
    for path in paths:
        found = [columns.check(row, where) for where, row in read_jsonl(path)]
        if not found:
            raise DataError(f"{path}: holds no row: write one JSON object a line")
        rows += found
    return rows


def check_labels(rows: Sequence[Row], balance: float) -> str | None:
    """Refuse rows of one label alone; return a warning where one of the two is rare.

    Raises
    ------
    DataError
        All rows are right, or all are wrong.
    """
    right = sum(row["label"] for row in rows)
    if right in (0, len(rows)):
        kind, other = ("right", "wrong") if right else ("wrong", "right")
        raise DataError(
            f"all {len(rows)} rows are {kind}: a model that always says so learns nothing; add "
            f"{other} solutions"
        )
    share = min(right, len(rows) - right) / len(rows)
    if share >= balance:
        return None
    return (
        f"{right} rows are right and {len(rows) - right} wrong: the rarer label has {share:.1%}; "
        "balance them for each problem"
    )


def _value(value: object, kind: str, name: str, where: str) -> Any:
    if kind == "bool":
        if not isinstance(value, bool):
            raise DataError(f"{where}: `{name}` is {_short(value)}: write true or false")
        return value
    if kind == "scores":
        return [_score(item, name, where) for item in _list(value, name, where)]
    if kind == "prefix":
        return "".join(_text(item, name, where) for item in _list(value, name, where))
    if kind == "parts":
        parts = value if isinstance(value, list) else [value]
        return tuple(_text(item, name, where) for item in parts)
    if kind == "steps" or (kind == "solution" and isinstance(value, list)):
        steps = [_text(item, name, where) for item in _list(value, name, where)]
        if not steps:
            raise DataError(f"{where}: `{name}` is empty: leave the row out")
        return tuple(steps) if kind == "steps" else "".join(steps)
    return _text(value, name, where)


def _list(value: object, name: str, where: str) -> list[object]:
    if not isinstance(value, list):
        raise DataError(f"{where}: `{name}` is {_short(value)}: write a list")
    return value


def _text(value: object, name: str, where: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{where}: `{name}` is {_short(value)}: write a text")
    if not value.strip():
        raise DataError(f"{where}: `{name}` is empty: leave the row out")
    return _SURROGATE.sub("\ufffd", value)  # which no tokenizer takes


def _score(value: object, name: str, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, int | float) and 0 <= value <= 1:
        return float(value)
    raise DataError(f"{where}: `{name}` holds {_short(value)}: write numbers in [0, 1] or null")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
