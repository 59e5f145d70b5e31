"""The reward of steps: its text, its rows, and what they come to."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtsearch_fast.engine.template import Template
from rtsearch_fast.errors import AnswerFormatError, DataError, InvalidArgumentError
from rtsearch_fast.reward.process import ProcessReward
from rtsearch_fast.reward.protocol import Judgement
from rtsearch_fast.reward.spec import RewardSpec
from rtsearch_fast.reward.stepwise import PROCESS_PRESETS, ProcessTemplate

BARE = Template("t", "{problem}|{solution}")
TEMPLATE = ProcessTemplate(BARE, "{step}<t>{read}", step_tag="<t>")
SPEC = RewardSpec("s", BARE.text, "class", step="{step}<t>{read}", tag="<t>")


class FakeTokenClassifier:
    """Answers with the given rows, and keeps what it was asked."""

    name = "model"

    def __init__(self, *rows):
        self.rows = rows
        self.calls = []

    async def token_classify(self, prompts, step_tag=None, *, raw=False):
        self.calls.append((list(prompts), step_tag, raw))
        return list(self.rows)


class FakeMarkReader:
    """Answers with one row a mark, and keeps what it was asked."""

    name = "model"

    def __init__(self, *rows, labels=None):
        self.rows = rows
        self.labels = labels
        self.texts = []

    async def read_marks(self, prompts, *, raw=False):
        self.texts += prompts
        return [list(self.rows[: len(text.marks)]) for text in prompts]


class FakeEngine:
    """Likes every second prompt."""

    name = "model"

    def __init__(self):
        self.calls = []

    async def label_logprobs(self, prompts, labels):
        self.calls.append((list(prompts), labels))
        return [
            (0.0, -math.inf) if i % 2 else (math.log(0.1), math.log(0.3))
            for i in range(len(prompts))
        ]


def judge(engine, solutions, spec=SPEC, **changes):
    return asyncio.run(ProcessReward(engine, replace(spec, **changes)).score("P", solutions))


# --- the text ----------------------------------------------------------------------------


def test_render_when_given_steps_ends_each_by_the_tag() -> None:
    steps = ("## Step 1\nx\n", "## Step 2\n")
    assert TEMPLATE.render("P", steps) == "P|## Step 1\nx<t>## Step 2<t>"
    spaced = ProcessTemplate(BARE, "{step} ки{read}\n", step_tag=" ки")
    assert spaced.render("P", ("a", "b")) == "P|a ки\nb ки"


def test_lay_when_given_steps_marks_the_end_of_each() -> None:
    laid = TEMPLATE.lay("P", ("a", "bc"))
    assert laid.prefixes == ["P|a<t>", "P|a<t>bc<t>"] and laid.cuts == ()


def test_lay_when_steps_are_pieces_cuts_around_them() -> None:
    template = ProcessTemplate(BARE, "{step}\n{read}", step_tag="", pieces=True)
    laid = template.lay("P", ("ab", "c"))
    assert laid.text == "P|ab\nc\n" and laid.cuts == (2, 4, 5, 6) and laid.marks == (5, 7)


def test_lay_when_the_first_step_has_a_form_of_its_own_puts_the_problem_there() -> None:
    template = ProcessTemplate(
        Template("t", "[{solution}]"), "<{step}|{read}+>", "<{problem} {step}|{read}+>", ""
    )
    laid = template.lay("P{read}{step}", ("a", "b", "c"))
    assert laid.text == "[<P{read}{step} a|+><b|+><c|"
    assert [prefix[-2:] for prefix in laid.prefixes] == ["a|", "b|", "c|"]


def test_lay_when_nothing_is_read_keeps_the_end_and_counts_the_steps() -> None:
    template = ProcessTemplate(
        Template("t", "{problem}|{solution}!"), "{number}: {step};", step_tag=""
    )
    laid = template.lay("P", ("a", "b{number}"))
    assert laid.text == "P|1: a;2: b{number};!" and laid.marks == ()


def test_render_when_steps_are_cleaned_replaces_what_matches() -> None:
    clean = (("^#+ *", ""), (r"\s*\n\s*", " "))
    template = ProcessTemplate(BARE, "{step}\n{read}", step_tag="", clean=clean)
    assert template.render("a\nb", ("## Step 1:\n x\n\n",)) == "a\nb|Step 1: x\n"


def test_render_when_texts_hold_the_tag_takes_it_out() -> None:
    text = TEMPLATE.render("a<t>b{solution}", ("c<t>", "<<t>t>d"))
    assert text.count("<t>") == 2
    assert text == "a b{solution}|c<t>< t>d<t>"


@given(st.text("<t> \n"), st.lists(st.text("<t> \n"), max_size=4))
def test_render_when_given_any_text_holds_one_tag_a_step(problem, steps) -> None:
    laid = TEMPLATE.lay(problem, tuple(steps))
    assert laid.text.count("<t>") == len(steps) == len(laid.marks)
    assert all(prefix.endswith("<t>") for prefix in laid.prefixes)


def test_render_when_texts_hold_control_tokens_breaks_them() -> None:
    text = ProcessTemplate.load("qwen-prm").render("x<|im_end|>", ("y<|im_start|>system",))
    assert text.count("<|im_end|>") == 2 and text.count("<|im_start|>") == 3
    assert text.endswith("assistant\ny< |im_start|>system<extra_0>")


def test_render_when_the_tag_looks_like_a_control_token_keeps_it() -> None:
    template = ProcessTemplate(BARE, "{step}<|step|>{read}", step_tag="<|step|>")
    assert template.render("P", ("a<|step|>",)) == "P|a<|step|>"


@pytest.mark.parametrize("preset", PROCESS_PRESETS)
def test_render_when_a_preset_is_used_ends_with_the_last_tag(preset) -> None:
    assert ProcessTemplate.load(preset).render("P", ("a",)).endswith("a<extra_0>")
    assert ProcessTemplate.load(preset, "<t>", "\n").render("P", ("a", "b"))[-9:] == "a<t>\nb<t>"


def test_template_when_it_cannot_work_raises(tmp_path) -> None:
    for tag in ("", " "):
        with pytest.raises(InvalidArgumentError, match=f"step_tag='{tag}'"):
            ProcessTemplate.load("plain", tag)
    file = tmp_path / "t.txt"
    file.write_text("{problem} {solution}<extra_0>")
    with pytest.raises(DataError, match="holds the step tag '<extra_0>'"):
        ProcessTemplate.load(str(file))
    with pytest.raises(DataError, match="neither a preset"):
        ProcessTemplate.load("chatml")


# --- the scores --------------------------------------------------------------------------


def test_score_when_rows_come_aggregates_them() -> None:
    rows = [[(0.5, 0.5), (0.2, 0.8)], [(0.9, 0.1)]]
    for how, expected in (("last", 0.8), ("min", 0.5), ("product", 0.4), (max, 0.8)):
        engine = FakeTokenClassifier(*rows)
        found = judge(engine, [("a", "b"), ("c",)], aggregation=how)
        assert [judgement.score for judgement in found] == pytest.approx([expected, 0.1])
        assert [judgement.num_tokens for judgement in found] == [0, 0]
        assert engine.calls == [(["P|a<t>b<t>", "P|c<t>"], "<t>", False)]


def test_score_when_the_format_squashes_asks_for_the_numbers_themselves() -> None:
    engine = FakeTokenClassifier([(0.0, math.log(3))])
    found = judge(engine, [("a",)], squash="softmax", positive=1)
    assert found[0].score == pytest.approx(0.75) and engine.calls[0][2] is True
    engine = FakeTokenClassifier([(math.log(3),)])
    found = judge(engine, [("a",)], read="value", squash="sigmoid")
    assert found[0].score == pytest.approx(0.75)


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


@pytest.mark.parametrize("rows", [[], [(0.5,)], [(0.5,)] * 3])
def test_score_when_scores_and_steps_differ_names_format_and_both_numbers(rows) -> None:
    with pytest.raises(AnswerFormatError) as caught:
        judge(FakeTokenClassifier(rows), [("a", "b")], aggregation="min")
    text = str(caught.value)
    assert text.startswith(f"model/s-{text[8:16]}: {len(rows)} scores came for 2 steps: ")
    assert "'<t>'" in text


def test_score_when_answers_are_missing_raises() -> None:
    with pytest.raises(AnswerFormatError, match="2 solutions were put, 1 answers came"):
        judge(FakeTokenClassifier([(0.5,)]), [("a",), ("b",)])


def test_score_when_a_value_is_wanted_of_a_classifier_raises() -> None:
    with pytest.raises(AnswerFormatError, match="one value is to be read, the model has 2 outputs"):
        judge(FakeTokenClassifier([(0.5, 0.5)]), [("a",)], read="value")


def test_step_scores_when_asked_returns_one_a_step() -> None:
    spec = replace(SPEC, positive=0)
    reward = ProcessReward(FakeTokenClassifier([(0.4, 0.6), (0.3, 0.7)]), spec)
    assert asyncio.run(reward.step_scores("P", [("a", "b"), ()])) == [(0.4, 0.3), ()]


# --- marks and labels --------------------------------------------------------------------

LABELS = replace(SPEC, read="label", labels=("+", "-"))


def test_score_when_labels_are_read_asks_for_the_text_up_to_each_mark() -> None:
    engine = FakeEngine()
    reward = ProcessReward(engine, replace(LABELS, aggregation="min"))
    assert [j.score for j in asyncio.run(reward.score("P", [("a", "b")]))] == [pytest.approx(0.25)]
    assert engine.calls == [(["P|a<t>", "P|a<t>b<t>"], ("+", "-"))]


def test_score_when_the_last_steps_decide_reads_no_others() -> None:
    for how, wanted in (("last", ["P|a<t>b<t>c<t>"]), ("mean:2", ["P|a<t>b<t>", "P|a<t>b<t>c<t>"])):
        engine = FakeEngine()
        judge(engine, [("a", "b", "c")], LABELS, aggregation=how)
        assert engine.calls[0][0] == wanted
        reader = FakeMarkReader((0.5,), (0.6,))
        judge(reader, [("a", "b", "c")], aggregation=how)
        assert reader.texts[0].prefixes == wanted


def test_score_when_marks_are_read_takes_the_first_of_two_labels() -> None:
    reader = FakeMarkReader((0.7, 0.3), (0.2, 0.8), labels=("+", "-"))
    assert judge(reader, [("a", "b")], LABELS, aggregation="max")[0].score == 0.7


@pytest.mark.parametrize(
    ("engine", "spec", "text"),
    [
        (
            FakeTokenClassifier(),
            LABELS,
            "reads a label behind steps, which FakeTokenClassifier can",
        ),
        (FakeEngine(), SPEC, "reads a class behind steps, which FakeEngine cannot: use HeadEngine"),
        (
            FakeMarkReader(),
            LABELS,
            r"has labels=\('\+', '-'\), FakeMarkReader was made with labels=N",
        ),
        (
            FakeEngine(),
            replace(LABELS, pieces=True),
            "tokenised apart, which FakeEngine does not do",
        ),
        (
            FakeTokenClassifier(),
            replace(SPEC, tag=""),
            "has no `tag`, by which FakeTokenClassifier",
        ),
        (FakeEngine(), replace(LABELS, step="", tag=""), "ProcessReward reads behind steps: give"),
    ],
)
def test_reward_when_the_engine_cannot_read_the_format_says_what_can(engine, spec, text) -> None:
    with pytest.raises(InvalidArgumentError, match=text):
        ProcessReward(engine, spec)


def test_names_when_settings_differ_differ() -> None:
    changes = (
        {},
        {"aggregation": "min"},
        {"aggregation": max},
        {"positive": 0},
        {"squash": "softmax"},
        {"step": "{step}<u>{read}", "tag": "<u>"},
        {"step": "{step}<t>{read}\n"},
        {"clean": {"a": "b"}},
        {"pieces": True},
        {"template": "{problem} {solution}"},
    )
    reader = FakeMarkReader()
    names = {ProcessReward(reader, replace(SPEC, **change)).name for change in changes}
    assert len(names) == len(changes) and all(name.startswith("model/s-") for name in names)
