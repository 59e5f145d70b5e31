"""Recording and replaying: the same search without its models, and files that kills leave."""

from __future__ import annotations

import asyncio
import gzip
import math
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from toy_models import ToyReward, toy_problem
from toy_text import POLICY_TEMPLATE, ToyEngine

from rtsearch_fast import Budget, Judgement, Sample, SampleRequest, Searcher, SearchOptions
from rtsearch_fast.engine.template import Template
from rtsearch_fast.errors import DataError, EngineError, RunStoreError
from rtsearch_fast.policy.prompt import PromptTemplate
from rtsearch_fast.policy.prompted import PromptedPolicy
from rtsearch_fast.runs.recording import RecordedPolicy, RecordedReward, Recording

PROBLEMS = [toy_problem(random.Random(i), 3) for i in range(4)]
METHODS = ("mcts_g", "mcts", "best_of_n", "beam", "cot")


class Counting(ToyEngine):
    """Counts what it is asked."""

    asked = 0

    async def complete(self, request):
        self.asked += len(request.seeds)
        return await super().complete(request)


def policy(engine: Any = None) -> PromptedPolicy:
    template = PromptTemplate(Template("toy", POLICY_TEMPLATE))
    return PromptedPolicy(engine or ToyEngine(), template)


def search(policy: Any, reward: Any, method: str = "mcts_g", **settings: Any) -> list[str]:
    searcher = Searcher(policy, reward, method=method, budget=Budget(tokens=500), **settings)
    results = asyncio.run(searcher.solve_async(PROBLEMS))
    return [result.signature for result in results]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "answers.jsonl"


@pytest.mark.parametrize("zipped", [False, True])
def test_run_when_replayed_has_the_same_signatures_without_any_model(file: Path, zipped: bool):
    plain = {method: search(policy(), ToyReward(), method) for method in METHODS}
    with Recording(file) as recording:
        recorded = {
            method: search(
                RecordedPolicy(recording, policy()), RecordedReward(recording, ToyReward()), method
            )
            for method in METHODS
        }
    if zipped:
        with open(file, "rb") as source, gzip.open(f"{file}.gz", "wb") as target:
            shutil.copyfileobj(source, target)
        file = Path(f"{file}.gz")
    with Recording(file, replay=True) as recording:
        replayed = {
            method: search(RecordedPolicy(recording), RecordedReward(recording), method)
            for method in METHODS
        }
        assert recording.asked == 0
    assert recorded == plain
    assert replayed == plain


def test_run_when_recorded_again_asks_the_models_nothing(file: Path):
    asked = []
    for method in ("best_of_n", "majority", "best_of_n"):
        engine = Counting()
        with Recording(file) as recording:
            search(RecordedPolicy(recording, policy(engine)), ToyReward(), method)
        asked.append(engine.asked)
    assert asked[0] > 0 == asked[1] == asked[2]


def test_request_when_it_is_not_in_the_recording_is_an_error_that_says_so(file: Path):
    with Recording(file) as recording:
        search(RecordedPolicy(recording, policy()), RecordedReward(recording, ToyReward()))
    with Recording(file, replay=True) as recording:
        models = RecordedPolicy(recording), RecordedReward(recording)
        with pytest.raises(EngineError, match=r"no answer to the sample with seed \d+ .*settings"):
            search(*models, options=SearchOptions(seed=1))


def test_answer_when_a_model_changes_its_mind_stays_the_first(file: Path):
    class Fickle(ToyReward):
        calls = 0

        async def score(self, problem, solutions):
            self.calls += 1
            value = self.calls / 10
            await asyncio.sleep(0.01)  # both are asked before either answers
            return [Judgement(value, 1) for _ in solutions]

    async def twice(reward: RecordedReward) -> list[float]:
        both = await asyncio.gather(*(reward.score("1 + 1", [("2",)]) for _ in range(2)))
        return [judgements[0].score for judgements in both]

    with Recording(file) as recording:
        first, second = asyncio.run(twice(RecordedReward(recording, Fickle())))
    assert first == second == 0.1


def test_sample_when_recorded_comes_back_whole(file: Path):
    samples = [
        Sample("a \u2211 \U0001f600\n", 3, "stop", -1.5, (1, 2, 5)),
        Sample("", 1, "eos"),
    ]

    class Fixed:
        name = "fixed"

        async def sample(self, request):
            return samples

    request = SampleRequest("p", ("##",), (1, 2), 9)
    with Recording(file) as recording:
        asyncio.run(RecordedPolicy(recording, Fixed()).sample(request))
    with Recording(file, replay=True) as recording:
        found = asyncio.run(RecordedPolicy(recording).sample(request))
        assert [sample.text for sample in recording.samples()] == [s.text for s in samples]
    assert found[0] == samples[0]
    assert math.isnan(found[1].logprob) and found[1].text == "" and found[1].ends == ()


def test_greedy_sample_when_asked_with_another_seed_is_found(file: Path):
    greedy = SampleRequest("1 2 3", ("##",), (1,), 9, temperature=0.0)
    with Recording(file) as recording:
        asyncio.run(RecordedPolicy(recording, policy()).sample(greedy))
        other = SampleRequest("1 2 3", ("##",), (2,), 9, temperature=0.0)
        asyncio.run(RecordedPolicy(recording).sample(other))
        assert (recording.asked, recording.known) == (1, 1)


def test_recording_when_torn_by_a_kill_goes_on_after_its_last_whole_line(file: Path):
    with Recording(file) as recording:
        signatures = search(RecordedPolicy(recording, policy()), ToyReward())
        number = recording.num_answers
    whole = file.read_bytes()
    for cut in (1, 7, 50):
        file.write_bytes(whole[:-cut])
        with Recording(file) as recording:
            assert number - 2 <= recording.num_answers < number
            assert search(RecordedPolicy(recording, policy()), ToyReward()) == signatures
        with Recording(file, replay=True) as recording:
            assert recording.num_answers == number


def test_recording_when_it_is_of_another_model_is_refused(file: Path):
    with Recording(file) as recording:
        RecordedPolicy(recording, policy())
    engine = ToyEngine()
    engine.name = "other"
    with Recording(file) as recording, pytest.raises(RunStoreError, match="choose another file"):
        RecordedPolicy(recording, policy(engine))
    with Recording(file) as recording, pytest.raises(DataError, match="without a reward"):
        RecordedReward(recording)


def test_recording_when_open_twice_is_refused(file: Path):
    with Recording(file), pytest.raises(RunStoreError, match="another process"):
        Recording(file)


@pytest.mark.parametrize(
    "text", ["no json\n", "[1]\n", '{"a": 1}\n', '{"format": "x", "role": "policy"}\n', "\xff\n"]
)
def test_recording_when_it_is_something_else_names_the_line(file: Path, text: str):
    file.write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match="line 1: no line of a recording"):
        Recording(file)


def test_recording_when_missing_or_compressed_says_what_to_do(tmp_path: Path):
    with pytest.raises(RunStoreError, match="No such file"):
        Recording(tmp_path / "none", replay=True)
    with pytest.raises(RunStoreError, match="not added to"):
        Recording(tmp_path / "a.gz")
