"""The golden scores that are shipped, against the embedded model in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from rtsearch_fast.engine.embedded import embedded_model  # noqa: E402
from rtsearch_fast.engine.transformers import TransformersEngine  # noqa: E402
from rtsearch_fast.errors import MissingExtraError, RewardGoldenError  # noqa: E402
from rtsearch_fast.reward.generative import GenerativeReward  # noqa: E402
from rtsearch_fast.reward.golden import Golden, check_golden  # noqa: E402
from rtsearch_fast.reward.question import JudgeTemplate  # noqa: E402


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def engine(request: pytest.FixtureRequest) -> Iterator[TransformersEngine]:
    try:
        folder = embedded_model("smollm2-135m")
    except MissingExtraError as error:
        pytest.skip(str(error))
    engine = TransformersEngine(folder, dtype=request.param)
    yield engine
    asyncio.run(engine.aclose())


def check(engine: TransformersEngine, template: str = "chatml", **kwargs) -> float:
    reward = GenerativeReward(engine, JudgeTemplate.load(template), **kwargs)
    return asyncio.run(check_golden(reward, Golden.shipped()))


def test_shipped_scores_when_the_judge_is_set_up_right_are_met(engine) -> None:
    golden = Golden.shipped()
    assert golden.reward == GenerativeReward(engine, JudgeTemplate.load("chatml")).name
    exact = engine._model.dtype == torch.float32  # as they were recorded
    assert check(engine) <= (1e-4 if exact else golden.tolerance)


def test_shipped_scores_when_the_template_is_wrong_are_missed(engine) -> None:
    with pytest.raises(RewardGoldenError, match="this is smollm2-135m/plain-"):
        check(engine, "plain")


def test_shipped_scores_when_the_labels_are_swapped_are_missed(engine) -> None:
    with pytest.raises(RewardGoldenError):
        check(engine, labels=("No", "Yes"))
