"""The engines over real vLLM, as a server and in this process, against transformers.

All in float32, where the two agree to many digits; 16-bit numbers would hide a fault.
"""

from __future__ import annotations

import asyncio
import gc
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from patience import comes_true
from real_vllm import model_folder

from rtsearch_fast import Budget, Searcher, SearchOptions
from rtsearch_fast.engine.completions import CompletionsEngine
from rtsearch_fast.engine.protocol import CompletionRequest, Sample
from rtsearch_fast.engine.server.process import VllmServer
from rtsearch_fast.engine.server.settings import ServerOptions
from rtsearch_fast.engine.server.status import parse_metrics
from rtsearch_fast.engine.transformers import TransformersEngine
from rtsearch_fast.errors import EngineError
from rtsearch_fast.policy.prompt import PromptTemplate
from rtsearch_fast.policy.prompted import PromptedPolicy
from rtsearch_fast.reward.generative import GenerativeReward
from rtsearch_fast.reward.question import JudgeTemplate
from rtsearch_fast.runs.recording import RecordedPolicy, RecordedReward, Recording

# vLLM's imports warn of many things, which are none of ours.
pytestmark = pytest.mark.filterwarnings("ignore")

COUNT = "One, two, three, four, five, six, seven,"
PROMPT = PromptTemplate.load("chatml")
PROBLEM = "A shop sells pens at 3 dollars each. Tom buys 4 pens and pays with 20 dollars. Change?"
STEPS = ("## Step 1: Price\n4 * 3 = 12\n\n", "## Step 2: Change\n20 - 12 = 8\n\n")
SOLUTIONS = [STEPS[:1], (*STEPS, "## Answer\n\\boxed{8}"), (*STEPS, "## Answer\n\\boxed{15}")]


@pytest.fixture(scope="module")
def folder() -> Path:
    return model_folder()


@pytest.fixture(scope="module")
def reference(folder: Path) -> Iterator[TransformersEngine]:
    engine = TransformersEngine(folder, dtype="float32")
    yield engine
    asyncio.run(engine.aclose())


def close_connections() -> None:
    """vLLM leaves its connections to the garbage collector, which pytest counts as an error."""
    import zmq

    for thing in gc.get_objects():
        if isinstance(thing, zmq.Context):
            with suppress(zmq.ZMQError):  # one is the shadow of another
                thing.destroy(linger=0)


class Vllm:
    """An engine over vLLM, and how many requests vLLM is busy with."""

    def __init__(self, engine: Any, busy: Callable[[], int]) -> None:
        self.engine = engine
        self.busy = busy

    def run(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        return asyncio.run(work(self.engine))

    def complete(self, prompt: Any, seeds: Any = (1,), max_tokens: int = 16, **kw: Any) -> Any:
        request = CompletionRequest(prompt, tuple(seeds), max_tokens, **kw)
        return self.run(lambda engine: engine.complete(request))


@pytest.fixture(scope="module", params=["server", "in process"])
def vllm(
    request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Vllm]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        if request.param == "server":
            patch.setenv("RTSEARCH_CACHE", str(tmp_path_factory.mktemp("cache")))
            options = ServerOptions(dtype="float32", max_model_len=2048, max_num_seqs=32)
            with VllmServer(str(folder), port=0, options=options) as server:

                def busy() -> int:
                    with urllib.request.urlopen(f"{server.root_url}/metrics") as reply:
                        metrics = parse_metrics(reply.read().decode())
                    return metrics.running + metrics.waiting

                yield Vllm(CompletionsEngine(server.base_url, token_ids=True), busy)
        else:
            from rtsearch_fast.engine.vllm import VllmEngine

            engine = VllmEngine(folder, max_sequences=32, dtype="float32", max_model_len=2048)
            yield Vllm(engine, lambda: engine._engine.get_num_unfinished_requests())
            asyncio.run(engine.aclose())
            close_connections()


def greedy(engine: Any, prompt: Any, max_tokens: int = 16, **kw: Any) -> Sample:
    request = CompletionRequest(prompt, (0,), max_tokens, temperature=0.0, **kw)
    return asyncio.run(engine.complete(request))[0]


def test_text_and_logprobs_equal_those_of_transformers(vllm, reference) -> None:
    prompts = [COUNT, PROMPT.render(PROBLEM, ("##",)), "The capital of France is"]
    for prompt in prompts:
        ours, theirs = greedy(vllm.engine, prompt, 24), greedy(reference, prompt, 24)
        assert ours.text == theirs.text
        assert ours.num_tokens == theirs.num_tokens and ours.finish_reason == theirs.finish_reason
        assert ours.logprob == pytest.approx(theirs.logprob, abs=1e-2)
        assert ours.token_ids == theirs.token_ids
        assert ours.ends == theirs.ends


def test_stop_strings_end_a_sample_and_are_left_out(vllm) -> None:
    free = greedy(vllm.engine, COUNT)
    mark = free.text[len(free.text) // 2 :][:3]
    cut = greedy(vllm.engine, COUNT, stop=(mark, "never"))
    assert cut.text == free.text[: free.text.index(mark)] and cut.finish_reason == "stop"
    assert 0 < cut.num_tokens <= free.num_tokens and cut.ends[-1] == len(cut.text)
    assert greedy(vllm.engine, COUNT, 3).finish_reason == "length"
    ended = greedy(vllm.engine, PROMPT.render(PROBLEM, (*STEPS, "## Answer\n\\boxed{8}")))
    assert (ended.text, ended.finish_reason) == ("", "eos")


def test_samples_depend_on_their_seeds_alone(vllm) -> None:
    together = vllm.complete(COUNT, (5, 6, 7, 20))
    alone = [vllm.complete(COUNT, (seed,))[0] for seed in (5, 6, 7, 20)]
    assert [s.text for s in together] == [s.text for s in alone]
    assert len({sample.text for sample in together}) >= 3
    assert [s.text for s in vllm.complete(COUNT, (7, 5))] == [alone[2].text, alone[0].text]


def test_a_text_goes_on_by_its_token_ids(vllm, reference) -> None:
    whole = greedy(vllm.engine, COUNT, 12)
    half = greedy(vllm.engine, COUNT, 5)
    ids = (*reference.encode(COUNT), *half.token_ids)
    rest = greedy(vllm.engine, ids, 7)
    assert half.token_ids + rest.token_ids == whole.token_ids


def test_many_seeded_prompts_at_once_do_not_bring_vllm_down(vllm) -> None:
    # More tokens than a batch holds: where prompts are computed in pieces, vLLM's seeded sampling
    # on a CPU dies, see server_settings.
    text = "one two three four five six seven eight nine ten " * 12

    async def work(engine: Any) -> Any:
        return await asyncio.gather(
            *(
                engine.complete(CompletionRequest(f"{number}: {text}", (number,), 2))
                for number in range(40)
            )
        )

    assert len(vllm.run(work)) == 40


def test_prefixes_are_computed_once(vllm) -> None:
    prompt = f"{time.time_ns()}: " + "one two three four five six seven eight nine ten " * 20
    before = vllm.engine.stats
    vllm.complete(prompt, max_tokens=1)
    middle = vllm.engine.stats
    vllm.complete(prompt + "and so on", max_tokens=1)
    after = vllm.engine.stats
    assert middle.cached_tokens == before.cached_tokens
    hits = after.cached_tokens - middle.cached_tokens
    # whole blocks of 32
    assert hits % 32 == 0 and hits > 0.7 * (middle.prompt_tokens - before.prompt_tokens)
    assert after.generated_tokens == before.generated_tokens + 2


def test_cancelling_aborts_the_request_in_vllm(vllm) -> None:
    async def work(engine: Any) -> None:
        request = CompletionRequest("Tell a long story.", (1, 2, 3, 4), 1500)
        task = asyncio.ensure_future(engine.complete(request))
        assert await asyncio.to_thread(comes_true, lambda: vllm.busy() >= 1, 1200)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        # 1,500 tokens take much longer than these looks
        assert await asyncio.to_thread(comes_true, lambda: vllm.busy() == 0, 400)

    vllm.run(work)


def test_requests_that_cannot_be_served_name_the_reason(vllm) -> None:
    with pytest.raises(EngineError, match="2048"):
        vllm.complete(COUNT, max_tokens=5000)
    with pytest.raises(EngineError, match="'Yes indeed' is 2 tokens"):
        vllm.run(lambda engine: engine.label_logprobs([COUNT], ("Yes indeed", "No")))
    assert vllm.complete(COUNT)[0].num_tokens > 0  # it goes on


@pytest.mark.parametrize("question", ["chatml", "followup"])
def test_generative_reward_equals_that_of_transformers(vllm, reference, question) -> None:
    template = (
        JudgeTemplate.following(PROMPT.template)
        if question == "followup"
        else JudgeTemplate.load(question)
    )

    def scores(engine: Any) -> list[float]:
        judgements = asyncio.run(GenerativeReward(engine, template).score(PROBLEM, SOLUTIONS))
        return [judgement.score for judgement in judgements]

    ours, theirs = scores(vllm.engine), scores(reference)
    assert ours == pytest.approx(theirs, abs=0.02)
    assert len(set(ours)) == 3


def test_search_through_vllm_keeps_its_budget_and_can_be_replayed(vllm, tmp_path) -> None:
    problems = ["What is 3 + 4?", "Tom has 5 pens and buys 7. How many has he?", PROBLEM]
    reward = GenerativeReward(vllm.engine, JudgeTemplate.following(PROMPT.template))
    settings: dict[str, Any] = {
        "method": "mcts_g",
        "budget": Budget(tokens=800),
        "options": SearchOptions(max_solution_tokens=96, max_step_tokens=48),
        "sequences": 24,
    }
    with Recording(tmp_path / "answers.jsonl") as recording:
        policy = RecordedPolicy(recording, PromptedPolicy(vllm.engine, PROMPT))
        searcher = Searcher(policy, RecordedReward(recording, reward), **settings)
        results = asyncio.run(searcher.solve_async(problems))
    for result in results:
        assert 250 < result.usage.tokens <= 800
        assert result.candidates and result.tree is not None and len(result.tree.parent) > 2
    assert sum(result.answer is not None for result in results) >= 2
    with Recording(tmp_path / "answers.jsonl", replay=True) as recording:
        searcher = Searcher(RecordedPolicy(recording), RecordedReward(recording), **settings)
        replayed = asyncio.run(searcher.solve_async(problems))
    assert [r.signature for r in replayed] == [r.signature for r in results]


# --- vLLM killed in the middle ---------------------------------------------------------------


def test_engine_in_this_process_when_vllm_is_killed_says_so(folder: Path) -> None:
    import multiprocessing
    import os
    import signal

    from rtsearch_fast.engine.vllm import VllmEngine

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        known = {process.pid for process in multiprocessing.active_children()}
        engine = VllmEngine(folder, max_sequences=8, max_model_len=2048)

    async def work() -> None:
        request = CompletionRequest("Tell a long story.", (1, 2), 1500)
        task = asyncio.ensure_future(engine.complete(request))
        await asyncio.sleep(1)
        for process in multiprocessing.active_children():
            if process.pid not in known:
                os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(EngineError, match=r"vLLM died .*--resume"):
            await asyncio.wait_for(task, 60)
        await engine.aclose()

    asyncio.run(work())
    close_connections()
