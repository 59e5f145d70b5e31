"""Verdicts and scores that a model writes: what is read, what is asked again, what is missing."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtsearch_fast.engine.protocol import Sample
from rtsearch_fast.errors import AnswerFormatError, InvalidArgumentError
from rtsearch_fast.reward.parse import json_score, verdicts
from rtsearch_fast.reward.parsed import ParsedReward
from rtsearch_fast.reward.protocol import Judgement
from rtsearch_fast.reward.spec import RewardSpec

pytest.importorskip("yaml")
THINK = RewardSpec.load("thinkprm")
JUDGE = RewardSpec.load("judge")
NAN = math.nan


def said(text: str, count: int) -> list[float | None]:
    found = verdicts(text, THINK.pattern, THINK.label_pair, count)
    return [None if math.isnan(value) else value for value in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"Step 1: 2*3 is 6. \boxed{correct} Step 2: no. \boxed{incorrect}", [1, 0, None]),
        (r"Step 2: fine \boxed{correct}" "\n" r"Step 1: fine \boxed{correct}", [1, 1, None]),
        (r"**Step 1**: ok \boxed{correct} **Step 3**: ok \boxed{correct}", [1, None, 1]),
        (r"Step 1: hm Step 2: from Step 1, so \boxed{correct}", [None, 1, None]),
        (r"Step 1: a \boxed{correct} then again Step 1: b \boxed{incorrect}", [None] * 3),
        (r"Step 1: a \boxed{correct} then again Step 1: b \boxed{correct}", [1, None, None]),
        (r"Step 4: a \boxed{incorrect} Step 0: \boxed{incorrect}", [None] * 3),
        (r"Step 1: \boxed{\text{correct}}", [1, None, None]),
        (r"Step 1: \boxed{7}, so \boxed{correct}", [1, None, None]),
        (r"Step 1: \boxed{corrected}", [None] * 3),
        (r"\boxed{correct} \boxed{correct} \boxed{correct}", [None] * 3),
        ("", [None] * 3),
    ],
)
def test_verdicts_when_a_model_writes_them_belong_to_the_step_it_names(text, expected) -> None:
    assert said(text, 3) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"score": 7, "reasoning": "ok"}', 0.7),
        ('Sure!\n```json\n{"reasoning": "a {b} c", "score": 10}\n```', 1.0),
        ('{"score": 7} {"score": 7.0}', 0.7),
        ('<think>{"score": 1}</think>{"score": 9}', 0.9),
        ('{"a": 1} {"score": 0}', 0.0),
        ('{not json} {"score": 5}', 0.5),
        ('{"score": 7} {"score": 8}', NAN),
        ('{"score": 11}', NAN),
        ('{"score": -1}', NAN),
        ('{"score": true}', NAN),
        ('{"score": "7"}', NAN),
        ('{"score": null}', NAN),
        ('{"score": NaN}', NAN),
        ('{"score": Infinity}', NAN),
        ('{"score": 7', NAN),
        ('{"result": {"score": 7}}', NAN),
        ("7", NAN),
        ("score: 7", NAN),
        ("{" * 5000, NAN),
        ("", NAN),
    ],
)
def test_json_score_when_a_judge_writes_is_its_number_or_none(text, expected) -> None:
    assert json_score(text, "score", (0, 10)) == pytest.approx(expected, nan_ok=True)


def test_json_score_when_the_scale_does_not_begin_at_zero_is_scaled() -> None:
    assert json_score('{"score": 2}', "score", (1, 5)) == 0.25


@given(st.text(), st.integers(0, 5))
def test_parsers_when_given_any_text_never_raise(text, count) -> None:
    assert len(said(text, count)) == count
    value = json_score(text, "score", (0, 10))
    assert math.isnan(value) or 0 <= value <= 1


# --- asking ------------------------------------------------------------------------------


class Writer:
    """Writes the given texts, one a request, and keeps what it was asked."""

    name = "model"

    def __init__(self, *texts: str, tokens: int = 5) -> None:
        self.texts = list(texts)
        self.tokens = tokens
        self.requests: list[Any] = []

    async def complete(self, request):
        self.requests.append(request)
        return [Sample(self.texts.pop(0), self.tokens, "eos")]


def judge(engine: Writer, spec: RewardSpec, *solutions: tuple[str, ...]) -> list[Judgement]:
    return list(asyncio.run(ParsedReward(engine, spec).score("P", solutions)))


def test_score_when_all_steps_have_verdicts_is_their_minimum() -> None:
    engine = Writer(r"Step 1: \boxed{correct} Step 2: \boxed{correct}")
    assert judge(engine, THINK, ("## Step 1: a\n\n", "b")) == [Judgement(1.0, 5)]
    (request,) = engine.requests
    assert "[Solution]\n\nStep 1: a\nStep 2: b\n\nReview" in request.prompt
    assert (request.seeds, request.temperature, request.max_tokens) == ((0,), 0.0, 4096)


def test_score_when_a_step_is_wrong_needs_no_verdict_on_the_others() -> None:
    assert judge(Writer(r"Step 1: \boxed{incorrect}"), THINK, ("a", "b")) == [Judgement(0.0, 5)]


def test_score_when_a_verdict_is_missing_asks_once_more_with_another_seed() -> None:
    engine = Writer("hm", r"Step 1: \boxed{correct}")
    assert judge(engine, THINK, ("a",)) == [Judgement(1.0, 10)]
    assert [request.seeds for request in engine.requests] == [(0,), (1,)]
    assert engine.requests[1].temperature > 0
    ((score, tokens),) = [(j.score, j.num_tokens) for j in judge(Writer("", ""), THINK, ("a",))]
    assert math.isnan(score) and tokens == 10


def test_score_when_a_judge_writes_json_is_its_share() -> None:
    engine = Writer('{"score": 9}', 'oh {"score": 3}')
    assert judge(engine, JUDGE, ("a",)) == [Judgement(0.9, 5)]
    assert engine.requests[0].prompt.endswith("JSON:\n")
    twice = Writer("no", '{"score": 3}')
    assert judge(twice, JUDGE, ("a",)) == [Judgement(0.3, 10)]


def test_score_when_a_solution_is_empty_is_nan_and_not_asked() -> None:
    for spec in (THINK, JUDGE):
        (judgement,) = judge(Writer(), spec, ())
        assert math.isnan(judgement.score) and judgement.num_tokens == 0
        assert judge(Writer(), spec) == []


def test_reward_when_made_sets_both_tries_aside() -> None:
    reward = ParsedReward(Writer(), replace(JUDGE, max_tokens=7))
    assert reward.max_tokens == 14 and reward.name.startswith("model/judge-")
    with pytest.raises(InvalidArgumentError, match="ParsedReward reads verdicts or json"):
        ParsedReward(Writer(), RewardSpec.load("generative"))


def test_score_when_the_engine_breaks_its_promise_is_an_error() -> None:
    with pytest.raises(AnswerFormatError, match="one text of at most 7 tokens was asked"):
        judge(Writer("", tokens=8), replace(JUDGE, max_tokens=7), ("a",))
