"""Free-form solutions, such as NuminaMath's, that are to be rewritten."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from ..answers import final_answer
from ..errors import DataError, InvalidArgumentError
from .jsonl import read_jsonl

__all__ = ["Draft", "read_drafts"]


@dataclass(frozen=True, slots=True)
class Draft:
    """A free-form solution to be rewritten.

    Attributes
    ----------
    unique_id : str
    problem : str
    solution : str
    answer : str
        The right answer, which the rewrite must keep.
    """

    unique_id: str
    problem: str
    solution: str
    answer: str


def read_drafts(path: str | os.PathLike[str], *, limit: int | None = None) -> list[Draft]:
    r"""Read free-form solutions: JSONL with `problem` and `solution`, as NuminaMath has them.

    The right answer is `answer`, or else what the solution's last box holds. The identity is
    `unique_id`, `id`, or a hash of the problem's text.

    Raises
    ------
    DataError
        The file cannot be read, or a line has no problem, solution or answer, or an id twice.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "drafts.jsonl")
    >>> _ = path.write_text('{"id": 1, "problem": "1 + 1", "solution": "So \\\\boxed{2}."}')
    >>> read_drafts(path)
    [Draft(unique_id='1', problem='1 + 1', solution='So \\boxed{2}.', answer='2')]
    """
    if limit is not None and limit < 1:
        raise InvalidArgumentError(f"limit must be at least 1, got {limit}")
    drafts: dict[str, Draft] = {}
    for where, row in read_jsonl(path):
        for name in ("problem", "solution"):
            if not isinstance(row.get(name), str) or not row[name].strip():
                found = repr(row[name])[:40] if name in row else "missing"
                raise DataError(f"{where}: {name} is {found}; it must be a text")
        unique_id = next((row[n] for n in ("unique_id", "id") if row.get(n) is not None), None)
        if unique_id is None:
            unique_id = hashlib.blake2b(row["problem"].encode(), digest_size=8).hexdigest()
        answer = row.get("answer")
        answer = final_answer(row["solution"]) if answer is None else str(answer)
        if answer is None or not answer.strip():
            raise DataError(
                f"{where}: there is no answer to keep: add a field `answer`, or a \\boxed{{}} to "
                "the solution"
            )
        if str(unique_id) in drafts:
            raise DataError(f"{where}: the id {unique_id!r} is there twice; give each its own")
        drafts[str(unique_id)] = Draft(str(unique_id), row["problem"], row["solution"], answer)
        if limit is not None and len(drafts) == limit:
            break
    if not drafts:
        raise DataError(f"{os.fspath(path)}: holds no solution; write one JSON object a line")
    return list(drafts.values())
