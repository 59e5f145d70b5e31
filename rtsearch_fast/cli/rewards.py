"""The reward models that the flags of the command line stand for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..engine.pooling import PoolingEngine
from ..engine.protocol import Engine
from ..errors import InvalidArgumentError
from ..policy.prompt import PromptTemplate
from ..reward.calculated import CalculatedReward
from ..reward.classifier import ClassifierReward
from ..reward.generative import GenerativeReward
from ..reward.process import ProcessReward
from ..reward.protocol import Reward
from ..reward.question import JudgeTemplate
from ..reward.stepwise import ProcessTemplate
from ..reward.written import WrittenReward

if TYPE_CHECKING:
    from .settings import ModelFlags

__all__ = ["generative_reward", "pooled_reward", "pooling_task"]


def generative_reward(
    flags: ModelFlags, judge: str, prompt: PromptTemplate
) -> Callable[[Engine], Reward]:
    """What makes the reward model of --reward-kind generative out of its engine.

    Templates are read now: a missing file should not cost the loading of a model.

    Parameters
    ----------
    flags : ModelFlags
    judge : str
        The template of the bare label.
    prompt : PromptTemplate
        The policy's, for questions that follow in its conversation.
    """

    def load(name: str) -> JudgeTemplate:
        follows = name == "followup"
        return JudgeTemplate.following(prompt.template) if follows else JudgeTemplate.load(name)

    check_tokens = flags.reward_check_tokens or 0
    if check_tokens < 0:
        raise InvalidArgumentError(
            f"--reward-check-tokens {check_tokens}: give a number of tokens, or 0 for "
            "the bare label"
        )
    bare = load(judge)
    question = load(flags.reward_check_template or judge)

    def make(engine: Engine) -> Reward:
        if check_tokens == 0:
            return GenerativeReward(engine, bare, flags.labels)
        return WrittenReward(
            engine,
            question,
            flags.labels,
            check_tokens,
            flags.reward_verdict.replace("\\n", "\n"),
            prefixes=flags.reward_prefixes or "written",
            bare_template=bare,
            calculator=bool(flags.reward_calculator),
        )

    return (lambda engine: CalculatedReward(make(engine))) if flags.reward_calculator else make


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
    if flags.reward_check_tokens:
        raise InvalidArgumentError(
            f"--reward-check-tokens {flags.reward_check_tokens} needs --reward-kind generative: a "
            f"{flags.reward_kind} reward model writes nothing"
        )
    if flags.reward_calculator:
        raise InvalidArgumentError(
            f"--reward-calculator needs --reward-kind generative: a {flags.reward_kind} reward "
            "model is shown solutions as they are"
        )
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
