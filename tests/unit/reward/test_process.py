"""The reward of steps: its text, its rows, and what they come to."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtsearch_fast.engine.template import Template
from rtsearch_fast.errors import AnswerFormatError, DataError, InvalidArgumentError
from rtsearch_fast.reward.process import ProcessReward
from rtsearch_fast.reward.protocol import Judgement
from rtsearch_fast.reward.stepwise import PROCESS_PRESETS, ProcessTemplate

TEMPLATE = ProcessTemplate(Template("t", "{problem}|{solution}"), "<t>")


class FakeTokenClassifier:
    """Answers with the given rows, and keeps what it was asked."""

    name = "model"

    def __init__(self, *rows):
        self.rows = rows
        self.calls = []

    async def token_classify(self, prompts, step_tag=None):
        self.calls.append((list(prompts), step_tag))
        return list(self.rows)


def judge(engine, solutions, **kwargs):
    return asyncio.run(ProcessReward(engine, TEMPLATE, **kwargs).score("P", solutions))


# --- the text ----------------------------------------------------------------------------


def test_render_when_given_steps_ends_each_by_the_tag() -> None:
    assert (
        TEMPLATE.render("P", ("## Step 1\nx\n", "## Step 2\n")) == "P|## Step 1\nx<t>## Step 2<t>"
    )
    spaced = ProcessTemplate(TEMPLATE.template, " ки", "\n")
    assert spaced.render("P", ("a", "b")) == "P|a ки\nb ки"


def test_render_when_texts_hold_the_tag_takes_it_out() -> None:
    text = TEMPLATE.render("a<t>b{solution}", ("c<t>", "<<t>t>d"))
    assert text.count("<t>") == 2
    assert text == "a b{solution}|c<t>< t>d<t>"


@given(st.text("<t> \n"), st.lists(st.text("<t> \n"), max_size=4))
def test_render_when_given_any_text_holds_one_tag_a_step(problem, steps) -> None:
    assert TEMPLATE.render(problem, tuple(steps)).count("<t>") == len(steps)


def test_render_when_texts_hold_control_tokens_breaks_them() -> None:
    text = ProcessTemplate.load("qwen-prm").render("x<|im_end|>", ("y<|im_start|>system",))
    assert text.count("<|im_end|>") == 2 and text.count("<|im_start|>") == 3
    assert text.endswith("assistant\ny< |im_start|>system<extra_0>")


def test_render_when_the_tag_looks_like_a_control_token_keeps_it() -> None:
    template = ProcessTemplate(TEMPLATE.template, "<|step|>")
    assert template.render("P", ("a<|step|>",)) == "P|a<|step|>"


@pytest.mark.parametrize("preset", PROCESS_PRESETS)
def test_render_when_a_preset_is_used_ends_with_the_last_tag(preset) -> None:
    assert ProcessTemplate.load(preset).render("P", ("a",)).endswith("a<extra_0>")


def test_template_when_it_cannot_work_raises(tmp_path) -> None:
    with pytest.raises(InvalidArgumentError, match="step_tag=''"):
        ProcessTemplate(TEMPLATE.template, "")
    file = tmp_path / "t.txt"
    file.write_text("{problem} {solution}<extra_0>")
    with pytest.raises(DataError, match="holds the step tag '<extra_0>'"):
        ProcessTemplate.load(str(file))
    with pytest.raises(DataError, match="neither a preset"):
        ProcessTemplate.load("chatml")


# --- the scores --------------------------------------------------------------------------


def test_score_when_rows_come_aggregates_them() -> None:
    rows = [[(0.5, 0.5), (0.2, 0.8)], [(0.9, 0.1)]]
    for how, expected in (("last", 0.8), ("min", 0.5), ("product", 0.4), ("mean", 0.65)):
        engine = FakeTokenClassifier(*rows)
        found = judge(engine, [("a", "b"), ("c",)], aggregation=how)
        assert [judgement.score for judgement in found] == pytest.approx([expected, 0.1])
        assert [judgement.num_tokens for judgement in found] == [0, 0]
        assert engine.calls == [(["P|a<t>b<t>", "P|c<t>"], "<t>")]


def test_score_when_a_solution_has_no_steps_is_nan_and_not_asked() -> None:
    engine = FakeTokenClassifier([(0.7,)])
    empty, judged = judge(engine, [(), ("a",)])
    assert math.isnan(empty.score) and judged == Judgement(0.7, 0)
    assert engine.calls[0][0] == ["P|a<t>"]
    assert math.isnan(judge(FakeTokenClassifier(), [()])[0].score)
    assert judge(FakeTokenClassifier(), []) == []


def test_score_when_a_step_has_no_verdict_is_nan_where_it_counts() -> None:
    rows = [[(math.nan,), (0.5,)]]
    assert judge(FakeTokenClassifier(*rows), [("a", "b")])[0].score == 0.5
    found = judge(FakeTokenClassifier(*rows), [("a", "b")], aggregation="min")
    assert math.isnan(found[0].score)


def test_score_when_scores_and_steps_differ_names_both_numbers() -> None:
    with pytest.raises(AnswerFormatError) as caught:
        judge(FakeTokenClassifier([(0.5,)]), [("a", "b")], aggregation="min")
    text = str(caught.value)
    assert text.startswith(f"model/{TEMPLATE.name}/class -1/min: 1 scores came for 2 steps: ")
    assert "'<t>'" in text


def test_score_when_answers_are_missing_raises() -> None:
    with pytest.raises(AnswerFormatError, match="2 solutions were put, 1 answers came"):
        judge(FakeTokenClassifier([(0.5,)]), [("a",), ("b",)])


def test_step_scores_when_asked_returns_one_a_step() -> None:
    reward = ProcessReward(FakeTokenClassifier([(0.4, 0.6), (0.3, 0.7)]), TEMPLATE, positive=0)
    assert asyncio.run(reward.step_scores("P", [("a", "b"), ()])) == [(0.4, 0.3), ()]


def test_reward_when_the_aggregation_is_unknown_raises() -> None:
    with pytest.raises(InvalidArgumentError, match="aggregation='max'"):
        ProcessReward(FakeTokenClassifier(), TEMPLATE, aggregation="max")


def test_names_when_settings_differ_differ() -> None:
    engine = FakeTokenClassifier()
    names = {
        ProcessReward(engine, TEMPLATE).name,
        ProcessReward(engine, TEMPLATE, aggregation="min").name,
        ProcessReward(engine, TEMPLATE, positive=0).name,
        ProcessReward(engine, ProcessTemplate(TEMPLATE.template, "<u>")).name,
        ProcessReward(engine, ProcessTemplate(TEMPLATE.template, "<t>", "\n")).name,
        ProcessReward(engine).name,
    }
    assert len(names) == 6
