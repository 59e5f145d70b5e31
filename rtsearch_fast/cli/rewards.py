"""The reward models that need an engine of their own kind, from the flags of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engine.pooling import PoolingEngine
from ..errors import InvalidArgumentError
from ..reward.classifier import ClassifierReward
from ..reward.process import ProcessReward
from ..reward.question import JudgeTemplate
from ..reward.stepwise import ProcessTemplate

if TYPE_CHECKING:
    from .settings import ModelFlags

__all__ = ["pooled_reward", "pooling_task"]


def pooling_task(flags: ModelFlags) -> str:
    """What a server must be started for to serve the reward model."""
    return "classify" if flags.reward_kind == "classifier" else "token_classify"


def pooled_reward(
    flags: ModelFlags, judge: str
) -> tuple[PoolingEngine, ClassifierReward | ProcessReward]:
    """The reward model of --reward-kind classifier or process, and its engine.

    Parameters
    ----------
    flags : ModelFlags
    judge : str
        The classifier's template.
    """
    if flags.reward_base_url is None:
        # the policy's server cannot be meant: one that classifies does not generate
        raise InvalidArgumentError(
            f"--reward-kind {flags.reward_kind} needs --reward-base-url: a vLLM server that runs "
            "the reward model with --runner pooling"
        )
    engine = PoolingEngine(
        flags.reward_base_url,
        flags.reward_model,
        api_key_env=flags.api_key_env,
        retries=flags.retries,
        patience=flags.patience,
    )
    if flags.reward_kind == "classifier":
        return engine, ClassifierReward(engine, JudgeTemplate.load(judge))
    template = ProcessTemplate.load(flags.reward_template or "qwen-prm", flags.reward_step_tag)
    return engine, ProcessReward(engine, template, aggregation=flags.reward_aggregation)
