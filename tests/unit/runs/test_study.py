"""Studies over toy models: each cell is the search it says, kills cost nothing, reports repeat."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toy_models import ToyPolicy, ToyReward, total, toy_problem

from rtsearch_fast import Budget, Problem, Searcher, SearchOptions
from rtsearch_fast.errors import DataError, InvalidArgumentError, RunStoreError
from rtsearch_fast.evaluation.data import Item
from rtsearch_fast.evaluation.grade import Grader
from rtsearch_fast.evaluation.section import put_section
from rtsearch_fast.runs.memo import MemoPolicy, MemoReward
from rtsearch_fast.runs.study.grid import Cell, Comparison, Study
from rtsearch_fast.runs.study.report import render_report
from rtsearch_fast.runs.study.shard import Setup, ShardProgress, run_shard

ITEMS = [
    Item(Problem(f"toy/{i}", text), str(total(text)))
    for i, text in enumerate(toy_problem(random.Random(i), 3) for i in range(7))
]
STUDY = Study(
    "toy",
    ("sums",),
    (0, 1),
    (
        Comparison(
            "methods",
            ("cot", "majority", "best_of_n", "mcts_g"),
            (60, 120, 240),
            differences=(("mcts_g", "best_of_n"),),
        ),
        Comparison("calculator", ("mcts_g",), (240,), ("base", "no-calculator")),
    ),
)


class Killed(Exception):
    pass


def setup_of(policy: ToyPolicy) -> Callable[[Cell], Setup]:
    memos = MemoPolicy(policy), MemoReward(ToyReward())

    def setup(cell: Cell) -> Setup:
        options = SearchOptions(max_solution_tokens=50, max_step_tokens=20, width=2, narrow=True)
        return Setup(*memos, replace(options, calculator=cell.variant == "base"))

    return setup


def run(folder: Path, policy: ToyPolicy | None = None, **settings: Any) -> None:
    STUDY.save(folder)
    policy = policy or ToyPolicy()
    with Grader() as grader:
        for seed in STUDY.seeds:
            cells = [cell for cell in STUDY.cells() if cell.seed == seed]
            setup = settings.get("setup") or setup_of(policy)
            rest = {name: value for name, value in settings.items() if name != "setup"}
            asyncio.run(run_shard(cells, ITEMS, setup, folder, grader, chunk=3, **rest))


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.jsonl"))}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    run(folder)
    return folder


def test_cells_are_the_searches_that_they_name(done: Path) -> None:
    assert len(files(done)) == len(STUDY.cells()) == 2 * (4 * 3 + 1)
    for cell in STUDY.cells():
        records = [json.loads(line) for line in cell.journal(done).read_text().splitlines()]
        assert [r["unique_id"] for r in records] == [i.problem.unique_id for i in ITEMS]
        searcher = Searcher(
            ToyPolicy(),
            ToyReward(),
            method=cell.method,
            budget=Budget(tokens=cell.budget),
            options=replace(setup_of(ToyPolicy())(cell).options, seed=cell.seed),
        )
        results = asyncio.run(searcher.solve_async([item.problem for item in ITEMS]))
        assert [r["signature"] for r in records] == [r.signature for r in results]
        for record, result, item in zip(records, results, ITEMS, strict=True):
            assert record["correct"] == (result.answer == item.gold)
            assert record["found"] == (item.gold in {c.answer for c in result.candidates})
            assert 0 < record["usage"]["policy_tokens"] <= cell.budget


def test_description_when_two_workers_save_it_at_once_is_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    put = Path.replace

    def meanwhile(path: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "replace", put)
        monkeypatch.setattr(os, "getpid", lambda: -1)
        STUDY.save(tmp_path)  # another process, between the two steps of this one
        return put(path, target)

    monkeypatch.setattr(Path, "replace", meanwhile)
    STUDY.save(tmp_path)
    assert Study.load(tmp_path) == STUDY
    assert [path.name for path in tmp_path.iterdir()] == ["study.json"]


def test_policy_is_asked_for_nothing_twice(tmp_path: Path) -> None:
    policy = ToyPolicy()
    run(tmp_path, policy)
    asked = [
        (r.problem, r.steps, seed if r.temperature else None, r.temperature, r.max_tokens)
        for r in policy.requests
        for seed in r.seeds
    ]
    # the two seeds are two shards, which may both ask for the greedy solution
    assert len(asked) - len(set(asked)) <= sum(1 for a in asked if a[3] == 0) / 2


@pytest.mark.parametrize("kills", [(1,), (40, 3), (130,)])
def test_run_when_killed_and_resumed_leaves_the_same_bytes(done: Path, tmp_path: Path, kills):
    class Dying(ToyPolicy):
        left = 0

        async def sample(self, request):
            self.left -= 1
            if self.left < 0:
                raise Killed
            return await super().sample(request)

    for number, left in enumerate(kills):
        dying = Dying(delay_seed=number + 1)
        dying.left = left
        with pytest.raises(Killed):
            run(tmp_path, dying)
    run(tmp_path, limit=4)
    run(tmp_path, ToyPolicy(delay_seed=9))
    assert files(tmp_path) == files(done)
    again = ToyPolicy()
    run(tmp_path, again)
    assert again.requests == []


def test_progress_tells_what_came_from_memory(tmp_path: Path) -> None:
    told: list[ShardProgress] = []
    run(tmp_path, on_chunk=told.append)
    assert [progress.done for progress in told] == [3, 6, 7] * 2
    assert told[2].total == 7 and told[2].from_memo > told[2].generated > 0


def test_journal_of_other_settings_is_refused(done: Path, tmp_path: Path) -> None:
    run(tmp_path, limit=1)

    def other(cell: Cell) -> Setup:
        return replace(setup_of(ToyPolicy())(cell), weights="trained anew")

    with pytest.raises(RunStoreError, match="1 records of other settings, models or problems"):
        run(tmp_path, setup=other)
    for settings in ({"limit": 0}, {"limit": -1}):
        with pytest.raises(InvalidArgumentError, match="limit"):
            run(tmp_path, **settings)


# --- report ------------------------------------------------------------------------------


def test_report_has_the_counts_of_the_journals(done: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    text = render_report(Study.load(done), done, tmp_path, "media")
    assert "### methods: sums (7 problems, 2 seeds)" in text
    assert "![methods, sums](media/study-toy-methods-sums.png)" in text
    assert [p.name for p in tmp_path.iterdir()] == ["study-toy-methods-sums.png"]
    records = [
        json.loads(line)
        for seed in STUDY.seeds
        for line in Cell("sums", "base", "mcts_g", 120, seed).journal(done).read_text().splitlines()
    ]
    (row,) = [line for line in text.splitlines() if line.startswith("| 120 | mcts_g |")]
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    used = sum(sum(r["usage"][f"{m}_tokens"] for m in ("policy", "reward")) for r in records) / 14
    assert cells[2] == f"{used:,.0f} ({used / 120:.0%})"
    assert cells[3] == f"{100 * sum(r['correct'] for r in records) / 14:.1f}"
    assert cells[5] == f"{100 * sum(r['found'] for r in records) / 14:.1f}"
    assert sum("mcts_g - best_of_n" in line for line in text.splitlines()) == 3
    assert text.count("| mcts_g, no-calculator - mcts_g, base |") == 1


def test_report_when_put_again_changes_nothing(done: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page = tmp_path / "results.md"
    page.write_text("# Results\n\n<!-- study:toy -->\nold\n<!-- /study:toy -->\n\nThe end.\n")
    texts = []
    for _ in range(2):
        changed = put_section(
            page, "study:toy", render_report(Study.load(done), done, tmp_path / "media", "media")
        )
        texts.append((page.read_text(), (tmp_path / "media").stat().st_size))
        assert changed == (len(texts) == 1)
    assert texts[0] == texts[1]
    assert texts[0][0].startswith("# Results\n\n<!-- study:toy -->\n\n*Budget*")
    assert texts[0][0].endswith("\n\n<!-- /study:toy -->\n\nThe end.\n")
    assert "\nold\n" not in texts[0][0]


def test_report_of_a_run_under_way_takes_what_all_cells_have(done: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with Grader() as grader:
        STUDY.save(tmp_path)
        cells = [cell for cell in STUDY.cells() if cell.seed == 0]
        setup = setup_of(ToyPolicy())
        asyncio.run(run_shard(cells, ITEMS, setup, tmp_path, grader, limit=5))
    path = Cell("sums", "base", "cot", 60, 0).journal(tmp_path)
    path.write_bytes(path.read_bytes()[:-10])
    text = render_report(Study.load(tmp_path), tmp_path, tmp_path / "plots", "plots")
    assert "### methods: sums (4 problems, 1 seeds)" in text
    assert "### calculator: sums (5 problems, 1 seeds)" in text


def test_report_without_anything_to_report_says_so(done: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no description of a study .*rtsearch study run"):
        render_report(Study.load(tmp_path), tmp_path, tmp_path, "x")
    STUDY.save(tmp_path)
    assert Study.load(tmp_path) == STUDY
    with pytest.raises(DataError, match="no problem of sums is finished in all cells"):
        render_report(Study.load(tmp_path), tmp_path, tmp_path, "x")
    page = tmp_path / "page.md"
    with pytest.raises(DataError, match="cannot be read"):
        put_section(page, "study:toy", "text")
    page.write_text("<!-- study:toy -->")
    with pytest.raises(DataError, match="write the lines <!-- study:toy --> and <!-- /study:toy"):
        put_section(page, "study:toy", "text")
