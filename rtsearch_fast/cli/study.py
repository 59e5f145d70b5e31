"""`rtsearch study`: compare methods over problems, budgets, seeds and settings, and report."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from ..errors import InvalidArgumentError, SearchError
from ..evaluation.data import Item
from ..evaluation.grade import Grader
from ..evaluation.section import put_section
from ..runs.study.grid import Study
from ..runs.study.report import render_report
from ..runs.study.shard import ShardProgress, run_shard
from ..search.records import Problem
from ..search.tree_view import printable
from .eval import graded_problems
from .study_models import StudyModels
from .study_recipe import StudyRecipe

__all__ = ["study_app"]

study_app = App(name="study", help="Compare methods at equal tokens: run a grid, and report it.")

# sys.path is handed over so that a child finds this package however the parent found it.
_SHARD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from rtsearch_fast.cli import main; main()"
)


@study_app.command
def run(
    *,
    recipe: Path,
    families: str | None = None,
    seeds: str | None = None,
    comparisons: str | None = None,
    limit: int | None = None,
    workers: int = 1,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
) -> int:
    """Search what the recipe's comparisons need and no earlier run has in the folder.

    Parameters
    ----------
    recipe
        YAML file, such as recipes/puzzles/study.yaml.
    families
        Comma-separated: only these sets of problems.
    seeds
        Comma-separated: only these seeds.
    comparisons
        Comma-separated: only these comparisons.
    limit
        Only the first so many problems of each set.
    workers
        Processes, among which sets and seeds are divided, and the processor's cores, too.
    output
        Folder of the journals. Default: the recipe's.
    """
    plan = StudyRecipe.load(recipe)
    folder = output or plan.output
    shards = [
        (name, seed)
        for name in _chosen("families", families, plan.study.problems)
        for seed in _chosen("seeds", seeds, [str(seed) for seed in plan.study.seeds])
    ]
    if workers < 1:
        raise InvalidArgumentError(f"--workers {workers}: give at least 1")
    if limit is not None and limit < 1:
        raise InvalidArgumentError(f"--limit {limit}: give at least 1")
    plan.study.save(folder)
    plan = replace(plan, study=_compared(plan.study, comparisons))
    if workers == 1 or len(shards) == 1:
        for name, seed in shards:
            _run_shard(plan, name, int(seed), folder, limit)
    elif not _run_workers(shards, recipe, folder, comparisons, limit, workers):
        raise SearchError("some shards failed, as told above; the same command goes on with them")
    print(f"{len(plan.study.cells())} cells in {folder}: rtsearch study report {folder}")
    return 0


@study_app.command
def report(
    folder: Path | None = None,
    /,
    *,
    recipe: Path | None = None,
    families: str | None = None,
    comparisons: str | None = None,
    into: Path | None = None,
    plots: Path | None = None,
) -> int:
    """Print the tables of a study, or put them into a Markdown file, and draw its plots.

    Parameters
    ----------
    folder
        What `rtsearch study run` wrote to. Default: the folder of --recipe.
    recipe
        YAML file of the study.
    families
        Comma-separated: only these sets of problems, where others are not finished.
    comparisons
        Comma-separated: only these comparisons, where others are not finished.
    into
        Markdown file with the lines <!-- study:NAME --> and <!-- /study:NAME -->: what is between
        them is replaced.
    plots
        Folder of the plots. Default: media beside --into, else plots in the study's folder.
    """
    if (folder is None) == (recipe is None):
        raise InvalidArgumentError("give the folder of a study, or its --recipe")
    if folder is None:
        assert recipe is not None
        folder = StudyRecipe.load(recipe).output
    home = folder if into is None else into.parent
    plots = plots or home / ("plots" if into is None else "media")
    study = _compared(Study.load(folder), comparisons)
    study = replace(study, problems=tuple(_chosen("families", families, study.problems)))
    link = Path(os.path.relpath(plots, home)).as_posix()
    text = render_report(study, folder, plots, link)
    if into is None:
        print(printable(text, keep="\n"))
    else:
        changed = put_section(into, f"study:{study.name}", text)
        print(f"{into}: {'rewritten' if changed else 'is up to date'}; plots in {plots}")
    return 0


def _compared(study: Study, comparisons: str | None) -> Study:
    names = _chosen("comparisons", comparisons, [each.name for each in study.comparisons])
    return replace(study, comparisons=tuple(c for c in study.comparisons if c.name in names))


def _chosen(flag: str, given: str | None, known: Sequence[str]) -> list[str]:
    if given is None:
        return list(known)
    names = [name.strip() for name in given.split(",") if name.strip()]
    if not names or set(names) - set(known):
        raise InvalidArgumentError(f"--{flag} {given}: name some of {', '.join(known)}")
    return list(dict.fromkeys(names))


def _run_shard(plan: StudyRecipe, name: str, seed: int, folder: Path, limit: int | None) -> None:
    """All cells of one set of problems and one seed, in this process."""
    cells = [cell for cell in plan.study.cells([name]) if cell.seed == seed]
    items = _problems(plan, name)

    def tell(progress: ShardProgress) -> None:
        tokens = progress.generated + progress.from_memo
        share = progress.from_memo / tokens if tokens else 0.0
        print(
            f"{name}, seed {seed}: {progress.done} of {progress.total} problems, "
            f"{progress.generated:,} tokens generated, {share:.0%} of all from memory",
            file=sys.stderr,
            flush=True,
        )

    async def work() -> None:
        models = StudyModels(plan)
        try:
            with Grader() as grader:
                await run_shard(
                    cells,
                    items,
                    models.setup,
                    folder,
                    grader,
                    limit=limit,
                    chunk=plan.chunk,
                    on_chunk=tell,
                )
        finally:
            await models.aclose()

    asyncio.run(work())


def _problems(plan: StudyRecipe, name: str) -> list[Item]:
    data = plan.sets[name].data
    if data is not None:
        return graded_problems(data, limit=None, start=0)
    from ..tasks import examples

    made = examples(name, split="heldout", count=plan.count, seed=plan.problem_seed)
    return [Item(Problem(e.unique_id, e.problem), e.answer, name) for e in made]


def _run_workers(
    shards: Sequence[tuple[str, str]],
    recipe: Path,
    folder: Path,
    comparisons: str | None,
    limit: int | None,
    workers: int,
) -> bool:
    """Run each shard in a process of its own, `workers` at once; whether all went well."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = str(max(1, (cores or 1) // workers))
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    path = json.dumps([entry for entry in sys.path if isinstance(entry, str)])
    more = [] if limit is None else ["--limit", str(limit)]
    more += [] if comparisons is None else ["--comparisons", comparisons]

    def one(shard: tuple[str, str]) -> bool:
        name, seed = shard
        what = ["--families", name, "--seeds", seed, "--output", str(folder), *more]
        done = subprocess.run(
            [sys.executable, "-c", _SHARD, path, "study", "run", "--recipe", str(recipe), *what],
            stdout=subprocess.DEVNULL,
            env=environment,
            check=False,
        )
        return done.returncode == 0

    with ThreadPoolExecutor(workers) as pool:
        return all(list(pool.map(one, shards)))
