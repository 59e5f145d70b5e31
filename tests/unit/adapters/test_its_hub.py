"""its_hub's own algorithms beside ours, over its own models."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from frameworks.chat_server import ChatServer, chance, judge
from peers import peer

from rtsearch_fast.errors import AnswerFormatError, EngineError, InvalidArgumentError

api = peer("its_hub.api")
peer("backoff")  # which its language model needs

from its_hub.core.algorithms import beam_search, bon  # noqa: E402
from its_hub.core.lms.openai_lm import OpenAICompatibleLanguageModel  # noqa: E402
from its_hub.core.lms.step_generation import StepGeneration  # noqa: E402
from its_hub.core.orchestrator import LMOrchestrator  # noqa: E402
from its_hub.core.reward_models.llm_judge import LLMJudge  # noqa: E402

from rtsearch_fast.adapters import its_hub as ours  # noqa: E402

PROBLEM = "17 25 38 4 91 60"
SUM = 235


class Model(api.AbstractLanguageModel):
    """Answers by the conversation and how often it was asked; some steps are the last."""

    def __init__(
        self, stop_share: float = 0.2, more: Callable[[str], dict[str, Any]] = lambda _: {}
    ):
        self.asked: Counter[Any] = Counter()
        self.settings: list[dict[str, Any]] = []
        self.stop_share = stop_share
        self.more = more

    async def agenerate_single(self, messages, stop=None, usage_accumulator=None, **settings):
        key = tuple((message.role, message.content) for message in messages)
        number = self.asked[key]
        self.asked[key] += 1
        self.settings.append({"stop": stop, **settings})
        await asyncio.sleep(0)
        if usage_accumulator is not None:
            usage_accumulator.add(5, 3)
        end = " END" if chance(key, number, "end") < self.stop_share else ""
        text = f"step {int(1e6 * chance(key, number))}{end}"
        return {"role": "assistant", "content": text, **self.more(text)}

    async def agenerate(self, messages, stop=None, **settings):
        if isinstance(messages[0], list):
            return [await self.agenerate_single(one, stop) for one in messages]
        return await self.agenerate_single(messages, stop)


class Process(api.AbstractProcessRewardModel):
    def __init__(self, score: Callable[[str], Any] = chance) -> None:
        self.calls: list[list[str]] = []
        self._score = score

    def score(self, prompt, texts):
        return [self._score(text) for text in texts]

    async def ascore(self, prompt, texts):
        self.calls.append(list(texts))
        await asyncio.sleep(0)
        return self.score(prompt, texts)


class Outcome(api.AbstractOutcomeRewardModel):
    """Scores from -3 to 4."""

    def score(self, messages, **_):
        return [7 * chance([(m.role, m.content) for m in one]) - 3 for one in messages]

    async def ascore(self, messages, orchestrator=None, **_):
        return self.score(messages)


def lines(max_steps: int = 6, **settings: Any) -> Any:
    return StepGeneration(max_steps, **{"step_token": "\n", "stop_token": "END", **settings})


def infer(algorithm: Any, lm: Any, budget: int, prompt: Any = "q") -> Any:
    return algorithm.infer(lm, prompt, budget, return_response_only=False)


# --- the same decisions ----------------------------------------------------------------------


@pytest.mark.parametrize("stop_share", [0, 0.1, 0.4])
@pytest.mark.parametrize("max_steps", [1, 3, 6])
@pytest.mark.parametrize(("width", "budget"), [(1, 5), (2, 8), (3, 3), (4, 16), (8, 32)])
def test_beam_when_as_original_is_the_original(
    width: int, budget: int, max_steps: int, stop_share: float
) -> None:
    for settings in ({}, {"include_stop_str_in_output": True}, {"stop_token": None}):
        sg = lines(max_steps, **settings)
        theirs, mine = Model(stop_share), Model(stop_share)
        wanted = infer(beam_search.BeamSearch(sg, Process(), width), theirs, budget)
        found = infer(ours.BeamSearch(sg, Process(), width, as_original=True), mine, budget)
        assert isinstance(found, beam_search.BeamSearchResult)
        for name in ("responses", "scores", "selected_index", "steps_used", "the_one"):
            assert getattr(found, name) == getattr(wanted, name), name
        assert mine.asked == theirs.asked


def fixed_beam(lm: Any, width: int, budget: int, max_steps: int) -> list[tuple[float, str]]:
    """The same rule with the bugs out: all of the first level, and stopped paths counted once."""

    async def run() -> list[tuple[float, str]]:
        beam: list[tuple[float, list[str], bool]] = [(0.0, [], False)]
        while not all(stopped for _, _, stopped in beam):
            going = [path for path in beam if not path[2]]
            pool = [(0, i, path) for i, path in enumerate(beam) if path[2]]
            for turn, (_, steps, _) in enumerate(going):
                i = beam.index(going[turn])
                for number in range(budget // len(going) + (turn < budget % len(going))):
                    messages = [api.ChatMessage("user", "q")]
                    if steps:
                        messages.append(api.ChatMessage("assistant", "\n".join(steps) + "\n"))
                    step = (await lm.agenerate_single(messages))["content"]
                    path = [*steps, step]
                    stopped = len(path) == max_steps or "END" in step
                    pool.append((number, i, (chance("\n".join(path)), path, stopped)))
            pool.sort(key=lambda entry: entry[:2])
            beam = sorted((path for _, _, path in pool), key=lambda path: -path[0])[:width]
        return [(score, "\n".join(steps)) for score, steps, _ in beam]

    return asyncio.run(run())


@pytest.mark.parametrize("stop_share", [0, 0.2, 0.5])
@pytest.mark.parametrize(("width", "budget"), [(1, 4), (2, 8), (4, 4), (3, 11), (4, 2)])
def test_beam_when_its_bugs_are_out_is_the_plain_rule(
    width: int, budget: int, stop_share: float
) -> None:
    theirs, mine = Model(stop_share), Model(stop_share)
    wanted = fixed_beam(theirs, min(width, budget), budget, max_steps=5)
    found = infer(ours.BeamSearch(lines(5), Process(), width), mine, budget)
    assert list(zip(found.scores, [r["content"] for r in found.responses], strict=True)) == wanted
    assert mine.asked == theirs.asked
    assert found.usage.completion_tokens == 3 * mine.asked.total()


@pytest.mark.parametrize("budget", [2, 5, 40])
@pytest.mark.parametrize("orchestrated", [False, True])
def test_best_of_n_when_compared_is_the_original(budget: int, orchestrated: bool) -> None:
    history = [api.ChatMessage("system", "Be brief."), api.ChatMessage("user", "q")]
    for prompt in ("q", history):
        wanted = infer(bon.BestOfN(Outcome(), LMOrchestrator(-1)), Model(), budget, prompt)
        own = LMOrchestrator(-1) if orchestrated else None
        found = infer(ours.BestOfN(Outcome(), own), Model(), budget, prompt)
        assert isinstance(found, bon.BestOfNResult)
        for name in ("responses", "scores", "selected_index", "usage", "the_one"):
            assert getattr(found, name) == getattr(wanted, name), name


def test_best_of_n_when_answers_call_tools_keeps_them() -> None:
    def call(text: str) -> dict[str, Any]:
        return {"content": None, "tool_calls": [{"function": {"name": text, "arguments": {}}}]}

    wanted = infer(bon.BestOfN(Outcome(), LMOrchestrator(-1)), Model(more=call), 6)
    found = infer(ours.BestOfN(Outcome()), Model(more=call), 6)
    assert found.responses == wanted.responses
    assert found.the_one["tool_calls"]


def test_best_of_n_when_an_answer_is_cut_off_prefers_whole_ones() -> None:
    def cut(text: str) -> dict[str, Any]:
        reason = "length" if chance(text) < 0.5 else "stop"
        return {"_raw_choice": {"finish_reason": reason, "stop_reason": None}}

    lm = Model(more=cut)
    found = infer(ours.BestOfN(Outcome()), lm, 20)
    whole = [chance(response["content"]) >= 0.5 for response in found.responses]
    assert lm.asked.total() == 20 and 0 < sum(whole) < 20
    assert [score > -math.inf for score in found.scores] == whole
    assert whole[found.selected_index]


# --- trees -------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["MCTS", "MCTS_G"])
@pytest.mark.parametrize("budget", [1, 4, 7, 18])
def test_tree_when_given_a_budget_evaluates_as_many_leaves(algorithm: str, budget: int) -> None:
    prm = Process()
    search = getattr(ours, algorithm)(lines(), prm, request="step", deduplicate=False)
    found = infer(search, Model(), budget)
    assert found.search.usage.reward_calls == len(found.responses) == budget
    assert sorted(text for call in prm.calls for text in call) == sorted(
        {response["content"] for response in found.responses}
    )
    assert found.the_one["content"] == max(
        (response["content"] for response in found.responses), key=chance
    )
    assert found.usage.num_calls == found.search.usage.policy_samples


def test_tree_when_prefixes_are_judged_needs_no_rollouts() -> None:
    search = ours.MCTS_G(lines(2), Process(), value="prefix", width=3)
    found = infer(search, Model(), 30)
    assert found.search.usage.reward_calls <= 30
    assert found.steps_used and max(found.steps_used) <= 2


def test_tree_when_nothing_ends_within_the_budget_says_so() -> None:
    search = ours.MCTS(lines(), Process(), value="prefix")
    with pytest.raises(EngineError, match="no solution came to its end within budget=2: give more"):
        infer(search, Model(stop_share=0), 2)


def test_tree_when_temperature_switches_asks_for_steps_at_each() -> None:
    sg = lines(3, stop_token=None, temperature_switch=(0.1, "step 1", "step 2"))
    lm = Model()
    infer(ours.MCTS(sg, Process()), lm, 8)
    assert {settings["stop"] for settings in lm.settings} == {"\n"}
    assert {settings["temperature"] for settings in lm.settings} == {0.1, 0.8}


def test_outcome_model_when_its_scores_are_of_another_range_is_scaled_or_named() -> None:
    found = infer(ours.MCTS(lines(), Outcome(), scale=(-3, 4)), Model(), 8)
    assert all(0 <= score <= 1 for score in found.scores)
    with pytest.raises(AnswerFormatError, match=r"Outcome gave the score .*: say how low and high"):
        infer(ours.MCTS(lines(), Outcome()), Model(), 8)


def test_outcome_model_when_it_only_blocks_is_run_in_a_thread() -> None:
    class Blocking(Outcome):
        ascore = api.AbstractOutcomeRewardModel.ascore

    found = infer(ours.BestOfN(Blocking()), Model(), 5)
    assert found.scores == infer(ours.BestOfN(Outcome()), Model(), 5).scores


# --- over HTTP, with its_hub's own language model ------------------------------------------------


def served(server: ChatServer, **settings: Any) -> Any:
    return OpenAICompatibleLanguageModel(server.url, "none", "adder", **settings)


@pytest.mark.parametrize("raw", [False, True])
def test_search_when_over_http_solves_the_problem(raw: bool) -> None:
    sg = StepGeneration(12, step_token="\n\n", stop_token="\\boxed")
    answer = f"\\boxed{{{SUM}}}"
    with ChatServer() as server:
        lm = served(server, include_raw_choices=raw)
        prm = Process(judge)
        for search in (
            ours.BeamSearch(sg, prm, 4),
            ours.MCTS(sg, prm),
            ours.MCTS_G(sg, prm, width=3),
            ours.MCTS_G(sg, prm, request="step"),
        ):
            found = infer(search, lm, 16, PROBLEM)
            assert answer in found.the_one["content"]
            assert found.the_one["content"].startswith("17 + 25 = ")
            assert found.usage.completion_tokens == found.search.usage.policy_tokens
        assert any(request.get("continue_final_message") for request in server.requests)
        asyncio.run(lm.close())


def test_end_of_text_when_told_ends_the_path_that_the_original_continues() -> None:
    sg = StepGeneration(9, step_token="\n\n")
    with ChatServer() as server:
        lm = served(server, include_raw_choices=True)
        found = infer(ours.BeamSearch(sg, Process(judge), 2), lm, 4, PROBLEM)
        assert found.steps_used == [6, 6]
        begin = len(server.requests)
        with pytest.warns(DeprecationWarning, match="agenerate"):
            wanted = infer(beam_search.BeamSearch(sg, Process(judge), 2), lm, 4, PROBLEM)
        assert wanted.steps_used == [10] * 4
        assert any(
            "\\boxed" in request["messages"][-1]["content"] for request in server.requests[begin:]
        )
        asyncio.run(lm.close())


def test_judge_when_it_is_a_language_model_is_asked_on_its_scale() -> None:
    class Told(OpenAICompatibleLanguageModel):
        async def agenerate_single(self, messages, **settings):
            return {"role": "assistant", "content": '{"score": 8}'}

    with ChatServer() as server:
        lm = served(server)
        reward = LLMJudge(Told(server.url, "none", "judge"))
        sg = StepGeneration(12, step_token="\n\n")
        found = infer(ours.MCTS_G(sg, reward), lm, 4, PROBLEM)
        assert set(found.scores) == {0.8}
        asyncio.run(lm.close())


def test_language_model_when_it_fails_is_an_error_that_names_it() -> None:
    lm = OpenAICompatibleLanguageModel("http://127.0.0.1:9/v1", "none", "adder", max_tries=1)
    with pytest.raises(EngineError, match="its_hub: ClientConnectorError: Cannot connect"):
        infer(ours.BestOfN(Outcome(), LMOrchestrator()), lm, 2)


# --- bad use -------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [0, -1, 2.0, True, None])
def test_budget_when_it_is_no_count_is_refused(budget: Any) -> None:
    for algorithm in (
        ours.BestOfN(Outcome()),
        ours.BeamSearch(lines(), Process(), 2),
        ours.MCTS(lines(), Process()),
    ):
        with pytest.raises(InvalidArgumentError, match=f"budget={budget}: give a whole number"):
            infer(algorithm, Model(), budget)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ours.BestOfN(Process()), "orm=<.*: give an AbstractOutcomeRewardModel of its_hub"),
        (lambda: ours.BeamSearch(lines(), Outcome(), 2), "prm=<.*: give an AbstractProcessReward"),
        (lambda: ours.BeamSearch(lines(), Process(), 0), "beam_width=0: must be at least 1"),
        (lambda: ours.MCTS(lines(), None), "reward=None: give an AbstractProcess.* or Abstract"),
        (lambda: ours.MCTS(lines(), Process(), scale=(1, 0)), "scale=.*: give .lowest, highest."),
        (lambda: ours.MCTS(lines(), Process(), width=0), "width=0: must be at least 1"),
        (
            lambda: infer(ours.MCTS(lines(), Process()), "lm", 2),
            "lm='lm': give an its_hub.Abstract",
        ),
        (
            lambda: infer(ours.BeamSearch(lines(), Process(), 3, as_original=True), Model(), 4),
            "budget=4: as_original needs a multiple of beam_width=3",
        ),
    ],
)
def test_algorithm_when_an_argument_is_wrong_names_it(make: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        make()


@pytest.mark.parametrize(
    ("score", "message"),
    [(lambda _: 1.5, "Process gave the score 1.5: say how low and high"), (lambda _: "x", "could")],
)
def test_score_when_it_is_out_of_range_is_named(score: Any, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        infer(ours.BeamSearch(lines(), Process(score), 2), Model(), 4)


def test_score_when_it_is_nan_is_no_verdict() -> None:
    found = infer(ours.MCTS(lines(), Process(lambda _: math.nan)), Model(), 8)
    assert all(map(math.isnan, found.scores))
    assert found.the_one["content"]
