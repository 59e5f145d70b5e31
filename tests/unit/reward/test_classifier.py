"""The reward that is a class probability at the last token."""

from __future__ import annotations

import asyncio
import math

import pytest

from rtsearch_fast.engine.template import Template
from rtsearch_fast.errors import AnswerFormatError, InvalidArgumentError
from rtsearch_fast.reward.classifier import ClassifierReward
from rtsearch_fast.reward.protocol import Judgement
from rtsearch_fast.reward.question import JudgeTemplate

TEMPLATE = JudgeTemplate(Template("t", "{problem}|{solution}?"))


class FakeClassifier:
    """Answers with the given rows, and keeps what it was asked."""

    name = "model"

    def __init__(self, *rows):
        self.rows = rows
        self.prompts = []

    async def classify(self, prompts, *, raw=False):
        self.prompts += prompts
        self.raw = raw
        return list(self.rows)


def judge(engine, solutions, **kwargs):
    return asyncio.run(ClassifierReward(engine, TEMPLATE, **kwargs).score("P", solutions))


def test_score_when_rows_come_is_the_last_class() -> None:
    engine = FakeClassifier((0.25, 0.75), (0.5, 0.5))
    assert judge(engine, [("a", "b"), ("c",)]) == [Judgement(0.75, 0), Judgement(0.5, 0)]
    assert engine.prompts == ["P|ab?", "P|c?"]


def test_score_when_a_class_is_named_is_that_class() -> None:
    assert judge(FakeClassifier((0.25, 0.75)), [("a",)], positive=0) == [Judgement(0.25, 0)]
    assert judge(FakeClassifier((0.3,)), [("a",)]) == [Judgement(0.3, 0)]


def test_score_when_it_squashes_itself_asks_for_the_numbers_of_the_head() -> None:
    engine = FakeClassifier((math.log(3),))
    found = judge(engine, [("a",)], positive=None, squash="sigmoid")
    assert found[0].score == pytest.approx(0.75) and engine.raw
    judge(engine := FakeClassifier((0.5,)), [("a",)])
    assert not engine.raw
    with pytest.raises(InvalidArgumentError, match="squash='tanh': choose one of auto, none"):
        judge(engine, [("a",)], squash="tanh")


def test_score_when_there_is_no_verdict_is_nan_and_spares_the_others() -> None:
    found = judge(FakeClassifier((math.nan,), (0.5,)), [("a",), ("b",)])
    assert math.isnan(found[0].score) and found[1].score == 0.5


def test_score_when_nothing_is_put_asks_nothing() -> None:
    engine = FakeClassifier()
    assert judge(engine, []) == [] and engine.prompts == []


def test_score_when_rounding_leaves_the_range_is_clipped() -> None:
    found = judge(FakeClassifier((1 + 1e-7,), (-1e-7,)), [("a",), ("b",)])
    assert [judgement.score for judgement in found] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("rows", "kwargs", "text"),
    [
        ([], {}, "1 solutions were put, 0 rows came"),
        ([(1.7,)], {}, "the class -1 has the value 1.7, which is no probability"),
        ([(0.5, 0.5)], {"positive": 2}, "2 classes, none with the index 2"),
        ([(0.5, 0.5)], {"positive": -3}, "2 classes, none with the index -3"),
        ([()], {}, "0 classes"),
        ([(0.5, 0.5)], {"positive": None}, "one value is to be read, the model has 2 outputs"),
        ([(1.7,)], {"squash": "none"}, "has the value 1.7, which is no probability"),
    ],
)
def test_score_when_rows_cannot_be_read_raises(rows, kwargs, text) -> None:
    with pytest.raises(AnswerFormatError, match=text):
        judge(FakeClassifier(*rows), [("a",)], **kwargs)


def test_name_when_asked_tells_model_template_and_class() -> None:
    reward = ClassifierReward(FakeClassifier(), TEMPLATE, positive=1)
    assert reward.name == f"model/{TEMPLATE.name}/class 1"
    assert reward.max_tokens == 0
    value = ClassifierReward(FakeClassifier(), TEMPLATE, positive=None, squash="sigmoid")
    assert value.name == f"model/{TEMPLATE.name}/value/sigmoid"
