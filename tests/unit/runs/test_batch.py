"""Runs over sets of problems: what is finished is kept, and no right answer reaches a model."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from toy_models import ToyPolicy, ToyReward, total, toy_problem

from rtsearch_fast import Budget, Problem, Searcher, SearchOptions, SearchResult
from rtsearch_fast.errors import EngineError
from rtsearch_fast.evaluation.data import Item
from rtsearch_fast.evaluation.grade import Grader
from rtsearch_fast.runs.batch import Observer, record_key, run_batch, summarise
from rtsearch_fast.runs.store import RunStore, content_key
from rtsearch_fast.search.records import SearchTree

ITEMS = [
    Item(Problem(f"toy/{i}", text), str(total(text)))
    for i, text in enumerate(toy_problem(random.Random(i), 3) for i in range(6))
]
METHODS = ("cot", "majority", "mcts_g")


class Stopped(Exception):
    pass


def searchers(policy: Any = None, reward: Any = None, **settings: Any) -> list[Searcher]:
    settings = {"budget": Budget(tokens=200), "concurrency": 3, **settings}
    return [
        Searcher(policy or ToyPolicy(), reward or ToyReward(), method=method, **settings)
        for method in METHODS
    ]


def run(
    path: Path | None,
    to_run: list[Searcher] | None = None,
    items: list[Item] = ITEMS,
    observer: Observer | None = None,
    on_result: Callable[[SearchResult], None] | None = None,
    keep_trees: bool = False,
) -> dict[str, list[dict[str, Any]]]:
    async def work(store: RunStore | None) -> dict[str, list[dict[str, Any]]]:
        try:
            with Grader() as grader:
                records = await run_batch(
                    items,
                    to_run or searchers(),
                    store,
                    grader,
                    observer,
                    on_result,
                    keep_trees=keep_trees,
                )
                return {method: list(found) for method, found in records.items()}
        finally:
            assert asyncio.all_tasks() == {asyncio.current_task()}

    if path is None:
        return asyncio.run(work(None))
    with RunStore(path, resume=path.exists()) as store:
        return asyncio.run(work(store))


def test_run_when_finished_has_the_records_in_order(tmp_path):
    path = tmp_path / "out.jsonl"
    records = run(path, searchers(ToyPolicy(delay_seed=1)))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    expected = [(method, item.problem.unique_id) for method in METHODS for item in ITEMS]
    assert [(line["method"], line["unique_id"]) for line in lines] == expected
    assert [r["unique_id"] for r in records["cot"]] == [i.problem.unique_id for i in ITEMS]
    assert run(None) == records
    for line, item in zip(lines, ITEMS * len(METHODS), strict=True):
        assert line["answer"] == item.gold
        assert line["correct"] == (line["pred"] == item.gold)
        assert line["found"] == (item.gold in line["answers"])


@pytest.mark.parametrize("stops", [(1,), (5, 9), (1, 1, 1, 2, 7), (6,), (17,)])
def test_run_when_stopped_and_resumed_leaves_the_bytes_of_an_undisturbed_one(tmp_path, stops):
    undisturbed, stopped = tmp_path / "undisturbed.jsonl", tmp_path / "stopped.jsonl"
    run(undisturbed)
    for number, stop in enumerate(stops):
        results = []

        def stop_after(result: SearchResult, stop: int = stop, results: list = results) -> None:
            results.append(result)
            if len(results) == stop:
                raise Stopped

        with pytest.raises(Stopped):
            # answers arrive in another order each time
            run(stopped, searchers(ToyPolicy(delay_seed=number + 1)), on_result=stop_after)
        assert stopped.read_bytes().count(b"\n") == sum(stops[: number + 1])
    policy = ToyPolicy()
    done = [json.loads(line) for line in stopped.read_text().splitlines()]
    run(stopped, searchers(policy))
    assert stopped.read_bytes() == undisturbed.read_bytes()
    finished = {item.problem.problem for item in ITEMS}
    finished -= {request.problem for request in policy.requests}
    in_all_methods = [
        item.problem.problem
        for item in ITEMS
        if sum(record["unique_id"] == item.problem.unique_id for record in done) == len(METHODS)
    ]
    assert finished >= set(in_all_methods)


def test_run_when_resumed_after_it_was_finished_asks_nothing(tmp_path):
    path, policy = tmp_path / "out.jsonl", ToyPolicy()
    records = run(path)
    assert run(path, searchers(policy)) == records
    assert policy.requests == []


def test_run_when_settings_change_computes_anew_and_keeps_the_old(tmp_path):
    path = tmp_path / "out.jsonl"
    run(path)
    run(path, searchers(options=SearchOptions(seed=1)))
    assert path.read_bytes().count(b"\n") == 2 * len(METHODS) * len(ITEMS)


def test_run_when_trees_are_kept_has_them_in_its_records(tmp_path):
    path = tmp_path / "out.jsonl"
    run(path)
    bare = path.read_bytes()
    results: list[SearchResult] = []
    kept = run(path, on_result=results.append, keep_trees=True)
    assert len(results) == len(METHODS) * len(ITEMS)  # records without trees are not taken for them
    assert path.read_bytes().endswith(bare)
    trees = {result.problem.unique_id: result.tree for result in results if result.tree}
    assert len(trees) == len(ITEMS)
    for record in kept["mcts_g"]:
        tree = SearchTree.from_record(record["tree"])
        assert repr(tree) == repr(trees[record["unique_id"]])  # NaN is not equal to itself
    assert not any("tree" in record for record in kept["cot"] + kept["majority"])
    results.clear()
    assert run(path, on_result=results.append, keep_trees=True) == kept and results == []


def test_key_when_anything_that_matters_differs_is_another():
    base = searchers()[2]
    item, other_gold = ITEMS[0], Item(ITEMS[0].problem, "0")
    keys = [record_key(base, item), record_key(base, other_gold), record_key(base, ITEMS[1])]
    keys += [
        record_key(searchers(**settings)[2], item)
        for settings in (
            {"budget": Budget(tokens=201)},
            {"options": SearchOptions(seed=1)},
            {"splitter": "tokens:9"},
        )
    ]
    assert len(set(keys)) == len(keys)
    assert record_key(searchers(concurrency=1)[2], item) == keys[0]


def test_key_when_newer_settings_are_off_is_that_of_older_files():
    (searcher, *_), item = searchers(), ITEMS[0]
    options = asdict(searcher.options)
    del options["narrow"]
    settings = {"options": options, "budget": asdict(searcher.budget), "splitter": "labelled"}
    names = (searcher.policy.name, searcher.reward.name)
    old = content_key(item.problem, searcher.method, settings, *names, gold=item.gold)
    assert record_key(searcher, item) == old
    checked = Item(item.problem, item.gold, "countdown")
    narrow = searchers(options=SearchOptions(narrow=True))[0]
    assert len({old, record_key(searcher, checked), record_key(narrow, item)}) == 3


def test_run_when_items_have_a_check_is_graded_by_it(monkeypatch):
    def is_right(problem: str, answer: str) -> bool:
        return int(answer) == total(problem)

    monkeypatch.setattr("rtsearch_fast.evaluation.grade.find_check", lambda name: is_right)
    items = [Item(item.problem, None, "sums") for item in ITEMS]
    known, checked = run(None), run(None, items=items)
    for method in METHODS:
        for a, b in zip(known[method], checked[method], strict=True):
            assert (a["correct"], a["found"]) == (b["correct"], b["found"])
            assert b["answer"] is None


def test_run_when_an_engine_fails_keeps_what_was_finished(tmp_path):
    class Failing(ToyPolicy):
        async def sample(self, request):
            if request.problem == ITEMS[4].problem.problem:
                raise EngineError("the engine is gone")
            return await super().sample(request)

    path, undisturbed = tmp_path / "out.jsonl", tmp_path / "undisturbed.jsonl"
    with pytest.raises(EngineError, match="gone"):
        run(path, searchers(Failing(), concurrency=1))
    kept = [json.loads(line)["unique_id"] for line in path.read_text().splitlines()]
    assert kept == [item.problem.unique_id for item in ITEMS[:4]]
    run(path)
    run(undisturbed)
    assert path.read_bytes() == undisturbed.read_bytes()


def test_models_when_a_graded_set_is_run_never_see_a_right_answer():
    asked: list[str] = []

    class Policy(ToyPolicy):
        async def sample(self, request):
            asked.append(repr(request))
            return await super().sample(request)

    class Reward(ToyReward):
        async def score(self, problem, solutions):
            asked.append(repr((problem, solutions)))
            return await super().score(problem, solutions)

    items = [Item(item.problem, f"31415{i}") for i, item in enumerate(ITEMS)]
    records = run(None, searchers(Policy(), Reward()), items)
    assert records["cot"][0]["answer"] == "314150"
    assert asked and not any("31415" in text or "toy/" in text for text in asked)


def test_run_when_problems_have_no_answer_does_not_grade():
    records = run(None, items=[Item(item.problem, None) for item in ITEMS])
    assert all("correct" not in r and "answer" not in r for rs in records.values() for r in rs)
    assert [row.n for row in summarise(records)] == [0, 0, 0]


def test_observer_when_a_run_is_resumed_hears_of_all(tmp_path):
    heard: list[tuple[Any, ...]] = []

    class Listener(Observer):
        def started(self, method, total, done):
            heard.append(("started", method, total, done))

        def committed(self, method, task):
            heard.append(("committed", method))

        def finished(self, method, item, record):
            heard.append(("finished", method, item.problem.unique_id))

    path = tmp_path / "out.jsonl"
    run(path, items=ITEMS[:2])
    run(path, items=ITEMS[:3], observer=Listener())
    for method in METHODS:
        assert heard.count(("started", method, 3, 2)) == 1
        assert [h for h in heard if h[:2] == ("finished", method)] == [
            ("finished", method, "toy/2")
        ]
        assert ("committed", method) in heard


def test_summary_when_made_counts_what_the_records_say():
    records = run(None)
    rows = summarise(records, {"cot": 1.5})
    assert [row.method for row in rows] == list(METHODS)
    for row in rows:
        of_method = records[row.method]
        assert row.n == len(ITEMS)
        assert row.correct == sum(record["pred"] == record["answer"] for record in of_method)
        assert row.correct <= row.found <= row.n
        assert row.policy_tokens == sum(r["usage"]["policy_tokens"] for r in of_method)
    assert rows[0].seconds == 1.5 and rows[1].seconds != rows[1].seconds
