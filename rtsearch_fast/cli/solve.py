"""`rtsearch solve`: answers to single problems or to a file of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ..errors import InvalidArgumentError
from ..evaluation.data import Item
from ..evaluation.grade import Grader
from ..evaluation.table import wilson_interval
from ..runs.batch import run_batch
from ..runs.store import RunStore
from ..search.options import SearchOptions
from ..search.records import Problem, SearchResult
from ..search.tree_view import printable, render_tree
from .models import Models
from .problems import read_problems
from .progress import ProgressView
from .settings import POLICY, SMOLLM2, STDIN, BudgetFlags, ModelFlags, check_search

__all__ = ["solve"]

#: What the answers of embedded models are worth.
_EMBEDDED_NOTES = {
    POLICY: (
        "tiny-policy was trained on two families of problems, countdown and chain (rtsearch eval "
        "chain),\nand knows nothing else."
    ),
    SMOLLM2: "SmolLM2-135M is a small chat model and weak at mathematics.",
}


def solve(
    problem: str | None = None,
    /,
    *,
    file: Annotated[Path | None, Parameter(alias="-f")] = None,
    limit: Annotated[int | None, Parameter(alias="--num-samples")] = None,
    method: str = "mcts_g",
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    resume: Annotated[bool, Parameter(negative=())] = False,
    show_tree: Annotated[bool, Parameter(negative=())] = False,
    keep_trees: Annotated[bool, Parameter(negative=())] = False,
    splitter: str = "labelled",
    concurrency: int = 256,
    recipe: Path | None = None,
    models: ModelFlags | None = None,
    budget: BudgetFlags | None = None,
    options: Annotated[SearchOptions | None, Parameter(name="*")] = None,
) -> int:
    """Solve a problem, or a JSONL file of problems, and print answers and scores.

    Parameters
    ----------
    problem
        The text of one problem.
    file
        JSONL with a field `problem` (and `answer`, if answers are to be checked) on each line;
        "-" is standard input, "demo" the problems that come with rtsearch.
    limit
        Take so many problems of the file.
    method
        cot, best_of_n, majority, weighted_majority, beam, mcts or mcts_g.
    output
        Append finished problems to this JSONL file.
    resume
        Go on with the file of --output.
    show_tree
        Print the search tree of each problem.
    keep_trees
        Write the tree of each problem into its record, for rtsearch data export; needs --output.
    splitter
        What a step is: labelled, string:SEP, regex:PATTERN, tokens:N, think.
    concurrency
        Most problems under search at once; --sequences says how many it takes.
    recipe
        YAML file; what its `eval` says of models and search are the defaults of this command's
        options. The command line and RTSEARCH_... variables precede it.
    """
    if (problem is None) == (file is None) or problem == STDIN:
        raise InvalidArgumentError(
            'give one problem text, or -f FILE (- is standard input): rtsearch solve "What is 12 * '
            '7?"'
        )
    if problem is not None and not problem.strip():
        raise InvalidArgumentError(
            f'the problem {problem!r} is empty: give a text, as in rtsearch solve "What is 12 * 7?"'
        )
    if keep_trees and output is None:
        raise InvalidArgumentError("--keep-trees: name the file of the records with --output")
    if file is not None:
        items = read_problems(file, limit=limit)
    else:
        items = [Item(Problem("0", problem or ""), None)]
    models = models or ModelFlags()
    limits = (budget or BudgetFlags()).to_budget(models.default_tokens)
    options = options or SearchOptions()
    check_search([method], limits, options, splitter)
    loaded = Models(models)
    searcher = loaded.searcher(method, limits, options, splitter, concurrency)
    trees: dict[str, str] = {}

    def draw_tree(result: SearchResult) -> None:
        if show_tree and result.tree is not None:
            trees[result.problem.unique_id] = render_tree(result.tree)

    async def work(store: RunStore | None) -> list[dict[str, Any]]:
        try:
            await loaded.check_reward()
            with Grader() as grader, ProgressView() as view:
                records = await run_batch(
                    items, [searcher], store, grader, view, draw_tree, keep_trees=keep_trees
                )
            return list(records[method])
        finally:
            await loaded.aclose()

    if output is None:
        records = asyncio.run(work(None))
    else:
        with RunStore(output, resume=resume) as store:
            records = asyncio.run(work(store))
    for record in records:
        print(_report(record))
        if tree := trees.get(record["unique_id"]):
            print(tree)
    if note := _EMBEDDED_NOTES.get(models.embedded_policy or ""):
        print(f"\n{note} For real answers point --base-url or --model at your own.")
    _print_accuracy(records)
    return 0


def _report(record: Mapping[str, Any]) -> str:
    usage = record["usage"]
    scores = [
        score
        for answer, score in zip(record["answers"], record["scores"], strict=True)
        if answer == record["pred"] and score is not None
    ]
    verdict = ""
    if "correct" in record:
        verdict = "  right" if record["correct"] else _wrong(record)
    answer = "no answer" if record["pred"] is None else repr(record["pred"])
    score = f"  score {max(scores):.3f}" if scores else ""
    problem = printable(record["problem"], keep="\n\t")
    return (
        f"\n[{printable(record['unique_id'])}] {problem}\n"
        f"  -> {answer}{score}{verdict}\n"
        f"     {len(record['completions'])} solutions, {usage['nodes']} nodes, "
        f"{usage['policy_tokens']} + {usage['reward_tokens']} tokens of policy + reward, "
        f"stopped by: {record['stop_reason']}"
    )


def _wrong(record: Mapping[str, Any]) -> str:
    known = record["answer"]
    return "  wrong" if known is None else f"  wrong, right is {known!r}"


def _print_accuracy(records: list[dict[str, Any]]) -> None:
    graded = [record["correct"] for record in records if "correct" in record]
    if not graded:
        return
    low, high = wilson_interval(sum(graded), len(graded))
    print(
        f"Measured just now: {sum(graded)} of {len(graded)} right "
        f"(95 % interval {100 * low:.0f} - {100 * high:.0f} %)."
    )
