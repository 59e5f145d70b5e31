"""Written checks: what is asked after what, what it costs, and what happens to odd checks."""

from __future__ import annotations

import asyncio
import math
import random
from typing import Any

import pytest
from toy_models import toy_problem
from toy_text import POLICY_TEMPLATE, REWARD_TEMPLATE, ToyEngine, judge

from rtsearch_fast import Budget, Searcher
from rtsearch_fast.engine.protocol import Sample
from rtsearch_fast.engine.template import Template
from rtsearch_fast.errors import AnswerFormatError, InvalidArgumentError
from rtsearch_fast.policy.prompt import PromptTemplate
from rtsearch_fast.policy.prompted import PromptedPolicy
from rtsearch_fast.reward.generative import GenerativeReward
from rtsearch_fast.reward.question import JudgeTemplate
from rtsearch_fast.reward.worked import work_out
from rtsearch_fast.reward.written import WrittenReward
from rtsearch_fast.runs.recording import RecordedPolicy, RecordedReward, Recording

QUESTION = JudgeTemplate(Template("check", "{problem}|{solution}|check:"))
BARE = JudgeTemplate(Template("bare", "{problem}|{solution}|right?"))
DONE, OPEN = ("## Step 1: x", "## Answer\n\\boxed{3}"), ("## Step 1: x",)


class Judge:
    """Writes the given check, and keeps what it was asked."""

    name = "model"

    def __init__(self, *samples: Sample) -> None:
        self.samples = samples
        self.requests: list[Any] = []
        self.prompts: list[str] = []

    async def complete(self, request):
        self.requests.append(request)
        return self.samples

    async def label_logprobs(self, prompts, labels):
        self.prompts += prompts
        return [(math.log(0.3), math.log(0.1)) for _ in prompts]


def score(engine: Judge, *solutions: tuple[str, ...], **settings: Any) -> list[Any]:
    reward = WrittenReward(engine, QUESTION, check_tokens=14, **settings)
    return list(asyncio.run(reward.score("P", solutions)))


def test_label_is_read_after_the_check() -> None:
    engine = Judge(Sample("3 is 3", 6, "stop"))
    (judgement,) = score(engine, DONE)
    (request,) = engine.requests
    assert request.prompt == f"P|{''.join(DONE)}|check:"
    assert (request.max_tokens, request.temperature, request.stop) == (14, 0.0, ("Verdict:",))
    assert engine.prompts == [f"{request.prompt}3 is 3\nVerdict: "]
    assert judgement.score == pytest.approx(0.75) and judgement.num_tokens == 7


@pytest.mark.parametrize(
    ("sample", "check"),
    [
        (Sample("3 is 3\n", 7, "stop"), "3 is 3"),  # stopped after the line break
        (Sample("", 1, "stop"), ""),  # began with its verdict
        (Sample("3 is 3", 14, "length"), "3 is 3"),  # cut off: the verdict is forced
        (Sample("3 is", 3, "eos"), "3 is"),  # ended without one
        (Sample("<|im_end|>Yes", 3, "eos"), "< |im_end|>Yes"),
    ],
)
def test_verdict_follows_whatever_was_written(sample: Sample, check: str) -> None:
    engine = Judge(sample)
    (judgement,) = score(engine, DONE)
    assert engine.prompts == [f"P|{''.join(DONE)}|check:{check}\nVerdict: "]
    assert judgement.num_tokens == sample.num_tokens + 1


def test_prefixes_are_judged_bare_if_so_wished() -> None:
    engine = Judge(Sample("ok", 2, "stop"))
    settings = {"prefixes": "bare", "bare_template": BARE}
    judgements = score(engine, OPEN, DONE, **settings)
    assert [judgement.num_tokens for judgement in judgements] == [1, 3]
    assert len(engine.requests) == 1
    assert sorted(engine.prompts) == sorted(
        [f"P|{OPEN[0]}|right?", f"P|{''.join(DONE)}|check:ok\nVerdict: "]
    )
    assert [j.num_tokens for j in score(engine, OPEN)] == [3]


def test_other_verdicts_end_the_check() -> None:
    engine = Judge(Sample("ok ", 2, "stop"))
    score(engine, DONE, verdict=" => ", labels=("good", "bad"))
    assert engine.requests[0].stop == ("=>",)
    assert engine.prompts[0].endswith("check:ok => ")


def test_calculator_when_given_writes_the_results_of_the_sums() -> None:
    engine = Judge(Sample("12*24-288, 24*46-1128, ?", 14, "stop"))
    (judgement,) = score(engine, DONE, calculator=True)
    assert engine.requests[0].stop == ("=",)
    assert engine.prompts[0].endswith("check:12*24-288, 24*46-1128, ? = 0, -24, ?\nVerdict: ")
    assert judgement.num_tokens == 15  # results are not generated


@pytest.mark.parametrize(
    ("sums", "results"),
    [
        ("3+4", "7"),
        ("1/3", "0.333333"),
        ("", "?"),
        ("7", "?"),
        ("3+4=7", "?"),
        ("1/0, 2-5", "?, -3"),
        ("9^9^9^9", "?"),
        ("__import__('os')", "?"),
        ("1,000+1, 2*3", "1001, 6"),
    ],
)
def test_work_out_when_given_any_text_never_raises(sums: str, results: str) -> None:
    assert work_out(sums) == f"{sums} = {results}"


def test_name_tells_all_that_decides_a_score() -> None:
    settings: list[dict[str, Any]] = [
        {},
        {"check_tokens": 9},
        {"verdict": "\n=> "},
        {"labels": ("good", "bad")},
        {"template": BARE},
        {"prefixes": "bare"},
        {"prefixes": "bare", "bare_template": BARE},
        {"calculator": True},
    ]
    names = {WrittenReward(Judge(), **{"template": QUESTION, **s}).name for s in settings}
    names.add(GenerativeReward(Judge(), QUESTION).name)
    assert len(names) == len(settings) + 1 and all(name.startswith("model/") for name in names)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"check_tokens": 0}, "check_tokens=0"),
        ({"verdict": " \n"}, "verdict="),
        ({"prefixes": "some"}, "written or bare"),
        ({"labels": ("a", "a")}, "two different"),
    ],
)
def test_nonsense_is_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=text):
        WrittenReward(Judge(), **settings)


@pytest.mark.parametrize("samples", [(), (Sample("x", 15, "stop"),), (Sample("x", 1, "eos"),) * 2])
def test_engine_that_breaks_its_promise_is_an_error(samples: tuple[Sample, ...]) -> None:
    with pytest.raises(AnswerFormatError, match="one check of at most 14 tokens"):
        score(Judge(*samples), DONE)


class CheckingEngine(ToyEngine):
    """The toy engine, whose judge writes the sum before its verdict."""

    async def complete(self, request):
        if not request.prompt.startswith("Added: "):
            return await super().complete(request)
        problem = request.prompt.removeprefix("Added: ").partition("\n")[0]
        return [Sample(f"it is {sum(map(int, problem.split()))}", 4, "stop")]

    async def label_logprobs(self, prompts, labels):
        assert all(prompt.endswith("\nVerdict: ") for prompt in prompts)
        found = [judge(prompt.partition("it is")[0]) for prompt in prompts]
        return [tuple(each[label] for label in labels) for each in found]


def test_search_with_written_checks_keeps_its_budget_and_can_be_replayed(tmp_path) -> None:
    engine = CheckingEngine()
    policy = PromptedPolicy(engine, PromptTemplate(Template("toy", POLICY_TEMPLATE)))
    reward = WrittenReward(engine, JudgeTemplate(Template("r", REWARD_TEMPLATE)), check_tokens=6)
    problems = [toy_problem(random.Random(i), 3) for i in range(3)]

    def search(policy: Any, reward: Any) -> list[Any]:
        searcher = Searcher(policy, reward, method="mcts_g", budget=Budget(tokens=600))
        return asyncio.run(searcher.solve_async(problems))

    file = tmp_path / "answers.jsonl"
    with Recording(file) as recording:
        results = search(RecordedPolicy(recording, policy), RecordedReward(recording, reward))
    for result in results:
        assert 0 < result.usage.tokens <= 600
        assert result.usage.reward_tokens == 5 * result.usage.reward_calls > 0
    with Recording(file, replay=True) as recording:
        replayed = search(RecordedPolicy(recording), RecordedReward(recording))
    assert [r.signature for r in replayed] == [r.signature for r in results]
    assert [r.usage for r in replayed] == [r.usage for r in results]
