"""`rtsearch eval`: several methods on one set of problems, at the same budget."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ..errors import DataError, InvalidArgumentError
from ..evaluation.data import Item
from ..evaluation.grade import Grader
from ..evaluation.table import render_table
from ..runs.batch import AnySearcher, run_batch, summarise
from ..runs.folder.about import Shard
from ..runs.folder.writer import RunFolder
from ..search.methods import METHODS
from ..search.options import SearchOptions
from ..search.tree_view import printable
from .problems import read_problems
from .progress import ProgressView
from .replicas import ReplicaFlags, SearchSettings
from .settings import BudgetFlags, ModelFlags, check_search

__all__ = ["evaluate", "graded_problems", "method_names"]


def evaluate(
    data: Path,
    /,
    *,
    methods: Annotated[str, Parameter(alias="--approach")] = "cot,best_of_n,majority,mcts,mcts_g",
    limit: Annotated[int | None, Parameter(alias="--num-samples")] = None,
    start: int = 0,
    output: Annotated[Path, Parameter(alias="-o")] = Path("results/eval"),
    resume: Annotated[bool, Parameter(negative=())] = False,
    shard: str | None = None,
    splitter: str = "labelled",
    concurrency: int = 256,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    recipe: Path | None = None,
    replicas: ReplicaFlags | None = None,
    models: ModelFlags | None = None,
    budget: BudgetFlags | None = None,
    options: Annotated[SearchOptions | None, Parameter(name="*")] = None,
) -> int:
    """Evaluate methods on a set of problems with known answers and print a table.

    Parameters
    ----------
    data
        JSONL with the fields `problem` and `answer` on each line; "-" is standard input, "demo"
        the problems that come with rtsearch.
    methods
        Comma-separated: cot, best_of_n, majority, weighted_majority, beam, mcts, mcts_g.
    limit
        Take so many problems.
    start
        Skip so many problems first.
    output
        Folder of the run. It keeps each finished problem with its tree and what is known of
        unfinished trees; results.jsonl in it has the records, one a line.
    resume
        Go on with the run in --output: what is in it is not computed again.
    shard
        i/n: solve the i-th of n parts of the problems only, each into a folder of its own; rtsearch
        merge puts them together.
    splitter
        What a step is: labelled, string:SEP, regex:PATTERN, tokens:N, think.
    concurrency
        Most problems under search at once; --sequences says how many it takes.
    dry_run
        Check everything that can be checked without a model, and stop.
    recipe
        YAML file; what its `eval` holds are the defaults of this command's options. The command
        line and RTSEARCH_... variables precede it.
    """
    names = method_names(methods)
    items = graded_problems(data, limit=limit, start=start)
    models = models or ModelFlags()
    limits = (budget or BudgetFlags()).to_budget(models.default_tokens)
    options = options or SearchOptions()
    check_search(names, limits, options, splitter)
    replicas = replicas or ReplicaFlags()
    replicas.check(models)
    part = Shard() if shard is None else Shard.parse(shard)
    own = part.take(items)
    if not own:
        raise InvalidArgumentError(
            f"--shard {shard}: of {len(items)} problems none is in this part; use fewer parts"
        )
    _check_output(output)
    if dry_run:
        print(f"{len(own)} problems, {len(names)} methods, {limits}")
        return 0

    def folder(searcher: AnySearcher) -> RunFolder:
        settings = {
            "methods": names,
            "budget": asdict(limits),
            "options": asdict(options),
            "splitter": splitter,
            "policy": searcher.policy.name,
            "reward": searcher.reward.name,
        }
        return RunFolder(output, settings, items, shard=part, resume=resume, note=str(data))

    loaded = replicas.searchers(
        SearchSettings(models, names, limits, options, splitter, concurrency)
    )

    async def work(view: ProgressView) -> str:
        async with loaded as searchers:
            with folder(searchers[0]) as store, Grader() as grader:
                for damage in store.damage:
                    print(f"rtsearch: {printable(damage)}", file=sys.stderr)
                found = await run_batch(own, searchers, store, grader, view, keep_trees=True)
                return render_table(summarise(found, view.seconds))

    with ProgressView() as view:
        table = asyncio.run(work(view))
    print(table)
    print(f"\n{len(own)} problems of {data} at {_describe(limits)} each; the run is in {output}")
    if view.resumed:
        print("seconds: only of what this session computed")
    return 0


def _check_output(output: Path) -> None:
    if output.suffix in {".jsonl", ".json"} or output.is_file():
        raise InvalidArgumentError(
            f"--output {output}: a run is a folder; name one (its results.jsonl has the records)"
        )


def method_names(methods: str) -> list[str]:
    """The methods of a comma-separated list."""
    names = [name.strip() for name in methods.split(",") if name.strip()]
    unknown = [name for name in names if name not in METHODS]
    if unknown or not names or len(set(names)) < len(names):
        raise InvalidArgumentError(
            f"--methods {methods!r}: name each at most once, out of {', '.join(METHODS)}"
        )
    return names


def graded_problems(data: Path, *, limit: int | None, start: int) -> list[Item]:
    """The problems of a file, each with its right answer."""
    items = read_problems(data, limit=limit, start=start)
    if ungraded := [item.problem.unique_id for item in items if not item.is_graded]:
        raise DataError(
            f"{data}: problem {ungraded[0]} has no answer to grade against: add a field `answer` "
            "(or `check`), or use rtsearch solve -f"
        )
    return items


def _describe(budget: Any) -> str:
    return ", ".join(f"{value} {name}" for name, value in asdict(budget).items() if value)
