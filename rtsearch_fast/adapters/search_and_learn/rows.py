r"""search-and-learn's records: one JSON object a problem, with the keys that its readers know."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ...answers import final_answer
from ...errors import InvalidArgumentError
from ...search import votes
from ...search.records import Candidate
from .recipe import options_of

__all__ = ["to_rows", "write_rows"]

_VOTES = {"naive": votes.best, "weighted": votes.weighted, "maj": votes.majority}


def to_rows(
    x: Mapping[str, Sequence[Any]], found: Mapping[str, Sequence[Any]], config: Any
) -> list[dict[str, Any]]:
    r"""Join a batch and what an approach found, and vote over the first 1, 2, 4, ... n completions.

    What ``sal.utils.score.score`` does, but for three things: ``agg_scores`` are made by
    ``agg_strategy``, answers that are equal vote together by `rtsearch_fast.answers`, and where no
    completion has an answer the prediction is ``\boxed{}``.

    Parameters
    ----------
    x : mapping
        The columns of the batch, ``problem`` among them.
    found : mapping
        What the approach returned.
    config : sal.config.Config, or anything with its fields

    Returns
    -------
    list of dict
        The columns of both, and of each problem ``agg_scores`` and
        ``pred_{naive,weighted,maj}@{1,2,4,...}``.

    Raises
    ------
    InvalidArgumentError
        The columns are not of one length.
    """
    plan = options_of(config)
    columns = {**x, **found}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise InvalidArgumentError(f"columns are not of one length: {lengths}")
    rows = []
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        row["agg_scores"] = [plan.score(scores) for scores in row["scores"]]
        voters = [
            Candidate((text,), final_answer(text), score, 0, True)
            for text, score in zip(row["completions"], row["agg_scores"], strict=True)
        ]
        for n in (2**i for i in range(plan.n.bit_length())):
            for name, vote in _VOTES.items():
                chosen = vote(voters[:n])
                answer = "" if chosen is None else voters[chosen].answer
                row[f"pred_{name}@{n}"] = f"\\boxed{{{answer}}}"
        rows.append(row)
    return rows


def write_rows(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Append records to a JSONL file, each a line."""
    with open(path, "a", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
