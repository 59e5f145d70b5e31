"""Problem files: JSONL in, problems and their right answers out, kept apart.

A search is given `Item.problem` alone. The right answer stays in `Item.gold` for the grader, and
so does the name of the exact check of problems that have many right answers.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..bounds import bounded_lines
from ..errors import DataError, InvalidArgumentError
from ..search.records import Problem
from .checks import find_check

__all__ = ["Item", "load_problems"]

# The names that published sets use for the same thing; the first one present is read.
_PROBLEM_NAMES = ("problem", "question", "Problem", "prompt")
_ANSWER_NAMES = ("answer", "Answer", "final_answer")
_ID_NAMES = ("unique_id", "id", "ID")


@dataclass(frozen=True, slots=True)
class Item:
    """A problem with its right answer.

    Attributes
    ----------
    problem : Problem
        All that a search may see.
    gold : str or None
        The right answer; None where the file gives none.
    check : str, optional
        The check that decides instead (see `find_check`); `gold` is then but one right answer.
    """

    problem: Problem
    gold: str | None
    check: str | None = None

    @property
    def is_graded(self) -> bool:
        """Whether there is anything to grade against, or it can be solved only."""
        return self.gold is not None or self.check is not None


def load_problems(
    path: str | os.PathLike[str], *, limit: int | None = None, start: int = 0
) -> list[Item]:
    """Read problems from a JSONL file, one object a line; blank lines are skipped.

    Parameters
    ----------
    path : path-like
        The file, or "-" for standard input.
    limit : int, optional
        Read no more than so many problems.
    start : int
        Skip so many problems first.

    Returns
    -------
    list of Item
        In the order of the file, at least one.

    Raises
    ------
    DataError
        The file, or a line up to the last one wanted, cannot be used. The message names both.

    Notes
    -----
    The problem is read from `problem`, `question`, `Problem` or `prompt`; the answer, if any, from
    `answer`, `Answer` or `final_answer` (of a worked GSM8K answer what follows the last `####`);
    the identity from `unique_id`, `id` or `ID`, else it is a hash of the problem's text. A `check`
    names the exact check of answers of a family of generated problems, such as "countdown".

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "sums.jsonl")
    >>> _ = path.write_text('{"id": 7, "question": "What is 1 + 1?", "answer": "1+1=2 #### 2"}')
    >>> load_problems(path)
    [Item(problem=Problem(unique_id='7', problem='What is 1 + 1?'), gold='2', check=None)]
    """
    if limit is not None and limit < 1:
        raise InvalidArgumentError(f"limit must be at least 1, got {limit}")
    if start < 0:
        raise InvalidArgumentError(f"start must not be negative, got {start}")
    name = "<stdin>" if os.fspath(path) == "-" else os.fspath(path)
    items: list[Item] = []
    line_of: dict[str, int] = {}
    with _open(path, name) as lines:
        for number, line in enumerate(lines, start=1):
            where = f"{name}, line {number}"
            if not line.strip():
                continue
            item = _item(_object(line, where), where)
            unique_id = item.problem.unique_id
            if unique_id in line_of:
                raise DataError(
                    f"{name}, lines {line_of[unique_id]} and {number}: both have the id "
                    f"{_short(unique_id)}; give every problem its own"
                )
            line_of[unique_id] = number
            items.append(item)
            if limit is not None and len(items) == start + limit:
                break
    if not items:
        raise DataError(f"{name}: holds no problem; write one JSON object a line")
    if start >= len(items):
        raise DataError(
            f"{name}: holds {len(items)} problems and start={start} skips them all; "
            "choose a smaller start"
        )
    return items[start:]


@contextmanager
def _open(path: str | os.PathLike[str], name: str) -> Iterator[Iterable[bytes]]:
    """The lines as bytes, so that a line that is not UTF-8 can be named."""
    try:
        if name == "<stdin>":
            yield bounded_lines(sys.stdin.buffer, name)
        else:
            with open(path, "rb") as file:
                yield bounded_lines(file, name)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(
            f"{name}: cannot be read ({reason}); give a JSONL file or - for standard input"
        ) from error


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        text = line.decode("utf-8-sig" if where.endswith("line 1") else "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}: byte {error.start + 1} is not UTF-8; save the file as UTF-8"
        ) from None
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{where}: not JSON ({error}), found {_short(text.strip())}; write one object a line"
        ) from None
    if not isinstance(value, dict):
        raise DataError(
            f"{where}: found {_short(value)}, not an object; write one "
            '{"problem": ..., "answer": ...} a line'
        )
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _item(record: dict[str, Any], where: str) -> Item:
    name, value = _first(record, _PROBLEM_NAMES)
    if name is None:
        raise DataError(
            f"{where}: no problem, found the fields {_short(', '.join(record))}; "
            f"name it {' or '.join(_PROBLEM_NAMES)}"
        )
    problem = _text(name, value, where, kinds=(str,))
    name, value = _first(record, _ID_NAMES)
    if name is None:
        unique_id = hashlib.blake2b(problem.encode(), digest_size=8).hexdigest()
    else:
        unique_id = _text(name, value, where, kinds=(str, int))
    return Item(Problem(unique_id, problem), _gold(record, where), _check(record, where))


def _gold(record: dict[str, Any], where: str) -> str | None:
    name, value = _first(record, _ANSWER_NAMES)
    if name is None:
        return None
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        value = ", ".join(value)  # OlympiadBench lists the values of one answer
    answer = _text(name, value, where, kinds=(str, int, float))
    return _text(name, answer.rpartition("####")[2], where, kinds=(str,)).strip()


def _check(record: dict[str, Any], where: str) -> str | None:
    if record.get("check") is None:
        return None
    check = _text("check", record["check"], where, kinds=(str,))
    try:
        find_check(check)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    return check


def _first(record: dict[str, Any], names: tuple[str, ...]) -> tuple[str | None, Any]:
    """The first of these fields that is there and not null."""
    return next(((n, record[n]) for n in names if record.get(n) is not None), (None, None))


def _text(name: str, value: Any, where: str, *, kinds: tuple[type, ...]) -> str:
    if not isinstance(value, kinds) or isinstance(value, bool):
        wanted = "text" if kinds == (str,) else "text or a number"
        raise DataError(f"{where}: {name} is {_short(value)}; it must be {wanted}")
    text = str(value)
    if not text.strip():
        raise DataError(f"{where}: {name} is empty; fill it in or take the field or line out")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(
            f"{where}: {name} holds half of a surrogate pair; write the character as UTF-8"
        ) from None
    return text


def _short(value: object) -> str:
    """`value` in one line of bearable length."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
