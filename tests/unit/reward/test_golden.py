"""Golden scores: recorded, met, and missed."""

from __future__ import annotations

import asyncio
import json
import math

import pytest

from rtsearch_fast.errors import DataError, EngineError, RewardGoldenError
from rtsearch_fast.reward.golden import (
    TOLERANCE,
    Golden,
    GoldenCase,
    check_golden,
    write_golden,
)
from rtsearch_fast.reward.protocol import Judgement

CASES = (GoldenCase("What is 1 + 1?", ("1 + 1\n", "= 2"), 0.9), GoldenCase("Why?", ("",), 0.2))


class FakeReward:
    """Gives each problem its score."""

    max_tokens = 1

    def __init__(self, scores, name="model/t-1/Yes|No"):
        self.scores = scores
        self.name = name
        self.seen = []

    async def score(self, problem, solutions):
        self.seen.append((problem, *solutions))
        return [Judgement(self.scores[problem], 1) for _ in solutions]


def reward(first=0.9, second=0.2, **kwargs):
    return FakeReward({"What is 1 + 1?": first, "Why?": second}, **kwargs)


def golden(tolerance=0.05):
    return Golden("model/t-1/Yes|No", tolerance, CASES, "g.json")


def test_check_when_scores_are_met_returns_the_largest_difference() -> None:
    judge = reward(0.93, 0.19)
    assert asyncio.run(check_golden(judge, golden())) == pytest.approx(0.03)
    assert sorted(judge.seen) == [("What is 1 + 1?", ("1 + 1\n", "= 2")), ("Why?", ("",))]


def test_check_when_a_score_is_missed_names_case_scores_and_causes() -> None:
    with pytest.raises(RewardGoldenError) as caught:
        asyncio.run(check_golden(reward(0.83, 0.5, name="model/t-2/Yes|No"), golden()))
    assert isinstance(caught.value, EngineError)
    assert str(caught.value) == (
        "g.json: 2 of 2 golden scores are missed by more than 0.05; case 2 ('Why?'): expected "
        "0.2000, found 0.5000: recorded of model/t-1/Yes|No, this is model/t-2/Yes|No: check the "
        "model, its template and how the score is read"
    )


def test_check_when_the_name_is_the_same_looks_at_the_engine() -> None:
    with pytest.raises(RewardGoldenError, match="check the weights, their number format"):
        asyncio.run(check_golden(reward(0.8), golden()))


def test_check_when_a_score_is_missing_fails_whatever_the_tolerance() -> None:
    with pytest.raises(RewardGoldenError, match=r"1 of 2 .* found nan"):
        asyncio.run(check_golden(reward(math.nan), golden(1.0)))


def test_write_when_scores_are_given_can_be_read_and_met(tmp_path) -> None:
    path, judge = tmp_path / "new.json", reward(0.123456789, 1.0)
    written = asyncio.run(write_golden(path, judge, iter(CASES), tolerance=0.01))
    assert [case.score for case in written.cases] == [0.123457, 1.0]
    assert Golden.load(path) == written
    assert asyncio.run(check_golden(judge, written)) < 1e-6


def test_write_when_a_score_is_missing_raises_and_writes_nothing(tmp_path) -> None:
    path = tmp_path / "new.json"
    with pytest.raises(RewardGoldenError, match=r"gives case 2 \('Why\?'\) no score"):
        asyncio.run(write_golden(path, reward(second=math.nan), CASES))
    assert not path.exists()


def test_write_when_the_folder_is_missing_names_the_file(tmp_path) -> None:
    with pytest.raises(DataError, match=r"none/new\.json: No such file"):
        asyncio.run(write_golden(tmp_path / "none" / "new.json", reward(), CASES))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("[", "no JSON"),
        ("[]", "field `reward` must name the reward model, is None"),
        ({"reward": 7}, "field `reward` must name the reward model, is 7"),
        ({"tolerance": "much"}, "field `tolerance` must be a number in [0, 1], is 'much'"),
        ({"tolerance": 2}, "field `tolerance` must be a number in [0, 1], is 2"),
        ({"cases": []}, "field `cases` must be a list with at least one case"),
        ({"cases": [7]}, "case 1: field `problem` must be a text, is None"),
        ({"cases": [{"problem": "p", "steps": "s"}]}, "case 1: field `steps` must be a list"),
        ({"cases": [{"problem": "p", "steps": [], "score": True}]}, "case 1: field `score` must"),
        ({"cases": [{"problem": "p", "steps": [], "score": 1.1}]}, "case 1: field `score` must"),
    ],
)
def test_load_when_a_field_is_wrong_names_file_and_field(tmp_path, change, text) -> None:
    path = tmp_path / "g.json"
    good = {
        "reward": "r",
        "tolerance": 0.1,
        "cases": [{"problem": "p", "steps": ["s"], "score": 0.5}],
    }
    path.write_text(change if isinstance(change, str) else json.dumps(good | change))
    with pytest.raises(DataError) as caught:
        Golden.load(path)
    assert str(caught.value).startswith(f"{path}: ") and text in str(caught.value)


def test_load_when_the_file_cannot_be_read_names_it(tmp_path) -> None:
    with pytest.raises(DataError, match=r"none\.json: No such file"):
        Golden.load(tmp_path / "none.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff")
    with pytest.raises(DataError, match="no UTF-8"):
        Golden.load(tmp_path / "bytes.json")


def test_shipped_when_loaded_tells_solutions_of_different_length_apart() -> None:
    shipped = Golden.shipped()
    assert shipped.reward.startswith("smollm2-135m/chatml-") and shipped.tolerance == TOLERANCE
    scores = [case.score for case in shipped.cases]
    # swapped labels would give 1 - score: some cases must be far from one half
    assert max(abs(score - 0.5) for score in scores) > 2 * shipped.tolerance
    lengths = [len(case.problem) + len("".join(case.steps)) for case in shipped.cases]
    assert max(lengths) > 10 * min(lengths)
