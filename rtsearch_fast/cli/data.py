"""`rtsearch data ...`: from what searches wrote to what models are trained on, a step a command."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from ..errors import DataError, InvalidArgumentError
from ..evaluation.grade import Grader
from ..policy.prompt import PromptTemplate
from ..runs.folder.reader import RunReader
from ..runs.store import RunStore
from ..search.tree_view import printable
from ..training import export as rows_of
from ..training.active import Strategy
from ..training.active import select as select_samples
from ..training.balance import length_auc
from ..training.decontamination import HeldOut
from ..training.decontamination import decontaminate as drop_contaminated
from ..training.drafts import read_drafts
from ..training.filters import STANDARD, run_filters, standard_filters
from ..training.format import CODES, Level, check_format
from ..training.harvest import harvest_records, read_trees
from ..training.jsonl import read_jsonl
from ..training.labels import StepLabels, label_steps, label_trees
from ..training.pairs import Pair, PairStats, each_pair
from ..training.report import columns
from ..training.rewrite import RewriteOptions, Rewritten
from ..training.rewrite import rewrite as rewrite_drafts
from ..training.samples import Sampled, read_questions, read_samples, write_samples
from ..training.step_pairs import StepPair, make_step_pairs
from ..training.tables import check_format as check_name
from ..training.tables import write_rows
from .problems import read_problems

__all__ = ["data_app"]

data_app = App(name="data", help="Make training data: harvest, filter, select, pair, export.")

Output = Annotated[Path, Parameter(alias="-o")]
Flag = Annotated[bool, Parameter(negative=())]
Form = Literal[
    "prompt-completion",
    "preference",
    "step-preference",
    "unpaired",
    "stepwise",
    "sft",
    "dpo",
    "step-dpo",
    "reward",
    "process",
    "math-shepherd",
    "math-aps",
]

#: Those that are made of steps, and so of trees, too.
_OF_STEPS = ("step-preference", "stepwise", "step-dpo", "process", "math-shepherd", "math-aps")


@data_app.command
def harvest(
    *records: Path,
    output: Output,
    problems: Path | None = None,
    methods: str | None = None,
    splitter: str = "labelled",
    overwrite: Flag = False,
) -> int:
    """Take all solutions, graded, out of runs of rtsearch eval.

    Parameters
    ----------
    records
        Folders of rtsearch eval --output, or files of rtsearch solve --output.
    output
        JSONL file of samples.
    problems
        File of the problems, where the records do not tell right answers, or problems have a check.
    methods
        Comma-separated; take the records of these alone.
    splitter
        What a step was in that run: labelled, string:SEP, regex:PATTERN, tokens:N, think.
    overwrite
        Replace the output if it is there.
    """
    if not records:
        raise InvalidArgumentError("give a run that rtsearch eval wrote (its --output)")
    _check_output(output, overwrite, records)
    names = None if methods is None else [name.strip() for name in methods.split(",")]
    items = [] if problems is None else read_problems(problems)
    found = (record for path in records for record in _records(path))
    with Grader() as grader:
        samples = harvest_records(found, grader, items=items, splitter=splitter, methods=names)
    return _write(output, samples)


@data_app.command(name="filter")
def filter_(
    samples: Path,
    /,
    *,
    output: Output,
    filters: str = ",".join(STANDARD),
    threshold: float = 0.8,
    ngram: int = 3,
    across: Flag = False,
    seed: int = 0,
    overwrite: Flag = False,
) -> int:
    """Drop what is malformed, redundant or biased, and tell what was dropped and why.

    Parameters
    ----------
    samples
        JSONL file of samples.
    output
        JSONL file of those that are kept.
    filters
        Comma-separated, in their order: format, duplicates, near-duplicates, one-sided, classes,
        lengths.
    threshold
        Jaccard index above which two solutions of a question are near-duplicates.
    ngram
        Words and signs an n-gram.
    across
        Look for near-duplicates among all questions.
    seed
        Of what is dropped at random.
    overwrite
        Replace the output if it is there.
    """
    _check_output(output, overwrite, [samples])
    names = [name.strip() for name in filters.split(",") if name.strip()]
    chosen = standard_filters(names, threshold=threshold, n=ngram, across=across, seed=seed)
    kept, report = run_filters(read_samples(samples), chosen)
    print(report.render())
    return _write(output, kept)


@data_app.command
def decontaminate(
    samples: Path,
    /,
    *,
    against: Annotated[list[Path], Parameter(consume_multiple=True, negative=())],
    output: Output,
    ngram: int = 13,
    overwrite: Flag = False,
) -> int:
    """Drop samples that have words in common with a test problem.

    Parameters
    ----------
    samples
        JSONL file of samples.
    against
        Files of test problems.
    output
        JSONL file of the clean ones.
    ngram
        Consecutive words in common that are a match; problems of fewer words match as a whole.
    overwrite
        Replace the output if it is there.
    """
    _check_output(output, overwrite, [samples, *against])
    result = drop_contaminated(read_samples(samples), HeldOut.load(against, ngram))
    print(printable(result.render(), keep="\n"))
    if not result.kept:
        raise DataError(f"{samples}: every sample meets a test problem: take other training data")
    return _write(output, result.kept)


@data_app.command
def select(
    samples: Path,
    /,
    *,
    output: Output,
    strategy: Strategy = "active",
    per_question: int = 8,
    total: int | None = None,
    seed: int = 0,
    overwrite: Flag = False,
) -> int:
    """Choose what the reward model learns from: what it is confidently wrong about.

    Parameters
    ----------
    samples
        JSONL file of samples with scores.
    output
        JSONL file of the chosen ones, as many right as wrong of each question.
    strategy
        active (highest-scored wrong and lowest-scored right ones) or random, the baseline.
    per_question
        Most samples of a question, both classes together.
    total
        Most samples of all questions.
    seed
        Of lots and ties.
    overwrite
        Replace the output if it is there.
    """
    _check_output(output, overwrite, [samples])
    selection = select_samples(
        read_samples(samples),
        strategy=strategy,
        per_question=per_question,
        total=total,
        seed=seed,
    )
    print(selection.stats.render())
    return _write(output, selection.samples)


@data_app.command
def pairs(
    samples: Path,
    /,
    *,
    output: Output,
    min_margin: float | None = None,
    seed: int = 0,
    overwrite: Flag = False,
) -> int:
    """Pair, for DPO, the highest-scored right with the highest-scored wrong solution.

    Parameters
    ----------
    samples
        JSONL file of samples with scores.
    output
        File of pairs, .jsonl (as rtsearch train dpo takes them) or .parquet; for TRL see rtsearch
        data export.
    min_margin
        How much lower the score of the wrong one must be. Default: it may be higher.
    seed
        Decides among equal scores.
    overwrite
        Replace the output if it is there.
    """
    _check_output(output, overwrite, [samples])
    check_name(output)
    stats = PairStats()
    found = each_pair(read_questions(samples), stats, seed=seed, min_margin=min_margin)
    count = write_rows(output, rows_of.dpo_rows(found), rows_of.COLUMNS["dpo"])
    print(stats.render())
    return _told(output, count, "pairs")


@data_app.command
def export(
    samples: Path,
    /,
    *,
    to: Form,
    output: Output,
    values: Literal["outcome", "tree"] = "outcome",
    template: str = "labelled",
    threshold: float | None = None,
    min_count: int = 1,
    min_margin: float | None = None,
    per_question: int | None = None,
    task: str = "MATH",
    seed: int = 0,
    overwrite: Flag = False,
) -> int:
    """Write samples, or the steps of trees, as rows to train on.

    Parameters
    ----------
    samples
        JSONL file of samples; with --values tree, a run of rtsearch eval.
    to
        TRL's prompt-completion (SFT, right ones only), preference (DPO), step-preference (DPO,
        steps that follow the same beginning), unpaired (KTO) or stepwise (process rewards); for
        rtsearch train, sft, dpo, step-dpo, reward or process; or math-shepherd or math-aps.
    output
        File of rows, .jsonl or .parquet.
    values
        What a step is worth: outcome (the share of right solutions through it) or tree (the mean
        value of its node).
    template
        Prompt in TRL's rows: plain, chatml, llama3, labelled, bare, or a file with {problem} in it.
    threshold
        Above this value a step counts as good (stepwise, math-shepherd). Default: 0, of a tree 0.5.
    min_count
        Solutions, or visits in a tree, that a step's value must rest on.
    min_margin
        Least difference of the scores, or values of steps, of a pair. Default: of steps in a tree
        0.1, of others any; a rejected solution may have the higher score.
    per_question
        Most solutions of a question, those with the highest scores (prompt-completion, sft).
    task
        What the column of that name says (math-shepherd).
    seed
        Decides among equal scores (preference, dpo).
    overwrite
        Replace the output if it is there.
    """
    _check_output(output, overwrite, [samples])
    check_name(output)
    if values == "tree" and to not in _OF_STEPS:
        raise InvalidArgumentError(
            f"--values tree: rows of {to} are whole solutions: give samples (rtsearch data "
            f"harvest), or choose out of {', '.join(_OF_STEPS)}"
        )
    prompt = PromptTemplate.load(template)
    # values of a tree are never 0, and say little where they are close together
    least, good = (0.1, 0.5) if values == "tree" else (0.0, 0.0)
    least = least if min_margin is None else min_margin
    good = good if threshold is None else threshold
    met = 0

    def questions() -> Iterator[list[Sampled]]:
        nonlocal met
        for group in read_questions(samples):
            met += len(group)
            yield group

    def best() -> Iterator[Sampled]:
        found = questions()
        return chain.from_iterable(
            found if per_question is None else rows_of.best_of_each(found, per_question)
        )

    def paired() -> Iterator[Pair]:
        return each_pair(questions(), PairStats(), seed=seed, min_margin=min_margin)

    def labels() -> Iterator[StepLabels]:
        nonlocal met
        if values == "outcome":
            for group in questions():
                yield from label_steps(group, min_count=min_count)
            return
        run = _run(samples)
        for problem, gold, trees in read_trees(samples, None if run is None else run.grouped()):
            met += len(trees)
            yield from label_trees(problem, trees, min_count=min_count, answer=gold)

    def siblings() -> Iterator[StepPair]:
        return make_step_pairs(labels(), min_margin=least)

    make: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
        "prompt-completion": lambda: rows_of.prompt_completion_rows(best(), prompt),
        "preference": lambda: rows_of.preference_rows(paired(), prompt),
        "step-preference": lambda: rows_of.step_preference_rows(siblings(), prompt),
        "unpaired": lambda: rows_of.unpaired_rows(chain.from_iterable(questions()), prompt),
        "stepwise": lambda: rows_of.stepwise_rows(labels(), prompt, threshold=good),
        "sft": lambda: rows_of.sft_rows(best()),
        "dpo": lambda: rows_of.dpo_rows(paired()),
        "step-dpo": lambda: rows_of.step_dpo_rows(siblings()),
        "reward": lambda: rows_of.reward_rows(chain.from_iterable(questions())),
        "process": lambda: rows_of.process_rows(labels()),
        "math-shepherd": lambda: rows_of.math_shepherd_rows(labels(), threshold=good, task=task),
        "math-aps": lambda: rows_of.math_aps_rows(labels()),
    }

    def rows() -> Iterator[dict[str, Any]]:
        found = make[to]()
        first = next(found, None)
        if first is None:
            what = "samples" if values == "outcome" else "trees"
            hint = "lower --min-count or --min-margin" if to in _OF_STEPS else "sample right ones"
            raise DataError(f"{samples}: none of {met} {what} gives a row of {to}: {hint}")
        yield first
        yield from found

    return _told(output, write_rows(output, rows(), rows_of.COLUMNS[to]), f"rows of {to}")


@data_app.command
def check(
    solutions: Path, /, *, level: Level = "strict", problems: Path | None = None, show: int = 5
) -> int:
    """Check that solutions keep to the labelled-step format; the exit code is 1 if some do not.

    Parameters
    ----------
    solutions
        JSONL file with `solution` (or `completion`) on each line: samples, or any exported rows.
    level
        strict, or lenient: analysis, restatement and titles of steps may be missing.
    problems
        File of problems with answers that the solutions must agree with, by `unique_id`.
    show
        Print the faults of so many solutions.
    """
    if show < 0:
        raise InvalidArgumentError(f"show={show}: must be at least 0")
    items = [] if problems is None else read_problems(problems)
    graded = {item.problem.unique_id: item for item in items if item.is_graded}
    count, faulty, faults = 0, 0, Counter[str]()
    with Grader() as grader:
        for where, row in read_jsonl(solutions):
            item = graded.get(str(row.get("unique_id")))
            found = check_format(_solution(row, where), level=level, item=item, grader=grader)
            count += 1
            faulty += bool(found)
            faults.update({fault.code for fault in found})
            if found and faulty <= show:
                print(printable(f"{where}: {'; '.join(map(str, found))}"))
    if not count:
        raise DataError(f"{solutions}: holds no solution; write one JSON object a line")
    print(f"{count - faulty} of {count} solutions keep to the format ({level})")
    if faults:
        rows: list[tuple[object, ...]] = [("fault", "solutions", "meaning")]
        rows += [(code, faults[code], CODES[code]) for code in CODES if faults[code]]
        print(columns(rows))
    return int(faulty > 0)


@data_app.command
def rewrite(
    drafts: Path,
    /,
    *,
    base_url: str,
    output: Output,
    model: str | None = None,
    template: str = "plain",
    limit: int | None = None,
    resume: Flag = False,
    overwrite: Flag = False,
    api_key_env: str = "OPENAI_API_KEY",
    retries: int = 4,
    options: Annotated[RewriteOptions | None, Parameter(name="*")] = None,
) -> int:
    """Let a larger model rewrite free-form solutions in the labelled-step format.

    Parameters
    ----------
    drafts
        JSONL file with `problem`, `solution` and `answer` (or a box in the solution) on each line.
    base_url
        Server with an OpenAI-compatible /v1/completions.
    output
        JSONL file of the rewrites that keep to the format and the answer, as samples. All attempts
        are kept in a journal beside it, OUTPUT.attempts.jsonl.
    model
        Name of the served model. Default: the only one.
    template
        plain, chatml, llama3, or a file with {problem} and {solution} in it.
    limit
        Take so many drafts.
    resume
        Go on with the journal: what is in it is not asked again.
    overwrite
        Replace the output if it is there.
    api_key_env
        Environment variable that holds the server's API key.
    retries
        Further tries of a server that cannot be reached, is overloaded or fails.
    """
    from ..engine.completions import CompletionsEngine

    _check_output(output, overwrite or resume, [drafts])
    found = read_drafts(drafts, limit=limit)

    async def work(store: RunStore, grader: Grader) -> Rewritten:
        engine = CompletionsEngine(base_url, model, api_key_env=api_key_env, retries=retries)
        try:
            return await rewrite_drafts(
                found, engine, store, grader, template=template, options=options
            )
        finally:
            await engine.aclose()

    with RunStore(f"{output}.attempts.jsonl", resume=resume) as store, Grader() as grader:
        result = asyncio.run(work(store, grader))
    print(result.stats.render())
    if not result.samples:
        raise DataError(
            f"none of {len(found)} drafts was rewritten: see {output}.attempts.jsonl, and try "
            "another model, more attempts or the level lenient"
        )
    return _write(output, result.samples)


def _run(path: Path) -> RunReader | None:
    """The run in a folder; None for a file."""
    return RunReader(path) if path.is_dir() else None


def _records(path: Path) -> Iterable[tuple[str, dict[str, Any]]]:
    run = _run(path)
    return read_jsonl(path) if run is None else chain.from_iterable(run.grouped())


def _check_output(output: Path, overwrite: bool, inputs: Iterable[Path]) -> None:
    """Refuse what would destroy something, before any work is done."""
    if output.exists():
        if any(path.exists() and output.samefile(path) for path in inputs):
            raise InvalidArgumentError(f"{output}: is read from; choose another --output")
        if not overwrite:
            raise DataError(f"{output}: exists; pass --overwrite or choose another --output")


def _write(output: Path, samples: list[Sampled]) -> int:
    rights = sum(sample.right for sample in samples)
    auc = length_auc(samples)
    bias = "" if auc != auc else f", AUC of length {auc:.3f}"
    questions = len({sample.unique_id for sample in samples})
    what = f"samples of {questions} questions ({rights} right{bias})"
    return _told(output, write_samples(output, samples), what)


def _told(output: Path, count: int, what: str) -> int:
    print(f"{output}: {count} {what}")
    return 0


def _solution(row: dict[str, Any], where: str) -> str:
    value = next((row[name] for name in ("solution", "completion") if name in row), None)
    if isinstance(value, list) and all(isinstance(step, str) for step in value):
        return "".join(value)
    if not isinstance(value, str):
        raise DataError(f"{where}: has no solution: name it solution or completion")
    return value
