"""A run's folder survives what befalls files, and goes on with the same run only."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from toy_models import ToyPolicy, ToyReward, total, toy_problem

from rtsearch_fast import Budget, Problem, Searcher
from rtsearch_fast.errors import InvalidArgumentError, RunStoreError
from rtsearch_fast.evaluation.data import Item
from rtsearch_fast.evaluation.grade import Grader
from rtsearch_fast.runs.batch import run_batch
from rtsearch_fast.runs.folder.about import Shard
from rtsearch_fast.runs.folder.journal import Journal, encode
from rtsearch_fast.runs.folder.reader import RunReader
from rtsearch_fast.runs.folder.writer import RunFolder
from rtsearch_fast.search.records import SearchTree

ITEMS = [
    Item(Problem(f"../{i}", text), str(total(text)))
    for i, text in enumerate(toy_problem(random.Random(i), 3) for i in range(6))
]
METHODS = ("cot", "mcts_g")
SETTINGS: dict[str, Any] = {"methods": list(METHODS), "budget": {"tokens": 900}}


class Stopped(Exception):
    pass


class Stopping(ToyPolicy):
    """Answers so many requests and no more."""

    def __init__(self, requests: int) -> None:
        super().__init__()
        self.left = requests

    async def sample(self, request):
        self.left -= 1
        if self.left < 0:
            raise Stopped
        return await super().sample(request)


def run(path: Path, policy: Any = None, **settings: Any) -> list[str]:
    """Run all; returns what was said to be damaged."""
    policy = policy or ToyPolicy()
    shard = settings.pop("shard", Shard())
    searchers = [
        Searcher(policy, ToyReward(), method=method, budget=Budget(tokens=900), concurrency=3)
        for method in METHODS
    ]

    async def work(store: RunFolder) -> None:
        with Grader() as grader:
            await run_batch(shard.take(ITEMS), searchers, store, grader, keep_trees=True)

    with RunFolder(path, SETTINGS, ITEMS, shard=shard, resume=True, **settings) as store:
        damage = list(store.damage)
        asyncio.run(work(store))
    return damage


def content(path: Path) -> tuple[bytes, bytes]:
    return (path / "results.jsonl").read_bytes(), (path / "journal.jsonl").read_bytes()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("undisturbed") / "run"
    assert run(path) == []
    return path


@pytest.fixture
def begun(tmp_path) -> Iterator[Path]:
    """A run that stopped in the middle, with finished problems and trees that are not."""
    path = tmp_path / "begun"
    with pytest.raises(Stopped):
        run(path, Stopping(90))
    with RunReader(path) as reader:
        assert reader.done and reader.unfinished()
    yield path


def test_run_when_stopped_anywhere_ends_with_the_same_bytes_and_asks_less(tmp_path, undisturbed):
    whole = ToyPolicy()
    run(tmp_path / "whole", whole)
    for requests in (0, 1, 5, 26, 60, 90, 130):
        path = tmp_path / str(requests)
        with pytest.raises(Stopped):
            run(path, Stopping(requests))
        rest = ToyPolicy()
        assert run(path, rest) == []
        assert content(path) == content(undisturbed)
        # of the answers only those of the simulations under way are asked again
        assert len(rest.requests) <= len(whole.requests) - requests + 3 * 8


def test_journal_when_cut_at_any_byte_opens_with_the_last_good_line(begun, tmp_path):
    data = (begun / "journal.jsonl").read_bytes()
    ends = [i + 1 for i, byte in enumerate(data) if byte == 10]
    path = tmp_path / "journal"
    for size in range(len(data) + 1):
        path.write_bytes(data[:size])
        journal = Journal(path, writable=True)
        lines = list(journal.lines())
        whole = sum(end <= size for end in ends)
        assert len(lines) == whole
        torn = size not in (0, *ends)
        assert len(journal.damage) == torn
        assert all("cut off" in text and "--resume" in text for text in journal.damage)
        assert path.stat().st_size == (ends[whole - 1] if whole else 0)
        journal.append({"event": 0, "of": "x"})
        assert len(list(journal.lines())) == whole + 1
        journal.close()


@pytest.mark.parametrize("flips", range(10))
def test_journal_when_bits_flip_keeps_all_other_lines(begun, tmp_path, flips):
    data = (begun / "journal.jsonl").read_bytes()
    lines = data.splitlines(keepends=True)
    rng = random.Random(flips)
    path = tmp_path / "journal"
    for _ in range(100):
        bit = rng.randrange(8 * len(data))
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        journal = Journal(path)
        entries = [line.entry for line in journal.lines()]
        assert journal.damage and all("damaged" in d or "cut off" in d for d in journal.damage)
        assert len(lines) - 2 <= len(entries) < len(lines)
        known = [json.loads(line) for line in lines]
        for line in known:
            del line["crc"]
        assert all(entry in known for entry in entries)
        journal.close()


def test_run_when_its_journal_is_damaged_ends_with_the_same_bytes(begun, tmp_path, undisturbed):
    rng = random.Random(1)
    size = (begun / "journal.jsonl").stat().st_size
    for attempt in range(20):
        path = tmp_path / str(attempt)
        shutil.copytree(begun, path)
        with open(path / "journal.jsonl", "r+b") as file:
            for _ in range(3):
                file.seek(rng.randrange(size))
                file.write(bytes([rng.randrange(256)]))
            file.truncate(rng.randrange(size // 2, size + 1))
        run(path)
        assert content(path) == content(undisturbed)


def test_run_when_zeros_follow_its_last_line_goes_on(begun, undisturbed):
    with open(begun / "journal.jsonl", "ab") as file:
        file.write(bytes(4096))  # blocks that a power cut left unfilled
    (damage,) = run(begun)
    assert "the last 4096 bytes" in damage
    assert content(begun) == content(undisturbed)


def test_records_when_read_back_have_their_trees(undisturbed):
    with RunReader(undisturbed) as reader:
        records = list(reader.records(with_trees=True))
        assert reader.total() == len(records) == 12
        assert not reader.unfinished() and not reader.is_running()
    assert [(r["method"], r["unique_id"]) for r in records] == [
        (method, item.problem.unique_id) for method in METHODS for item in ITEMS
    ]
    trees = [SearchTree.from_record(r["tree"]) for r in records if r["method"] == "mcts_g"]
    nodes = [r["usage"]["nodes"] for r in records if r["method"] == "mcts_g"]
    assert [len(tree.parent) for tree in trees] == nodes
    assert not any(b'"tree"' in line for line in content(undisturbed)[0].splitlines())


def test_folder_when_ids_are_paths_holds_no_other_files(undisturbed):
    names = {path.name for path in undisturbed.iterdir()}
    assert names == {
        "journal.jsonl", "problems.jsonl", "results.jsonl", "rtsearch.lock", "run.json",
        "timing.jsonl",
    }  # fmt: skip


def test_events_when_a_number_comes_again_void_what_followed(tmp_path):
    with RunFolder(tmp_path / "run", SETTINGS, ITEMS) as store:
        for number, text in [(0, "a"), (1, "b"), (2, "c"), (1, "d"), (3, "e"), (2, "f")]:
            store.append_event("key", number, {"text": text})
        assert [event["text"] for event in store.events("key")] == ["a", "d", "f"]
    with RunReader(tmp_path / "run") as reader:
        assert [event["text"] for event in reader.events("key")] == ["a", "d", "f"]


# --- who may go on ------------------------------------------------------------------------


def open_again(path: Path, settings: Any = None, items: Any = None, **more: Any) -> None:
    RunFolder(path, settings or SETTINGS, items or ITEMS, **{"resume": True, **more}).close()


def edit(path: Path, change: Any) -> None:
    about = json.loads((path / "run.json").read_text())
    change(about)
    (path / "run.json").write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("disturb", "message"),
    [
        (lambda p: open_again(p, resume=False), "holds a run; pass --resume"),
        (
            lambda p: open_again(p, {**SETTINGS, "budget": {"tokens": 400}}),
            "was begun with budget.tokens 900, now it is 400",
        ),
        (lambda p: open_again(p, {**SETTINGS, "methods": ["beam"]}), "the methods cot,mcts_g"),
        (lambda p: open_again(p, items=ITEMS[1:]), "was begun with 6 other problems"),
        (lambda p: open_again(p, items=ITEMS[:5]), "was begun with 6 other problems"),
        (lambda p: open_again(p, shard=Shard(1, 2)), "holds shard 1/1, not 1/2"),
        (lambda p: edit(p, lambda a: a.update(version="0.0.9")), "begun by rtsearch 0.0.9"),
        (lambda p: edit(p, lambda a: a.update(format="rtsearch-run-9")), "rtsearch-run-9"),
        (lambda p: edit(p, lambda a: a["settings"].update(budget=1)), "changed by hand"),
        (lambda p: edit(p, lambda a: a.pop("hash")), "run.json: is damaged"),
        (lambda p: (p / "run.json").write_bytes(b"\0" * 99), "run.json: is damaged"),
        (lambda p: (p / "problems.jsonl").unlink(), "problems.jsonl: cannot be read"),
    ],
)
def test_folder_when_it_is_of_another_run_is_refused_and_kept(begun, disturb, message):
    journal = (begun / "journal.jsonl").read_bytes()
    with pytest.raises(RunStoreError, match=message):
        disturb(begun)
        open_again(begun)
    assert (begun / "journal.jsonl").read_bytes() == journal


def test_folder_when_two_write_it_refuses_the_second(begun):
    with RunFolder(begun, SETTINGS, ITEMS, resume=True), RunReader(begun) as reader:
        assert reader.is_running()
        with pytest.raises(RunStoreError, match="another process is writing this run; wait"):
            open_again(begun)
    assert not reader.is_running()
    open_again(begun)


def test_folder_when_problems_and_methods_are_added_goes_on(begun):
    more = [*ITEMS, Item(Problem("new", "1 2"), "3")]
    open_again(begun, {**SETTINGS, "methods": [*METHODS, "beam"]}, more)
    with RunReader(begun) as reader:
        assert reader.done and reader.unfinished()
        assert reader.total() == 21


def test_folder_when_its_settings_are_lost_is_known_by_its_keys(begun, undisturbed):
    (begun / "run.json").unlink()
    with pytest.raises(RunStoreError, match="pass --resume"):
        open_again(begun, resume=False)
    store = RunFolder(begun, SETTINGS, ITEMS, resume=True)
    with store, pytest.raises(RunStoreError, match="records of other settings"):
        store.expect(["another"])
    assert not (begun / "run.json").exists()  # which would refuse the right settings from now on
    run(begun)
    assert content(begun) == content(undisturbed)


def test_folder_when_it_holds_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(RunStoreError, match=r"holds 'thesis.tex' and is no run folder"):
        open_again(tmp_path)
    with pytest.raises(RunStoreError, match=r"is no run folder \(it has no run.json\)"):
        RunReader(tmp_path)
    with pytest.raises(RunStoreError, match="is a file, not a run folder"):
        RunReader(tmp_path / "thesis.tex")


def test_folder_when_it_holds_the_problems_themselves_is_refused_and_kept(tmp_path):
    data = tmp_path / "problems.jsonl"
    data.write_text("mine")
    with pytest.raises(RunStoreError, match=r"holds 'problems.jsonl' and is no run folder"):
        open_again(tmp_path, resume=False)
    assert [path.name for path in tmp_path.iterdir()] == ["problems.jsonl"]
    assert data.read_text() == "mine"


@pytest.mark.parametrize("text", ["0/2", "3/2", "a/b", "1", "1/0", "-1/2", "1/2/3", ""])
def test_shard_when_it_is_none_says_how_to_write_it(text):
    with pytest.raises(InvalidArgumentError, match="write i/n"):
        Shard.parse(text)


def test_line_when_it_holds_half_a_surrogate_pair_comes_back(tmp_path):
    path = tmp_path / "journal"
    path.write_bytes(encode({"text": "\ud800 \n é"}))
    (line,) = Journal(path).lines()
    assert line.entry == {"text": "\ud800 \n é"}
