"""Questions in SQL to the records of runs.

The table is made anew from the journals, in memory: nothing on disk can be out of date or damaged.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

from ...errors import DataError
from .reader import RunReader

__all__ = ["COLUMNS", "query_runs"]

#: Columns of the table `records`, with their types.
COLUMNS = {
    "run": "TEXT",
    "method": "TEXT",
    "unique_id": "TEXT",
    "problem": "TEXT",
    "pred": "TEXT",
    "answer": "TEXT",
    "correct": "INTEGER",
    "correct_relative": "INTEGER",
    "found": "INTEGER",
    "solution": "TEXT",
    "best_score": "REAL",
    "num_solutions": "INTEGER",
    "stop_reason": "TEXT",
    "policy_tokens": "INTEGER",
    "reward_tokens": "INTEGER",
    "policy_samples": "INTEGER",
    "reward_calls": "INTEGER",
    "simulations": "INTEGER",
    "nodes": "INTEGER",
    "signature": "TEXT",
}
#: A question may read, and nothing else.
_ALLOWED = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}


def query_runs(readers: Sequence[RunReader], sql: str) -> Iterator[tuple[Any, ...]]:
    """Answer a question to the table `records`: first the columns' names, then the rows.

    Parameters
    ----------
    readers : sequence of RunReader
        Runs whose records are in the table, finished or not.
    sql : str
        One SELECT.

    Raises
    ------
    DataError
        SQLite does not take it; the message says why.
    """
    with closing(sqlite3.connect(":memory:")) as table:
        table.execute(f"CREATE TABLE records ({', '.join(map(' '.join, COLUMNS.items()))})")
        marks = ", ".join("?" * len(COLUMNS))
        for reader in readers:
            rows = (_row(reader, record) for record in reader.records())
            table.executemany(f"INSERT INTO records VALUES ({marks})", rows)
        table.set_authorizer(
            lambda action, *_: sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY
        )
        try:
            found = table.execute(sql)
            if found.description is None:
                raise ValueError("it asks nothing")
            yield tuple(column[0] for column in found.description)
            yield from found
        except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
            raise DataError(
                f"SQLite does not take {sql!r} ({error}): write one SELECT over the table records, "
                f"whose columns are {', '.join(COLUMNS)}"
            ) from None


def _row(reader: RunReader, record: dict[str, Any]) -> list[Any]:
    scores = [score for score in record["scores"] if score is not None]
    derived = {
        "run": str(reader.path),
        "best_score": max(scores, default=None),
        "num_solutions": len(record["answers"]),
    }
    values = {**record["usage"], **record, **derived}
    return [_plain(values.get(name)) for name in COLUMNS]


def _plain(value: Any) -> Any:
    """A value as SQLite has it: no half of a surrogate pair, no integer of more than 64 bits."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    fits = value is None or isinstance(value, float) or abs(value) < 1 << 63
    return value if fits else str(value)
