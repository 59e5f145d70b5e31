"""Rewrites over HTTP: what is kept, what is asked again, and that a killed run goes on."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from toy_text import openai_server

from rtsearch_fast.errors import DataError, EngineError, InvalidArgumentError
from rtsearch_fast.evaluation.grade import Grader
from rtsearch_fast.runs.store import RunStore
from rtsearch_fast.training.drafts import Draft, read_drafts
from rtsearch_fast.training.format import check_format
from rtsearch_fast.training.rewrite import RewriteOptions, Rewritten, rewrite

pytest.importorskip("aiohttp")

DRAFTS = [Draft(f"d{i}", f"What is {i} + 1?", f"It is {i + 1}.", str(i + 1)) for i in range(12)]
GOOD = "Add.\n\n## Restatement\nOne more.\n\n## Step 1: Add\nCount on.\n\n## Answer\n\\boxed{%d}"
#: What the model writes at its first attempts, by the number of the draft; later ones are good.
BAD = {
    1: ["Add.\n\n## Answer\n\\boxed{2}"],  # no restatement, no steps
    2: ["Add.", GOOD % 99],
    3: ["no"] * 99,
}


class Model:
    """The text function of the server: counts how often a draft was asked for."""

    def __init__(self) -> None:
        self.asked: Counter[int] = Counter()

    def __call__(self, prompt: str, seed: int) -> str:
        number = int(prompt.rpartition("What is ")[2].partition(" ")[0])
        bad = BAD.get(number, [])
        text = bad[self.asked[number]] if self.asked[number] < len(bad) else GOOD % (number + 1)
        self.asked[number] += 1
        return text


@pytest.fixture
def start() -> Iterator[Callable[..., Any]]:
    servers = []

    def begin(model: Callable[[str, int], str]) -> Any:
        servers.append(openai_server().OpenAIServer(model))
        return servers[-1]

    yield begin
    for server in servers:
        server.close()


def run(server: Any, path: Path, drafts: list[Draft] = DRAFTS, **settings: Any) -> Rewritten:
    from rtsearch_fast.engine.completions import CompletionsEngine

    template = settings.pop("template", "plain")
    options = RewriteOptions(**settings)

    async def work(store: RunStore, grader: Grader) -> Rewritten:
        engine = CompletionsEngine(server.base_url, retries=0, patience=0)
        try:
            return await rewrite(drafts, engine, store, grader, template=template, options=options)
        finally:
            await engine.aclose()
            assert asyncio.all_tasks() == {asyncio.current_task()}

    with RunStore(path, resume=True) as store, Grader() as grader:
        return asyncio.run(work(store, grader))


def test_rewrites_when_good_are_kept_and_others_asked_again(start, tmp_path):
    server = start(Model())
    result = run(server, tmp_path / "journal.jsonl")
    kept = [sample.unique_id for sample in result.samples]
    assert kept == [draft.unique_id for draft in DRAFTS if draft.unique_id != "d3"]
    for sample in result.samples:
        assert check_format(sample.text, level="strict") == []
        assert sample.right and sample.answer == str(int(sample.unique_id[1:]) + 1)
        assert [step.split("\n")[0] for step in sample.solution] == [
            "## Analysis",
            "## Restatement",
            "## Step 1: Add",
            "## Answer",
        ]
    stats = result.stats
    assert (stats.drafts, stats.kept, stats.attempts, stats.resumed) == (12, 11, 18, 0)
    assert stats.tokens > 0 and len(server.bodies) == 18
    assert stats.faults["missing-restatement"] == 6 and stats.faults["wrong-answer"] == 1
    assert stats.render().startswith("11 of 12 drafts rewritten in 18 attempts (0 from the")


def test_attempts_when_repeated_have_other_seeds_and_the_same_prompt(start, tmp_path):
    server = start(Model())
    run(server, tmp_path / "journal.jsonl", [DRAFTS[3]])
    assert len({body["seed"] for body in server.bodies}) == len(server.bodies) == 4
    assert len({body["prompt"] for body in server.bodies}) == 1
    assert server.bodies[0]["prompt"].endswith("It is 4.\n\n=== Rewritten\n## Analysis\n")
    assert server.bodies[0]["stop"] == ["\n==="]


@pytest.mark.parametrize("answered", [0, 1, 5, 13])
def test_run_when_the_server_is_lost_goes_on_and_asks_nothing_twice(start, tmp_path, answered):
    path, model = tmp_path / "journal.jsonl", Model()
    broken = start(model)
    handled = []
    completion = broken.completion

    def fail_later(body: dict[str, Any], fault: str | None) -> Any:
        handled.append(body)
        return completion(body, fault if len(handled) <= answered else "400")

    broken.completion = fail_later
    with pytest.raises(EngineError, match="status 400"):
        run(broken, path, concurrency=1)
    done = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(done) == answered
    server = start(model)
    resumed = run(server, path, concurrency=1)
    assert len(server.bodies) == 18 - answered
    asked = [(b["prompt"], b["seed"]) for b in [*handled[:answered], *server.bodies]]
    assert len(set(asked)) == len(asked)
    whole = run(start(Model()), tmp_path / "other.jsonl", concurrency=1)
    assert resumed.samples == whole.samples
    assert resumed.stats.resumed == answered
    assert resumed.stats.faults == whole.stats.faults
    again = start(model)
    assert run(again, path).samples == whole.samples and not again.bodies


def test_run_when_cancelled_leaves_nothing_behind_and_keeps_what_came(start, tmp_path):
    server = start(Model())
    server.delay = 0.05

    async def soon() -> None:
        from rtsearch_fast.engine.completions import CompletionsEngine

        engine = CompletionsEngine(server.base_url)
        with RunStore(tmp_path / "journal.jsonl") as store, Grader() as grader:
            options = RewriteOptions(concurrency=2)
            work = asyncio.ensure_future(rewrite(DRAFTS, engine, store, grader, options=options))
            while len(store.done) < 4:
                await asyncio.sleep(0.01)
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work
            await engine.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(soon())
    assert len((tmp_path / "journal.jsonl").read_text().splitlines()) in (4, 5)


@pytest.mark.parametrize("limit", [1, 3])
def test_requests_when_many_are_wanted_stay_within_the_limit(start, tmp_path, limit):
    server = start(Model())
    server.delay = 0.02
    run(server, tmp_path / "journal.jsonl", concurrency=limit)
    assert server.most_at_once == limit


def test_journal_when_settings_change_does_not_count(start, tmp_path):
    path, model = tmp_path / "journal.jsonl", lambda prompt, seed: GOOD % 1
    server = start(model)
    template = tmp_path / "mine.txt"
    template.write_text("{problem}|{solution}|What is")
    changes = [
        {},
        {"seed": 1},
        {"temperature": 0.5},
        {"level": "lenient"},
        {"max_solution_tokens": 99},
    ]
    changes += [{"template": "chatml"}, {"template": str(template)}]
    for count, settings in enumerate(changes, start=1):
        run(server, path, DRAFTS[:1], **settings)
        run(server, path, DRAFTS[:1], **settings)
        wanted = count + 3 * any("mine" in str(change) for change in changes[:count])
        assert len(server.bodies) == wanted  # without the lead no attempt is good
    more = [Draft("d0", DRAFTS[0].problem, "Another.", "1")]
    before = len(server.bodies)
    assert run(server, path, more).stats.resumed == 0
    assert len(server.bodies) == before + 1
    assert server.bodies[-2]["prompt"].startswith("What is 0 + 1?|It is 1.|")


def test_rewrite_when_cut_off_is_a_fault(start, tmp_path):
    result = run(
        start(Model()), tmp_path / "j.jsonl", DRAFTS[:1], max_solution_tokens=3, attempts=1
    )
    assert result.samples == [] and result.stats.faults["truncated"] == 1


def test_draft_when_it_holds_control_tokens_cannot_end_its_turn(start, tmp_path):
    server = start(Model())
    draft = Draft("x", "What is 0 + 1?", "<|im_end|>", "1")
    run(server, tmp_path / "j.jsonl", [draft], template="chatml")
    assert server.bodies[0]["prompt"].count("< |im_end|>") == 1


# --- input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"problem": "1"}', "line 1: solution is missing"),
        ('{"problem": 1, "solution": "2"}', "line 1: problem is 1"),
        ('{"problem": "1", "solution": "2"}', "line 1: there is no answer to keep"),
        ('{"id": 1, "problem": "1", "solution": "\\\\boxed{2}"}\n' * 2, "line 2: the id 1"),
        ("", "holds no solution"),
    ],
)
def test_drafts_when_wrong_are_named(tmp_path, line, words):
    path = tmp_path / "drafts.jsonl"
    path.write_text(line)
    with pytest.raises(DataError, match=words) as caught:
        read_drafts(path)
    assert str(path) in str(caught.value)


def test_drafts_when_read_have_answers_and_identities(tmp_path):
    path = tmp_path / "drafts.jsonl"
    rows = [
        {"problem": "a", "solution": "\\boxed{2}"},
        {"unique_id": "u", "problem": "b", "solution": "x", "answer": 3},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second = read_drafts(path)
    assert (first.answer, second.answer, second.unique_id) == ("2", "3", "u")
    assert len(first.unique_id) == 16
    assert read_drafts(path, limit=1) == [first]
    with pytest.raises(InvalidArgumentError, match="limit must be at least 1"):
        read_drafts(path, limit=0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"attempts": 0}, "attempts=0"),
        ({"concurrency": 0}, "concurrency=0"),
        ({"max_solution_tokens": 0}, "max_solution_tokens=0"),
        ({"temperature": -1.0}, r"temperature=-1\.0"),
        ({"temperature": 0.0}, "attempts=4: at temperature 0"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_options_when_wrong_are_named(settings, words):
    with pytest.raises(InvalidArgumentError, match=words):
        RewriteOptions(**settings)
