"""What finished searches give to train on, compared with their trees and records."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from toy_models import ToyPolicy, ToyReward, total, toy_problem

from rtsearch_fast import Budget, Problem, Searcher, SearchResult
from rtsearch_fast.errors import DataError
from rtsearch_fast.evaluation.data import Item
from rtsearch_fast.evaluation.grade import Grader
from rtsearch_fast.runs.batch import run_batch
from rtsearch_fast.runs.store import RunStore
from rtsearch_fast.training.harvest import harvest_records, harvest_results, read_trees
from rtsearch_fast.training.jsonl import read_jsonl, write_jsonl
from rtsearch_fast.training.labels import label_steps

ITEMS = [
    Item(Problem(f"toy/{i}", text), str(total(text)))
    for i, text in enumerate(toy_problem(random.Random(i), 4) for i in range(4))
]
GOLDS = {item.problem.unique_id: str(item.gold) for item in ITEMS}


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> tuple[list[SearchResult], list[tuple[str, dict]]]:
    """Results of a tree search and of sampling, and the records of the same runs."""
    path = tmp_path_factory.mktemp("eval") / "out.jsonl"
    searchers = [
        Searcher(ToyPolicy(0.5), ToyReward(), method=method, budget=Budget(tokens=900))
        for method in ("mcts_g", "majority", "best_of_n")
    ]
    results: list[SearchResult] = []
    with RunStore(path) as store, Grader() as grader:
        asyncio.run(
            run_batch(ITEMS, searchers, store, grader, on_result=results.append, keep_trees=True)
        )
    return results, list(read_jsonl(path))


def test_results_when_harvested_give_every_candidate_with_its_outcome(searched):
    results, _ = searched
    with Grader() as grader:
        samples = harvest_results(results, ITEMS, grader)
    candidates = [(result.problem, c) for result in results for c in result.candidates]
    assert len(samples) == len(candidates) > 100
    for sample, (problem, candidate) in zip(samples, candidates, strict=True):
        assert (sample.unique_id, sample.problem) == (problem.unique_id, problem.problem)
        assert sample.solution == candidate.steps
        assert sample.right == (candidate.answer == GOLDS[problem.unique_id])
        assert (sample.finish == "eos") == candidate.finished
        assert sample.num_tokens == candidate.num_tokens
    assert len({sample.right for sample in samples}) == 2


def test_records_when_harvested_give_what_the_results_give(searched):
    results, records = searched
    with Grader() as grader:
        for method in ("mcts_g", "majority"):
            wanted = harvest_results((r for r in results if r.method == method), ITEMS, grader)
            found = harvest_records(records, grader, methods=[method])
            assert sorted(found, key=repr) == sorted(wanted, key=repr)


def test_records_when_the_problem_has_a_check_are_graded_by_it():
    text = "Use each of 1, 2, 3 and 4 once to make 24."
    puzzle = Item(Problem("p", text), None, "countdown")
    answers = ["4*3*2*1", "4*(1+2+3)", "24", None]
    record = {"unique_id": "p", "problem": text, "method": "cot", "answer": None}
    record |= {"completions": list("abcd"), "answers": answers, "scores": [None] * 4}
    record |= {"completion_tokens": [1] * 4, "finished": [True] * 4}
    with Grader() as grader:
        found = harvest_records([("f, line 1", record)], grader, items=[puzzle])
    assert [sample.right for sample in found] == [True, True, False, False]


def test_records_when_methods_drew_the_same_solutions_count_once(searched):
    _, records = searched
    lists = Counter((record["unique_id"], tuple(record["completions"])) for _, record in records)
    with Grader() as grader:
        found = harvest_records(records, grader)
    assert len(found) == sum(len(completions) for _, completions in lists)


def test_steps_when_labelled_agree_with_every_node_of_the_tree(searched):
    results, _ = searched
    nodes = 0
    for result in (result for result in results if result.tree is not None):
        with Grader() as grader:
            samples = harvest_results([result], ITEMS, grader)
        labels = {}
        for found in label_steps(samples):
            for i in range(len(found.steps)):
                prefix = tuple(step.strip() for step in found.steps[: i + 1])
                label = found.values[i], found.counts[i]
                assert labels.setdefault(prefix, label) == label
        tree = result.tree
        path = {0: ()}
        for node in range(1, len(tree.parent)):
            path[node] = (*path[tree.parent[node]], tree.step[node].strip())
            texts = [tuple(step.strip() for step in c.steps) for c in result.candidates]
            below = [
                sample.right
                for sample, text in zip(samples, texts, strict=True)
                if text[: len(path[node])] == path[node] and sample.finish == "eos"
            ]
            if below:
                assert labels[path[node]] == (sum(below) / len(below), len(below))
        nodes += len(path)
    assert nodes > 30


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"answer": None}, "no right answer to grade against: name the file"),
        ({"scores": ["high"] * 99}, "damaged"),
        ({"completions": "text"}, "completions is 'text': no record"),
        ({"scores": []}, "differ in length"),
        ({"method": 3}, "method is '3'"),
    ],
)
def test_record_when_damaged_is_named(searched, change, words):
    _, records = searched
    with Grader() as grader, pytest.raises(DataError, match=words) as caught:
        harvest_records([("out.jsonl, line 1", records[0][1] | change)], grader)
    assert str(caught.value).startswith("out.jsonl, line 1: ")


def test_records_when_nothing_is_left_say_what_there_is(searched):
    _, records = searched
    with Grader() as grader:
        with pytest.raises(DataError, match=r"of beam.*of best_of_n, majority, mcts_g"):
            harvest_records(records, grader, methods=["beam"])
        with pytest.raises(DataError, match="no method"):
            harvest_records([], grader)


def test_result_when_without_a_right_answer_is_named(searched):
    results, _ = searched
    with Grader() as grader, pytest.raises(DataError, match=r"problem toy/\d: has no right answer"):
        harvest_results(results, [], grader)


def test_trees_when_read_are_those_of_the_results(searched, tmp_path):
    results, records = searched
    path = tmp_path / "out.jsonl"
    write_jsonl(path, [record for _, record in records] * 2)  # what was met before is passed over
    found = list(read_trees(path))
    assert [grown.problem for grown in found] == [item.problem for item in ITEMS]
    assert [grown.gold for grown in found] == list(GOLDS.values())
    grown = {result.problem.unique_id: result.tree for result in results if result.tree}
    for one in found:
        (tree,) = one.trees
        assert repr(tree) == repr(grown[one.problem.unique_id])  # NaN is not equal to itself


def test_trees_when_problems_share_an_id_are_kept_apart(searched, tmp_path):
    _, records = searched
    path = tmp_path / "out.jsonl"
    kept = [record | {"unique_id": "0"} for _, record in records if "tree" in record]
    write_jsonl(path, kept)
    assert [len(grown.trees) for grown in read_trees(path)] == [1] * len(ITEMS)
    assert [grown.problem.problem for grown in read_trees(path)] == [r["problem"] for r in kept]


def test_trees_when_there_are_none_or_damaged_ones_say_what_to_do(searched, tmp_path):
    _, records = searched
    path = tmp_path / "out.jsonl"
    bare = [{k: v for k, v in record.items() if k != "tree"} for _, record in records]
    write_jsonl(path, bare)
    with pytest.raises(DataError, match=rf"none of {len(bare)} records has a tree: .*--keep-trees"):
        list(read_trees(path))
    write_jsonl(path, [bare[0] | {"tree": {"parent": [-1]}}])
    with pytest.raises(DataError, match=r"line 1: the record's tree is damaged: `step`"):
        list(read_trees(path))
    write_jsonl(path, [{"problem": "1 + 1"}])
    with pytest.raises(DataError, match=r"line 1: signature is 'None': no record"):
        list(read_trees(path))
