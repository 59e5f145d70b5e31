"""`rtsearch runs`, `show`, `query` and `merge`: what runs there are, and what is in them."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from ..errors import DataError, RunStoreError
from ..evaluation.table import render_table
from ..runs.batch import summarise
from ..runs.folder.merge import merge_runs
from ..runs.folder.query import query_runs
from ..runs.folder.reader import RunReader, is_run
from ..search.records import SearchTree
from ..search.tree_view import printable, render_tree

__all__ = ["merge", "query", "runs", "show"]


def runs(folder: Path = Path("results"), /) -> int:
    """List the runs in a folder and below it.

    Parameters
    ----------
    folder
        Where to look.
    """
    found = [path for path in _folders(folder) if is_run(path)]
    if not found:
        raise DataError(f"{folder}: holds no run; rtsearch eval --output makes one")
    for path in found:
        try:
            with RunReader(path) as reader:
                print(printable(_line(reader)))
        except RunStoreError as error:
            print(printable(f"damaged     {error}"))
    return 0


def show(
    run: Path,
    problem: str | None = None,
    /,
    *,
    method: str | None = None,
    max_depth: int | None = None,
) -> int:
    """Show how a run stands, or what it found on one problem.

    Parameters
    ----------
    run
        Folder of the run; it may be unfinished, or written at this moment.
    problem
        Id of a problem: its answers and trees are shown.
    method
        What this method found on it alone.
    max_depth
        Leave out what lies deeper in the trees.
    """
    with RunReader(run) as reader:
        if problem is None:
            print(printable(_line(reader)))
            print(printable(render_table(summarise(_by_method(reader))), keep="\n"))
        else:
            _show_problem(reader, problem, method, max_depth)
        for damage in reader.damage:
            print(printable(damage))
    return 0


def query(
    sql: str,
    /,
    *runs: Annotated[Path, Parameter(negative=())],
    form: Annotated[Literal["csv", "jsonl"], Parameter(name="--format")] = "csv",
) -> int:
    """Ask the records of runs, finished or not, a question in SQL.

    Parameters
    ----------
    sql
        One SELECT over the table records. Its columns: run, method, unique_id, problem, pred,
        answer, correct, correct_relative, found, solution, best_score, num_solutions, stop_reason,
        policy_tokens, reward_tokens, policy_samples, reward_calls, simulations, nodes, signature.
        For example: "SELECT unique_id, pred, answer FROM records WHERE found AND NOT correct".
    runs
        Folders of the runs.
    form
        csv, with a line of names first, or jsonl.
    """
    if not runs:
        raise DataError("name the run folders to ask")
    with ExitStack() as stack:
        rows = query_runs([stack.enter_context(RunReader(run)) for run in runs], sql)
        names = next(rows)
        if form == "csv":
            writer = csv.writer(sys.stdout, lineterminator="\n")
            for row in (names, *rows):
                writer.writerow([printable(v) if isinstance(v, str) else v for v in row])
        else:
            for row in rows:
                print(json.dumps(dict(zip(names, row, strict=True))))
    return 0


def merge(output: Path, /, *shards: Annotated[Path, Parameter(negative=())]) -> int:
    """Put shards of one run together.

    Parameters
    ----------
    output
        Folder to make.
    shards
        Folders of rtsearch eval --shard. Unfinished trees come along, and rtsearch eval --resume
        goes on with the merged run.
    """
    merged, total = merge_runs(output, shards)
    print(f"{output}: {merged} of {total} records out of {len(shards)} runs")
    if merged < total:
        print("go on with the rest by rtsearch eval --resume, without --shard")
    return 0


def _folders(folder: Path) -> Iterator[Path]:
    """The folder and those below it; what is in a run is its own."""
    yield folder
    if folder.is_dir() and not is_run(folder):
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not path.is_symlink():
                yield from _folders(path)


def _line(reader: RunReader) -> str:
    done, total = len(reader.done), reader.total()
    state = "running" if reader.is_running() else "finished" if done == total else "unfinished"
    shard = "" if reader.about.shard.count == 1 else f", shard {reader.about.shard}"
    begun = reader.unfinished()
    trees = f", {len(begun)} begun ({sum(begun.values())} simulations)" if begun else ""
    return (
        f"{state:<10}  {reader.path}  {done} of {total} records{trees}: "
        f"{', '.join(reader.methods)} on {reader.about.note}{shard}"
    )


def _by_method(reader: RunReader) -> dict[str, Iterator[dict[str, Any]]]:
    def of(method: str) -> Iterator[dict[str, Any]]:
        return (reader.record(key) for key, done in reader.done.items() if done.method == method)

    return {method: of(method) for method in reader.methods}


def _show_problem(reader: RunReader, problem: str, method: str | None, depth: int | None) -> None:
    item = next((item for item in reader.items() if item.problem.unique_id == problem), None)
    if item is None:
        raise DataError(f"{reader.path}: has no problem {problem!r}")
    print(printable(item.problem.problem, keep="\n\t"))
    found = False
    for key, done in reader.done.items():
        if done.unique_id != problem or method not in (None, done.method):
            continue
        found = True
        record = reader.record(key, with_tree=True)
        usage = record["usage"]
        verdict = {True: "  right", False: "  wrong", None: ""}[record.get("correct")]
        print(
            f"\n{printable(done.method)}: {record['pred']!r}{verdict}  "
            f"{len(record['answers'])} solutions, "
            f"{usage['policy_tokens']} + {usage['reward_tokens']} tokens, "
            f"stopped by: {printable(str(record['stop_reason']))}"
        )
        print(printable(record["solution"], keep="\n\t"))
        if "tree" in record:
            print(render_tree(SearchTree.from_record(record["tree"]), max_depth=depth))
    if not found:
        print("\nnot finished" if method is None else f"\nnot finished by {printable(method)}")
